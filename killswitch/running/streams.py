"""What a watch does to things that block or flow: closes them, or passes their items through until a kill.

A blocked ``recv`` wakes only if the connection under it is shut down; closing the descriptor in another thread does not
wake it and lets the number be reused under the reader. So on a kill a connection is *shut down* at once, and *closed*
when the body has left. Whatever is no connection is closed in a thread of its own: a ``close`` may block (a buffered
reader's waits for its reader), and the guard's thread must not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from killswitch.running.watch import Watch

log = logging.getLogger("killswitch")

Resource = TypeVar("Resource")
Item = TypeVar("Item")

# What a body sees when the thing it reads from is shut down under it: the kill is the cause, so it is what is raised.
_TORN: Final = (OSError, ValueError, EOFError)


class Closing(Generic[Resource]):
    """Holds `resource` open for a body, from :meth:`Watch.closing`.

    In force from when it is made. As a context manager it gives the resource, closes it at the end, and turns what
    the body saw of a kill (an end of file, an ``OSError``) into the Refused that caused it.
    """

    def __init__(self, watch: Watch, resource: Resource) -> None:
        self._watch = watch
        self._resource = resource
        self._ended = False
        watch.on_stop(self._stop)

    def __enter__(self) -> Resource:
        return self._resource

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, *rest: object
    ) -> None:
        self.end()
        if exc is None or isinstance(exc, _TORN):
            self._watch.raise_if_revoked()

    def end(self) -> None:
        """Close the resource and forget it. Idempotent."""
        if self._ended:
            return
        self._ended = True
        self._watch.forget(self._stop)
        with suppress(*_TORN):  # torn down already: closed is closed
            close(self._resource)

    def _stop(self) -> None:
        loop = self._watch.loop
        if loop is not None:  # asyncio's things belong to the loop's thread
            loop.call_soon_threadsafe(_shut, self._resource)
        else:
            _shut(self._resource)


def stream(watch: Watch, source: Iterable[Item]) -> Iterator[Item]:
    """Yield the items of `source` until a kill; see :meth:`Watch.stream`."""
    with watch.entered():
        held = Closing(watch, source)
        try:
            iterator = iter(source)
            while True:
                watch.raise_if_revoked()
                try:
                    item = next(iterator)
                except StopIteration:
                    watch.raise_if_revoked()  # an end because the connection was shut down is no end
                    return
                except _TORN:
                    watch.raise_if_revoked()
                    raise
                watch.raise_if_revoked()
                yield item
        finally:
            held.end()


async def astream(watch: Watch, source: AsyncIterable[Item]) -> AsyncIterator[Item]:
    """Yield the items of `source` until a kill; see :meth:`Watch.astream`."""
    with watch.entered():
        iterator = aiter(source)
        try:
            while True:
                watch.raise_if_revoked()
                try:
                    item = await _next(watch, iterator)
                except StopAsyncIteration:
                    watch.raise_if_revoked()
                    return
                watch.raise_if_revoked()
                yield item
        finally:
            await _aclose(iterator)


async def _next(watch: Watch, iterator: AsyncIterator[Item]) -> Item:
    """Return the next item, or raise Refused at once on a kill: the waiting task is cancelled and takes it back."""
    task = asyncio.current_task()
    if task is None or watch.cancels(task):
        return await anext(iterator)  # the watch around this task cancels it
    loop = asyncio.get_running_loop()
    before = task.cancelling()
    waiting = [True]
    cancelled: list[bool] = []

    def cancel() -> None:
        if waiting:
            cancelled.append(True)
            task.cancel()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(cancel)

    watch.on_stop(tell)
    try:
        return await anext(iterator)
    except asyncio.CancelledError:
        if cancelled and task.uncancel() <= before:
            watch.raise_if_revoked()
        raise
    finally:
        waiting.clear()
        watch.forget(tell)


async def _aclose(iterator: object) -> None:
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        await aclose()


def close(resource: object) -> None:
    """Close `resource` if it can be closed."""
    closer: Callable[[], Any] | None = getattr(resource, "close", None)
    if callable(closer):
        closer()


def _shut(resource: object) -> None:
    """Wake whoever is blocked on `resource`. Never blocks."""
    if not _shut_down(resource):
        threading.Thread(target=_close_aside, args=(resource,), name="killswitch-close", daemon=True).start()


def _shut_down(resource: object) -> bool:
    """Shut the connection under `resource` down; return whether there is one."""
    try:
        descriptor = resource.fileno()  # type: ignore[attr-defined]
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        # By a duplicate: whatever wraps the connection (TLS, a response, a file) keeps its state for its own thread.
        with socket.socket(fileno=os.dup(descriptor)) as connection, suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    except (AttributeError, TypeError, ValueError, OSError):  # no descriptor, or closed already
        return False
    return True


def _close_aside(resource: object) -> None:
    try:
        close(resource)
    except Exception as error:  # the thread's root; a generator that is running, for example, says no
        log.debug("could not close %s on a kill: %s", type(resource).__name__, error)
