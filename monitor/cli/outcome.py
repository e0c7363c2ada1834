"""How the command line runs a kill or restore and tells of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from killswitch import Ack, Containment, Outcome, Switch
from monitor.cli.main import DONE, REFUSED
from monitor.kill.outcomes import outcome_fields
from monitor.state_dir import StateDir

Change = Callable[[Switch, Callable[[Ack], None]], tuple[Outcome, Containment]]


def store_url(options: argparse.Namespace) -> str:
    """Return the store that was named, or that the daemon of the state directory uses or last used."""
    return options.redis or StateDir.existing(options.state).address().redis_url


def change_and_tell(options: argparse.Namespace, change: Change) -> int:
    """Do it straight at the store, which works without a daemon too; 1 unless every live point confirmed."""
    live = not options.json and sys.stderr.isatty()
    confirmed = 0

    def on_ack(ack: Ack) -> None:
        nonlocal confirmed
        confirmed += 1
        if live:
            print(f"\r  {confirmed} confirmed, last {ack.name}\033[K", end="", file=sys.stderr, flush=True)

    with Switch(store_url(options), timeout_s=max(2.0, options.timeout)) as switch:
        outcome, containment = change(switch, on_ack)
    if live and confirmed:
        print("\r\033[K", end="", file=sys.stderr)
    print(
        json.dumps(outcome_fields(options.target, outcome, containment))
        if options.json
        else _sentence(options, outcome, containment)
    )
    return DONE if containment.contained else REFUSED


def _sentence(options: argparse.Namespace, outcome: Outcome, containment: Containment) -> str:
    disk = {True: "on disk", False: "NOT yet on disk", None: "the server cannot say whether it is on disk"}
    return (
        f"{options.target}: {outcome.note} (change {outcome.epoch}, {disk[outcome.durable]}); {containment}"
    )
