"""`killcord replay`: send recorded actions through the real ingest of a running daemon."""

from __future__ import annotations

import argparse
import json
import sys
import time

from monitor.cli.client import find_daemon
from monitor.cli.main import DONE, REFUSED
from monitor.errors import DaemonError
from monitor.intake.recordings import find_recording, read_recording
from monitor.sensor import Counters, Rejection, Sensor

WINDOW = 20_000
BATCH = 1000
STALL_S = 60.0
PROGRESS_S = 1.0
SHOWN_REJECTIONS = 5


def run(options: argparse.Namespace) -> int:
    """Send everything and wait until it is acknowledged; 1 if anything was refused."""
    daemon = find_daemon(options)
    rejections: list[Rejection] = []
    started_s = time.monotonic()
    with Sensor(
        daemon.url, daemon.token, capacity=WINDOW, batch=BATCH, on_reject=rejections.append, tls=daemon.tls
    ) as sensor:
        shown_s = started_s
        for document in read_recording(find_recording(options.path)):
            if sensor.counters().pending >= WINDOW:
                _drain(sensor, daemon.url)
            sensor.send(document)
            if time.monotonic() - shown_s > PROGRESS_S:
                shown_s = time.monotonic()
                print(f"  {_acknowledged(sensor.counters()):,} acknowledged", file=sys.stderr)
        _drain(sensor, daemon.url)
        counters = sensor.counters()
    _tell(options, counters, time.monotonic() - started_s, rejections)
    return REFUSED if rejections or counters.dropped else DONE


def _drain(sensor: Sensor, url: str) -> None:
    if not sensor.flush(STALL_S):
        raise DaemonError(f"{url} acknowledged nothing for {STALL_S:g} s; is it up?")


def _acknowledged(counters: Counters) -> int:
    return counters.accepted + counters.duplicates


def _tell(
    options: argparse.Namespace, counters: Counters, took_s: float, rejections: list[Rejection]
) -> None:
    per_s = _acknowledged(counters) / took_s
    for rejection in rejections[:SHOWN_REJECTIONS]:
        print(f"refused {rejection.id}: {rejection.field}: {rejection.error}", file=sys.stderr)
    if options.json:
        figures = {
            "accepted": counters.accepted,
            "duplicates": counters.duplicates,
            "rejected": counters.rejected,
            "seconds": round(took_s, 3),
            "actions_per_s": round(per_s, 1),
        }
        print(json.dumps(figures))
    else:
        print(
            f"{counters.accepted:,} accepted, {counters.duplicates:,} known before, {counters.rejected:,} refused "
            f"in {took_s:.1f} s ({per_s:,.0f} actions/s)"
        )
