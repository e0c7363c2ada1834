"""Runs the checks: each within its time, none able to hide another's answer."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from monitor.doctor.finding import Check, Finding, fail
from monitor.doctor.installation import Installation

TIMEOUT_S: Final = 15.0


class Examined(NamedTuple):
    """A check and what it found."""

    check: Check
    finding: Finding


def examine(
    checks: Iterable[Check], installation: Installation, *, timeout_s: float = TIMEOUT_S
) -> Iterator[Examined]:
    """Yield what each check found, as it is found."""
    for check in checks:
        yield Examined(check, _within(check, installation, timeout_s))


def _within(check: Check, installation: Installation, timeout_s: float) -> Finding:
    found: list[Finding] = []

    def run() -> None:
        try:
            found.append(check.run(installation))
        except Exception as error:  # whatever it stumbles over is news, and must not end the others
            found.append(
                fail(
                    f"could not be found out: {type(error).__name__}: {error}",
                    "see to what the message names",
                )
            )

    # A daemon thread: one that hangs, on a dead network disk say, must not keep the command from ending.
    thread = threading.Thread(target=run, name=f"doctor-{check.name}", daemon=True)
    thread.start()
    thread.join(timeout_s)
    return found[0] if found else fail(f"no answer within {timeout_s:g} s", "see why that disk or host hangs")
