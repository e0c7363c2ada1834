"""The processes of the feed benchmark: each takes calls over a pipe and answers them on its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing as mp
import traceback
from collections.abc import Awaitable, Callable, Mapping
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self

STAMPED: Final = "published at "
"""Begins the title of an alert of the benchmark's own; CLOCK_MONOTONIC in nanoseconds follows."""

START_S: Final = 240.0  # the first start on a machine compiles the models
CALL_S: Final = 300.0
STOP_S: Final = 30.0


async def answer(pipe: Connection, calls: Mapping[str, Callable[..., Awaitable[Any]]]) -> None:
    """Say that the process is ready, and answer calls until it is told to stop, or the other end is gone."""
    pipe.send(("ok", None))
    while True:
        try:
            name, *arguments = await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        if name == "stop":
            return
        try:
            pipe.send(("ok", await calls[name](*arguments)))
        except Exception:  # the root of the call: whoever made it is told all
            pipe.send(("failed", traceback.format_exc()))


class Child:
    """A process that runs `main` with its end of a pipe; a context manager, so that none is left behind."""

    def __init__(self, main: Callable[..., None], *arguments: Any) -> None:
        context = mp.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=main, args=(theirs, *arguments))
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def call(self, name: str, *arguments: Any) -> Any:
        """Return what it answers; raises `RuntimeError` with its traceback, or if it answers nothing."""
        self.begin(name, *arguments)
        return self.end(CALL_S)

    def begin(self, name: str, *arguments: Any) -> None:
        """Make a call whose answer `end` returns."""
        self._pipe.send((name, *arguments))

    def end(self, timeout_s: float = CALL_S) -> Any:
        """Return the answer to the call that was begun."""
        if not self._pipe.poll(timeout_s):
            raise RuntimeError(f"no answer within {timeout_s:g} s")
        try:
            kind, content = self._pipe.recv()
        except EOFError:
            raise RuntimeError("the process ended; its own words are above") from None
        if kind == "failed":
            raise RuntimeError(content)
        return content

    def __enter__(self) -> Self:
        self.end(START_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # it may have ended by itself
            self._pipe.send(("stop",))
        self._process.join(STOP_S)
        self._process.kill()
        self._process.join()
        self._pipe.close()
