"""The processes that enforcement points live in, and what each of them sees: of kills, and of the floor's messages."""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self

import redis

from killswitch import Guard, Refused, Target
from killswitch.running.watch import Watch

FLOOR_CHANNEL: Final = "floor"
TARGET: Final = Target("agent", "billing-bot")
MAX_PROCESSES: Final = 100  # beyond, several points share a process: a Python of its own costs each 20 MiB
CONNECTING_AT_ONCE: Final = 8  # processes; more, and connecting takes longer than the time-outs of redis-py
START_S: Final = 120.0


class Stamp(Watch):
    """A watch that notes the time at which the check first refuses, in the thread that took the kill in."""

    def __init__(self, guard: Guard) -> None:
        super().__init__(guard, {"agent": TARGET.value})
        self.guard = guard
        self.refused_ns: list[int] = []
        self.was_refused = False
        guard.add_watch(self)

    def look(self) -> None:
        """Note the time if the check refuses now; the guard calls this after each change."""
        try:
            self.guard.check(agent=TARGET.value)
            self.was_refused = False
        except Refused:
            if not self.was_refused:
                self.refused_ns.append(time.monotonic_ns())
            self.was_refused = True


class FloorListener:
    """A plain redis-py subscriber that notes when its callback is called."""

    def __init__(self, url: str) -> None:
        self.heard_ns: list[int] = []
        self._client = redis.Redis.from_url(url, socket_timeout=None, socket_connect_timeout=START_S)
        self._pubsub: Any = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self._pubsub.subscribe(**{FLOOR_CHANNEL: lambda message: self.heard_ns.append(time.monotonic_ns())})
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for _ in self._pubsub.listen():
            pass


def host_points(url: str, points: int, pipe: Connection) -> None:
    """Run `points` guards and as many floor listeners until told to hand over their times."""
    guards = [Guard.connect(url, timeout_s=START_S) for _ in range(points)]
    stamps = [Stamp(guard) for guard in guards]
    listeners = [FloorListener(url) for _ in range(points)]
    pipe.send("ready")
    with suppress(EOFError):  # the benchmark was broken off
        pipe.recv()
        _hand_over(stamps, listeners, pipe)
    for guard in guards:
        guard.close(0.5)


def _hand_over(stamps: list[Stamp], listeners: list[FloorListener], pipe: Connection) -> None:
    pipe.send(([stamp.refused_ns for stamp in stamps], [listener.heard_ns for listener in listeners]))


def host_task(url: str, pipe: Connection) -> None:
    """Run one asyncio task under watch after the other; send when each was cancelled."""
    with Guard.connect(url, timeout_s=START_S) as guard:
        while pipe.recv() == "work":
            asyncio.run(_work(guard, pipe))


async def _work(guard: Guard, pipe: Connection) -> None:
    while True:  # the last round's restoration may not be here yet
        try:
            guard.check(agent=TARGET.value)
            break
        except Refused:
            await asyncio.sleep(0.001)
    try:
        async with guard.watch(agent=TARGET.value):
            pipe.send("working")
            await _tool_call()
    except Refused:
        return


async def _tool_call() -> None:
    """Wait as for a slow answer."""
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        _cancelled_ns.append(time.monotonic_ns())
        raise


_cancelled_ns: Final[list[int]] = []


def host_one_task(url: str, pipe: Connection) -> None:
    """Run :func:`host_task` and hand over the times when told to stop."""
    host_task(url, pipe)
    pipe.send(_cancelled_ns)


class Hosts:
    """Processes with `points` points in all; a context manager, so that none is left behind."""

    def __init__(self, url: str, points: int) -> None:
        context = _context()
        processes = min(points, MAX_PROCESSES)
        shares = [points // processes + (number < points % processes) for number in range(processes)]
        self._running: list[tuple[Any, Connection]] = []
        try:
            for first in range(0, processes, CONNECTING_AT_ONCE):
                started = [
                    self._start(context, url, share) for share in shares[first : first + CONNECTING_AT_ONCE]
                ]
                for pipe in started:
                    if not pipe.poll(START_S) or pipe.recv() != "ready":
                        raise RuntimeError(f"points did not connect within {START_S} s")
        except BaseException:
            self.end()
            raise
        self.processes = processes

    def _start(self, context: Any, url: str, points: int) -> Connection:
        ours, theirs = context.Pipe()
        process = context.Process(target=host_points, args=(url, points, theirs), daemon=True)
        process.start()
        theirs.close()
        self._running.append((process, ours))
        pipe: Connection = ours
        return pipe

    def collect(self) -> tuple[list[list[int]], list[list[int]]]:
        """Return the times of all points and of all listeners, in nanoseconds of the monotonic clock."""
        refused: list[list[int]] = []
        heard: list[list[int]] = []
        for _, pipe in self._running:
            pipe.send("collect")
        for _, pipe in self._running:
            stamps, times = pipe.recv()
            refused += stamps
            heard += times
        return refused, heard

    def end(self) -> None:
        """End all processes."""
        for process, pipe in self._running:
            pipe.close()
            process.join(5)
            process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def start_task(url: str) -> tuple[Any, Connection]:
    """Start a process that runs tasks under watch; return it with the pipe to it."""
    context = _context()
    ours, theirs = context.Pipe()
    process = context.Process(target=host_one_task, args=(url, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _context() -> Any:
    """Return a way to start processes that pays for the imports once."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.kill_points"])
    return context
