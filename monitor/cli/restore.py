"""`killcord restore`: let a target act again."""

from __future__ import annotations

import argparse

from killswitch import Target
from monitor.cli.outcome import change_and_tell


def run(options: argparse.Namespace) -> int:
    """Restore the target, and wait for the enforcement points."""
    target = Target.parse(options.target)
    return change_and_tell(
        options,
        lambda switch, on_ack: switch.restore_and_wait(
            target, reason=options.reason, by=options.by, contain_timeout_s=options.timeout, on_ack=on_ack
        ),
    )
