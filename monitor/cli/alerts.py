"""`killcord alerts`: lists groups of alerts, and changes them."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final
from urllib.parse import urlencode

from monitor.cli.asking import shown
from monitor.cli.client import find_daemon, get, send
from monitor.errors import ConfigError
from monitor.live.filters import parse_filter

CHANGES: Final = {
    "ack": "acknowledge",
    "close": "close",
    "assign": "assign",
    "comment": "comment",
    "reopen": "reopen",
}
DEFAULT_FILTER: Final = "-state:closed -state:muted"
HEAD: Final = ("ID", "LAST", "SEVERITY", "COUNT", "STATE", "ASSIGNEE", "AGENT", "SIGNAL", "TITLE")
MAX_TITLE_CHARS: Final = 100


def run(options: argparse.Namespace) -> int:
    """List or change; 1 if any of the changes was refused."""
    if options.words and options.words[0] in CHANGES:
        return _change(options, CHANGES[options.words[0]], options.words[1:])
    for option in ("reason", "comment", "to"):
        if getattr(options, option) is not None:
            raise ConfigError(
                f"--{option}", "belongs to a change: ack, close, assign, comment or reopen ID..."
            )
    return _list(options)


def _list(options: argparse.Namespace) -> int:
    asked = " ".join(options.words) or DEFAULT_FILTER
    parse_filter(asked)  # the daemon would refuse it too, but may not be there to say so
    query = urlencode({"filter": asked, "limit": options.limit})
    found = get(find_daemon(options), f"/v1/alerts?{query}")
    if options.json:
        print(json.dumps(found))
        return 0
    print(_table(found["alerts"]))
    if found["next"] is not None:
        print(f"there are more; --limit shows more than {options.limit}", file=sys.stderr)
    return 0


def _change(options: argparse.Namespace, change: str, ids: list[str]) -> int:
    if not ids:
        raise ConfigError("ID", f"say which alerts to {change}: killcord alerts {options.words[0]} ID...")
    if change == "close" and options.reason is None:
        raise ConfigError("--reason", "closing needs one: false_positive, benign, duplicate or confirmed")
    if change == "assign" and options.to is None and not options.to_nobody:
        raise ConfigError("--to", "assigning needs a name, or --to-nobody")
    body = {"ids": ids, "change": change, "reason": options.reason, "comment": options.comment}
    answer = send(find_daemon(options), "POST", "/v1/alerts/changes", {**body, "assignee": options.to})
    if options.json:
        print(json.dumps(answer))
    else:
        _tell(answer, change)
    return 1 if answer["refused"] else 0


def _tell(answer: dict[str, Any], change: str) -> None:
    for each in answer["changed"]:
        print(f"{shown(each)}: {change}, done")
    for each in answer["refused"]:
        print(f"{shown(each['id'])}: refused: {shown(each['error'])}", file=sys.stderr)


def _table(groups: list[dict[str, Any]]) -> str:
    """Return the groups in columns; nothing that an agent chose can act on the terminal."""
    if not groups:
        return "no alerts"
    rows = [HEAD, *map(_row, groups)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _row(group: dict[str, Any]) -> tuple[str, ...]:
    alert = group["alert"]
    state = f"{group['state']} ({group['reason']})" if group["reason"] else group["state"]
    title = shown(alert["title"])
    return (
        shown(group["id"]),
        shown(group["last_ts"][:19].replace("T", " ")),
        shown(group["severity"]),
        f"×{group['count']}",
        shown(f"{state}, muted" if group["muted_by"] else state),
        shown(group["assignee"] or "-"),
        shown(alert["agent_id"]),
        shown(alert["reasons"][0]["signal"]) if alert["reasons"] else "-",
        title if len(title) <= MAX_TITLE_CHARS else title[: MAX_TITLE_CHARS - 1] + "…",
    )
