"""Group commit: whatever waits is written together and made durable with one fsync.

The disk is touched by one worker thread only, so the event loop never waits for it; while one group is being synced
the next one gathers. Callers see their futures resolve in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from monitor.errors import LogError, LogFailed
from monitor.segments import Record, SegmentedLog

MAX_GROUP_BYTES = 32 * 1024 * 1024
"""One write-and-sync covers at most about this much, so that the first in a long queue is not kept waiting."""


class _Waiting(NamedTuple):
    record: Record
    durable: asyncio.Future[int]


class GroupCommit:
    """Appends to a log durably. Use as an asynchronous context manager; closing writes what still waits.

    Parameters
    ----------
    on_durable
        Called on the event loop as ``on_durable(first_seq, record)`` for each record in log order, before its
        caller is answered.
    """

    def __init__(self, log: SegmentedLog, on_durable: Callable[[int, Record], None] | None = None) -> None:
        self._log = log
        self._on_durable = on_durable
        self._waiting: list[_Waiting] = []
        self._writing: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log")
        self._task: asyncio.Task[None] | None = None
        self.syncs = 0

    async def __aenter__(self) -> GroupCommit:
        self._task = asyncio.create_task(self._run(), name="group-commit")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        self._wake.set()
        if self._task:
            await self._task
        self._disk.shutdown()

    @property
    def waiting(self) -> int:
        """How many sequence numbers wait to be durable."""
        return sum(waiting.record.entries for waiting in (*self._writing, *self._waiting))

    def enqueue(self, record: Record) -> asyncio.Future[int]:
        """Queue the record and return the future of its first sequence number, which resolves once it is on disk.

        It fails with `LogError` if the record could not be written, with `LogFailed` if nothing can be any more.
        Cancelling the future does not take the record back: it may become durable all the same.
        """
        if self._closing:
            raise LogError("the daemon is shutting down")
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(record, durable))
        self._wake.set()
        return durable

    def barrier(self) -> asyncio.Future[int]:
        """Return a future that resolves once everything enqueued so far is durable, or fails with it."""
        if self._waiting:
            return asyncio.shield(self._waiting[-1].durable)
        if self._writing:
            return asyncio.shield(self._writing[-1].durable)
        done = asyncio.get_running_loop().create_future()
        done.set_result(0)
        return done

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group = self._writing = self._take_group()
                try:
                    seqs = await loop.run_in_executor(self._disk, self._write, group)
                except LogError as error:
                    _refuse(group, error)
                else:
                    self._answer(group, seqs)
                self._writing = []
            if self._closing:
                return

    def _take_group(self) -> list[_Waiting]:
        size = 0
        for position, waiting in enumerate(self._waiting):
            size += len(waiting.record.payload)
            if size > MAX_GROUP_BYTES and position:
                group, self._waiting = self._waiting[:position], self._waiting[position:]
                return group
        group, self._waiting = self._waiting, []
        return group

    def _write(self, group: list[_Waiting]) -> list[int]:
        """Run in the disk thread. A group is answered as one: if a write fails, nobody in it is told yes."""
        try:
            seqs = self._log.append(*(waiting.record for waiting in group))
            self._log.sync()
        except OSError as error:
            raise LogFailed(f"{self._log.directory}: {error}") from error
        self.syncs += 1
        return seqs

    def _answer(self, group: list[_Waiting], seqs: list[int]) -> None:
        for waiting, seq in zip(group, seqs, strict=True):
            if self._on_durable:
                self._on_durable(seq, waiting.record)
            if not waiting.durable.done():
                waiting.durable.set_result(seq)


def _refuse(group: list[_Waiting], error: LogError) -> None:
    for waiting in group:
        if not waiting.durable.done():
            waiting.durable.set_exception(error)
            waiting.durable.exception()  # a caller that went away must not make the loop complain
