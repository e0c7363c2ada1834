"""`killcord kill`: stop a target everywhere."""

from __future__ import annotations

import argparse
import time

from killswitch import InvalidRequest, Target
from monitor.cli.asking import ask, has_terminal
from monitor.cli.outcome import change_and_tell


def run(options: argparse.Namespace) -> int:
    """Revoke, suspend or hold the target, and wait for the enforcement points."""
    target = Target.parse(options.target)
    if options.level == "suspend" and options.for_s is None:
        raise InvalidRequest("--for", "say how many seconds the suspension lasts")
    _require_confirmation(target, options.confirm)
    expires_at_s = None if options.for_s is None else time.time() + options.for_s
    return change_and_tell(
        options,
        lambda switch, on_ack: switch.revoke_and_wait(
            target,
            reason=options.reason,
            by=options.by,
            level=options.level,
            expires_at_s=expires_at_s,
            contain_timeout_s=options.timeout,
            on_ack=on_ack,
        ),
    )


def _require_confirmation(target: Target, confirmed: str | None) -> None:
    """Make sure that the fleet is meant: it stops everything, and `fleet` is a short word."""
    if target.kind != "fleet" or confirmed == "fleet":
        return
    if confirmed is None and has_terminal():
        if ask("This stops every agent of every tenant. Type fleet to go on:") == "fleet":
            return
        raise InvalidRequest("fleet", "not confirmed; nothing was stopped")
    raise InvalidRequest(
        "--confirm", "this stops every agent of every tenant; repeat it with --confirm fleet"
    )
