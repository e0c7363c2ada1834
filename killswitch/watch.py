"""Stopping what is already running: the body of ``async with guard.watch(...)`` or of a thread's ``with``.

A watch is told of each change by the guard's follower thread; nothing polls. The end of the lease needs no
telling: the body's own side waits for it, so a dead follower stops bodies just as well.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from killswitch.clocks import lease_clock_s
from killswitch.errors import Refused

if TYPE_CHECKING:
    from killswitch.guard import Guard

_MIN_TIMER_S: Final = 0.001


class Watch:
    """One body under watch, from :meth:`Guard.watch`. Use it once, in one task or one thread.

    ``refused`` is the Refused that stopped the body, or None.
    """

    def __init__(self, guard: Guard, names: dict[str, Any]) -> None:
        self.refused: Refused | None = None
        self._guard = guard
        self._names = names
        self._stopped = threading.Event()
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cancelled = False
        self._cancelling = 0

    # -- told by the guard, in any thread --------------------------------------------------------------------

    def look(self) -> None:
        """Ask the guard again and stop the body if it refuses now. After each change, from any thread."""
        if self.refused is not None:
            return
        refused = self._guard.stop_reason(self._names)
        if refused is not None:
            self.refused = refused
            self._stopped.set()
            self._cancel_soon()

    def _cancel_soon(self) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:  # the loop was closed: there is no body any more
            return

    # -- for threads -----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._guard.add_watch(self)
        try:
            self._guard.check(**self._names)
        except BaseException:
            self._guard.remove_watch(self)
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._guard.remove_watch(self)

    def raise_if_revoked(self) -> None:
        """Return if the body may go on, else raise what stopped it. Cheap: call it at every step.

        Raises
        ------
        Refused
            Once stopped, always the same one, even if the target was restored since.
        """
        if self.refused is None and lease_clock_s() >= self._guard.lease_until_s():
            self.look()
        if self.refused is not None:
            raise self.refused

    def wait(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` seconds; return True as soon as the body must stop, False if it may go on.

        Use it instead of ``time.sleep`` in a thread's body.
        """
        end_s = lease_clock_s() + timeout_s
        while self.refused is None:
            now_s = lease_clock_s()
            lease_left_s = self._guard.lease_until_s() - now_s
            if lease_left_s <= 0:
                self.look()
            elif now_s >= end_s:
                return False
            else:
                self._stopped.wait(min(end_s - now_s, lease_left_s))
        return True

    # -- for asyncio -----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._cancelling = 0 if self._task is None else self._task.cancelling()
        self.__enter__()
        self._arm()
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> None:
        self.__exit__()
        if self._timer is not None:
            self._timer.cancel()
        task, self._task = self._task, None
        if not self._cancelled or task is None:
            if self.refused is not None and exc_type is None:
                raise self.refused  # too late for the cancellation to arrive; still not a success
            return
        # Ours is taken back; if somebody else cancelled too, more remain than there were, and theirs goes on.
        if task.uncancel() > self._cancelling or (
            exc_type is not None and not issubclass(exc_type, asyncio.CancelledError)
        ):
            return
        if self.refused is not None:
            raise self.refused

    def _cancel(self) -> None:
        if self._task is not None and not self._cancelled:
            self._cancelled = True
            self._task.cancel(str(self.refused))

    def _arm(self) -> None:
        """Set the timer for the end of the lease as it is now."""
        if self._loop is not None:
            left_s = self._guard.lease_until_s() - lease_clock_s()
            self._timer = self._loop.call_later(max(left_s, _MIN_TIMER_S), self._lease_ends)

    def _lease_ends(self) -> None:
        if lease_clock_s() >= self._guard.lease_until_s():
            self.look()
        if self.refused is None and self._task is not None:
            self._arm()
