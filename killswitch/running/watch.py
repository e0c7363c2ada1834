"""Stopping what is already running: the body of ``async with guard.watch(...)`` or of a thread's ``with``.

A watch is told of each change by the guard's follower thread; nothing polls. The end of the lease needs no
telling: the body's own side waits for it, so a dead follower stops bodies just as well. A body that cannot look
because it is blocked in a foreign call registers what is to happen (:meth:`Watch.on_stop`, :meth:`Watch.closing`), and
a timer thread calls that at the end of the lease (:mod:`killswitch.running.lease_timer`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from killswitch.clocks import lease_clock_s
from killswitch.errors import Refused
from killswitch.running import streams
from killswitch.running.lease_timer import timer_of

if TYPE_CHECKING:
    from killswitch.guard import Guard

log = logging.getLogger("killswitch")

Resource = TypeVar("Resource")
Item = TypeVar("Item")

_MIN_TIMER_S: Final = 0.001


class Watch:
    """One body under watch, from :meth:`Guard.watch`. Use it once, in one task or one thread.

    ``refused`` is the Refused that stopped the body, or None; ``failures`` counts callbacks that raised.
    """

    def __init__(self, guard: Guard, names: dict[str, Any]) -> None:
        self.refused: Refused | None = None
        self.failures = 0
        self._guard = guard
        self._lock = (
            threading.Lock()
        )  # guards the step from going on to stopped, which several threads may take
        self._callbacks: list[Callable[[], object]] = []
        self._is_entered = False
        self._is_timed = False
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
            self._stop(refused)

    def _stop(self, refused: Refused) -> None:
        with self._lock:
            if self.refused is not None:  # another thread was first
                return
            self.refused = refused
            callbacks, self._callbacks = self._callbacks, []
        self._stopped.set()
        self._cancel_soon()
        for callback in callbacks:
            self._call(callback)

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception:  # somebody else's code in the guard's thread: it must not end that
            self.failures += 1
            log.exception("a callback of a stopped watch failed; the body may go on")

    def _cancel_soon(self) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:  # the loop was closed: there is no body any more
            return

    # -- for bodies blocked in a foreign call ----------------------------------------------------------------

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Call `callback` once when the body must stop, or at once if it must already.

        It is called in the guard's thread (or the lease timer's, or the body's own), so it must be quick and must
        not block; what it raises is logged and counted in ``failures``. Forgotten when the watch's body ends.
        """
        with self._lock:
            stopped = self.refused is not None
            if not stopped:
                self._callbacks.append(callback)
                self._time()
        if stopped:
            self._call(callback)

    def _time(self) -> None:
        """Have the lease timer look, once there is a body and something to call. Under the lock."""
        if self._is_entered and self._callbacks and not self._is_timed:
            self._is_timed = True
            timer_of(self._guard).add(self)

    def forget(self, callback: Callable[[], object]) -> None:
        """Call `callback` no more, if it was not called yet."""
        with self._lock:
            self._callbacks = [other for other in self._callbacks if other != callback]

    def closing(self, resource: Resource) -> streams.Closing[Resource]:
        """Close `resource` on a kill and at the end of the lease; ``with watch.closing(sock) as sock:``.

        Anything with a ``close``. If it has a ``fileno`` that is a connection (a socket, a TLS socket, an HTTP
        response), the connection is shut down, which wakes a thread blocked in ``recv``; anything else is closed in a
        thread of its own, which need not wake a thread blocked in it (a pipe's reader stays blocked). At the end
        of the ``with`` the resource is closed, and a stop is raised as the Refused that caused it.
        """
        return streams.Closing(self, resource)

    def stream(self, source: Iterable[Item]) -> Iterator[Item]:
        """Pass the items of `source` through; raise the Refused instead of another one after a kill.

        While it waits for the next item in a foreign call, a kill shuts `source` down as :meth:`closing` does; if
        `source` is a generator around a connection, give that to :meth:`closing` too. Enters the watch by itself
        if it was not: ``for chunk in guard.watch(agent="bot").stream(answer):``. Closes `source` at the end.

        Raises
        ------
        Refused
            On entry, and as soon as something is refused.
        """
        return streams.stream(self, source)

    def astream(self, source: AsyncIterable[Item]) -> AsyncIterator[Item]:
        """Pass the items of `source` through; stop at once on a kill, also while waiting for the next item.

        In the task of the watch's ``async with`` the stop comes as its cancellation, which becomes the Refused there;
        in any other task, or without ``async with``, the Refused comes out of the ``async for``. Closes `source` at
        the end (``aclose``).
        """
        return streams.astream(self, source)

    def entered(self) -> AbstractContextManager[object]:
        """Return a context in which the watch is in force: a new one, or the one it is in already."""
        return nullcontext() if self._is_entered else self

    def cancels(self, task: asyncio.Task[Any]) -> bool:
        """Return whether `task` is the one that the watch cancels by itself."""
        return self._task is task

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the body, or None for a thread's."""
        return self._loop

    # -- for threads -----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._guard.add_watch(self)
        try:
            self._guard.check(**self._names)
        except BaseException:
            self._guard.remove_watch(self)
            raise
        with self._lock:
            self._is_entered = True
            self._time()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._is_entered = False
            self._callbacks = []
            was_timed, self._is_timed = self._is_timed, False
        if was_timed:
            timer_of(self._guard).remove(self)
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
