"""`killcord status`: what is stopped, which enforcement points live, and whether a kill would be enforced.

Asks the store, not the daemon; what drills have shown is read from the daemon's state directory.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

from killswitch import PointStatus, Revocation, Switch, Target
from killswitch.drills.drill_record import Drill
from monitor.cli.drill import LOG_FILE
from monitor.cli.main import DONE, REFUSED
from monitor.cli.outcome import is_the_daemons_store, store_url
from monitor.config import Config
from monitor.kill.drill_log import DrillLog
from monitor.kill.readiness import Readiness, drill_fields, readiness

MAX_NAMED = 50  # more points than this are counted, not listed; --json has them all


class _Found(NamedTuple):
    epoch: int
    records: list[Revocation]
    points: tuple[PointStatus, ...]
    drill: Drill | None
    ready: Readiness


def run(options: argparse.Namespace) -> int:
    """Print the state; with a target, exit status 1 says that it is stopped."""
    wanted = Target.parse(options.target) if options.target else None
    with Switch(store_url(options)) as switch:
        snapshot, points = switch.snapshot(), tuple(switch.points())
    now_s = time.time()
    records = [
        record
        for target, record in sorted(snapshot.revocations.items(), key=lambda item: str(item[0]))
        if record.level_at(now_s) and wanted in (None, target)
    ]
    drill = _last_drill(options)
    found = _Found(snapshot.epoch, records, points, drill, _readiness(drill, points, now_s))
    print(json.dumps(_fields(found)) if options.json else _text(wanted, found, now_s))
    return REFUSED if wanted and records else DONE


def _last_drill(options: argparse.Namespace) -> Drill | None:
    """Return the last drill of this store that is on record here."""
    if not is_the_daemons_store(options):
        return None
    return DrillLog(options.state / LOG_FILE).newest()


def _readiness(drill: Drill | None, points: Sequence[PointStatus], now_s: float) -> Readiness:
    # How often the daemon drills is in its configuration; without it the default decides how old is too old.
    interval_s = Config().drill.interval_s
    return readiness(drill, now_s=now_s, interval_s=interval_s, reachable=True, points=points)


def _fields(found: _Found) -> dict[str, Any]:
    return {
        "epoch": found.epoch,
        "revocations": [{**asdict(record), "target": str(record.target)} for record in found.records],
        "points": [asdict(point) for point in found.points],
        "kill_ready": found.ready.ready,
        "kill_ready_why": found.ready.why,
        "last_drill": drill_fields(found.drill),
    }


def _text(wanted: Target | None, found: _Found, now_s: float) -> str:
    lines = [_line(record) for record in found.records] or [
        f"{wanted or 'nothing'} is {'not ' if wanted else ''}stopped"
    ]
    live = [point for point in found.points if point.live]
    lines.append(f"{len(live)} of {len(found.points)} enforcement points live")
    lines += [f"  {point}{_serves(point)}" for point in live[:MAX_NAMED]]
    if len(live) > MAX_NAMED:
        lines.append(f"  and {len(live) - MAX_NAMED} more")
    lines += [f"  not seen for {point.age_s:.0f} s: {point}" for point in found.points if not point.live]
    return "\n".join([*lines, _ready_line(found, now_s)])


def _serves(point: PointStatus) -> str:
    return f" serves {', '.join(point.serves)}" if point.serves else ""


def _ready_line(found: _Found, now_s: float) -> str:
    if not found.ready.ready or found.drill is None:
        return f"not known to be ready for a kill: {found.ready.why}; run killcord drill"
    return f"ready for a kill: {max(0.0, now_s - found.drill.at_s):.0f} s ago {found.drill}"


def _line(record: Revocation) -> str:
    at = datetime.fromtimestamp(record.at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    until = ""
    if record.expires_at_s is not None:
        until = f" until {datetime.fromtimestamp(record.expires_at_s, UTC).strftime('%H:%M:%SZ')}"
    return f"{record.describe()}{until}, since {at}"
