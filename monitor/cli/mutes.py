"""`killcord mute`, `mutes` and `unmute`: what is hidden from people's eyes; never from enforcement."""

from __future__ import annotations

import argparse
import json
from typing import Any
from urllib.parse import quote

from monitor.cli.asking import clock_time, shown
from monitor.cli.client import find_daemon, get, send
from monitor.cli.durations import duration_s


def mute(options: argparse.Namespace) -> int:
    """Set a mute and print it."""
    body = {
        "agent_id": options.agent,
        "signal": options.signal,
        "reason": options.reason,
        "for_s": duration_s("--for", options.for_time),
    }
    made = send(find_daemon(options), "POST", "/v1/mutes", body)
    print(json.dumps(made) if options.json else _line(made))
    return 0


def show(options: argparse.Namespace) -> int:
    """Print the mutes in force, newest first."""
    mutes = get(find_daemon(options), "/v1/mutes")["mutes"]
    print(json.dumps(mutes) if options.json else "\n".join(map(_line, mutes)) or "nothing is muted")
    return 0


def unmute(options: argparse.Namespace) -> int:
    """Lift a mute."""
    send(find_daemon(options), "DELETE", f"/v1/mutes/{quote(options.id, safe='')}")
    print(f"{shown(options.id)}: lifted")
    return 0


def _line(mute: dict[str, Any]) -> str:
    until = clock_time(mute["until"])
    return shown(
        f"{mute['id']}  {mute['agent_id']} × {mute['signal']} until {until}, by {mute['by']}: {mute['reason']}"
    )
