"""`killcord audit`: who did what, newest first."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

from monitor.cli.asking import clock_time, shown
from monitor.cli.client import Daemon, find_daemon, get
from monitor.cli.durations import duration_s

PAGE = 1_000


def run(options: argparse.Namespace) -> int:
    """Print the entries, one a line."""
    since_s = time.time() - duration_s("--last", options.last)
    for entry in _entries(find_daemon(options), since_s):
        print(json.dumps(entry) if options.json else _line(entry))
    return 0


def _entries(daemon: Daemon, since_s: float) -> Iterator[dict[str, Any]]:
    path = f"/v1/audit?limit={PAGE}"
    while True:
        page = get(daemon, path)
        for entry in page["entries"]:
            if entry["at"] < since_s:
                return
            yield entry
        if page["next"] is None:
            return
        path = f"/v1/audit?limit={PAGE}&before={page['next']}"


def _line(entry: dict[str, Any]) -> str:
    who = f"{entry['by'] or 'somebody unknown'}" + (f" ({entry['role']})" if entry["role"] else "")
    what = f"{entry['act']} {entry['object']}".strip()
    detail = ", ".join(
        f"{name}: {value}" for name, value in entry["detail"].items() if value not in (None, "")
    )
    return shown(
        f"{clock_time(entry['at'])} {entry['outcome']:<7} {who} from {entry['from']}: {what} [{detail}]"
    )
