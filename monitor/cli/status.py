"""`killcord status`: what is stopped, and which enforcement points live. Asks the store, not the daemon."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from killswitch import PointStatus, Revocation, Switch, Target
from monitor.cli.main import DONE, REFUSED
from monitor.cli.outcome import store_url


def run(options: argparse.Namespace) -> int:
    """Print the state; with a target, exit status 1 says that it is stopped."""
    wanted = Target.parse(options.target) if options.target else None
    with Switch(store_url(options)) as switch:
        snapshot, points = switch.snapshot(), switch.points()
    now_s = time.time()
    records = [
        record
        for target, record in sorted(snapshot.revocations.items(), key=lambda item: str(item[0]))
        if record.level_at(now_s) and wanted in (None, target)
    ]
    print(
        json.dumps(_fields(snapshot.epoch, records, points))
        if options.json
        else _text(wanted, records, points)
    )
    return REFUSED if wanted and records else DONE


def _fields(epoch: int, records: list[Revocation], points: list[PointStatus]) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "revocations": [{**asdict(record), "target": str(record.target)} for record in records],
        "points": [asdict(point) for point in points],
    }


def _text(wanted: Target | None, records: list[Revocation], points: list[PointStatus]) -> str:
    lines = [_line(record) for record in records] or [
        f"{wanted or 'nothing'} is {'not ' if wanted else ''}stopped"
    ]
    live = sum(point.live for point in points)
    lines.append(f"{live} of {len(points)} enforcement points live")
    lines += [f"  not seen for {point.age_s:.0f} s: {point}" for point in points if not point.live]
    return "\n".join(lines)


def _line(record: Revocation) -> str:
    at = datetime.fromtimestamp(record.at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    until = ""
    if record.expires_at_s is not None:
        until = f" until {datetime.fromtimestamp(record.expires_at_s, UTC).strftime('%H:%M:%SZ')}"
    return f"{record.describe()}{until}, since {at}"
