"""The two clocks: one that people read, one that leases run on."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

wall_s: Final[Callable[[], float]] = time.time
"""Seconds since 1970; for records and for the end of suspensions."""


def _lease_clock() -> Callable[[], float]:
    # A lease must run while the machine sleeps: after an hour's sleep nothing heard before it is worth
    # anything. On Linux only CLOCK_BOOTTIME counts sleep; macOS's CLOCK_MONOTONIC does, but not Python's
    # time.monotonic there.
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):
        if hasattr(time, name):
            return partial(time.clock_gettime, getattr(time, name))
    return time.monotonic


lease_clock_s: Final[Callable[[], float]] = _lease_clock()
"""Seconds that only go forward and count a sleeping machine's time too; about 50 ns a call."""
