"""A thread that looks at watches when the lease runs out, for bodies that cannot look themselves.

A body blocked in a foreign call (``recv``, a C library) learns of a kill from the follower's thread. But the end of the
lease is exactly the case in which that thread may be hung, so nothing may depend on it. Each guard gets one timer
thread when its first callback is registered and loses it with the last one: who registers none pays nothing.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Final

from killswitch.clocks import lease_clock_s

if TYPE_CHECKING:
    from killswitch.guard import Guard
    from killswitch.running.watch import Watch

_MIN_WAIT_S: Final = 0.001
# The lease clock counts a sleeping machine's time, a condition's time-out does not: so late is the end seen after one.
_MAX_WAIT_S: Final = 0.25


class LeaseTimer:
    """Looks at each of its watches once the guard's lease has run out. Safe from any thread."""

    def __init__(self, guard: Guard) -> None:
        self._guard = weakref.ref(guard)
        self._watches: set[Watch] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the thread exists."""
        return self._thread is not None

    def add(self, watch: Watch) -> None:
        """Look at `watch` when the lease ends; starts the thread if this is the first."""
        with self._changed:
            self._watches.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="killswitch-lease", daemon=True)
                self._thread.start()

    def remove(self, watch: Watch) -> None:
        """Look at `watch` no more; the thread ends with the last."""
        with self._changed:
            self._watches.discard(watch)
            if not self._watches:
                self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_nothing_left, self._wait_s())
                if not self._watches:
                    self._thread = None
                    return
                watches = list(self._watches)
            if self._left_s() <= 0:
                for watch in watches:
                    watch.look()  # outside the lock: what it calls may remove the watch

    def _has_nothing_left(self) -> bool:
        return not self._watches

    def _wait_s(self) -> float:
        return min(max(self._left_s(), _MIN_WAIT_S), _MAX_WAIT_S)

    def _left_s(self) -> float:
        guard = self._guard()
        return 0.0 if guard is None else guard.lease_until_s() - lease_clock_s()


_timers: Final[weakref.WeakKeyDictionary[Guard, LeaseTimer]] = weakref.WeakKeyDictionary()
_timers_lock = threading.Lock()


def timer_of(guard: Guard) -> LeaseTimer:
    """Return the timer of `guard`, always the same one."""
    with _timers_lock:
        return _timers.setdefault(guard, LeaseTimer(guard))


def _forget_parent() -> None:
    global _timers_lock
    _timers_lock = threading.Lock()  # the parent's may be held by a thread that is not here
    _timers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
