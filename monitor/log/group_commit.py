"""Group commit: whatever waits is written together and made durable with one fsync.

The disk is touched by one worker thread only, so the event loop never waits for it; while one group is being synced
the next one gathers. Callers see their futures resolve in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from monitor.errors import LogError, LogFailed
from monitor.log.segments import Record, SegmentedLog

MAX_GROUP_BYTES = 32 * 1024 * 1024
"""One write-and-sync covers at most about this much, so that the first in a long queue is not kept waiting."""


class _Waiting(NamedTuple):
    record: Record
    durable: asyncio.Future[int]


class _Barrier(NamedTuple):
    after: int
    """How many records must be settled first."""
    passed: asyncio.Future[None]


class GroupCommit:
    """Appends to a log durably. Use as an asynchronous context manager; closing writes what still waits.

    Parameters
    ----------
    on_durable
        Called on the event loop as ``on_durable(first_seq, record)`` for each record in log order, before its
        caller is answered.
    on_refused
        Called on the event loop for each record that was not made durable, before its caller is answered, and
        also if that caller has gone away.
    """

    def __init__(
        self,
        log: SegmentedLog,
        on_durable: Callable[[int, Record], None] | None = None,
        on_refused: Callable[[Record], None] | None = None,
    ) -> None:
        self._log = log
        self._on_durable = on_durable or (lambda first_seq, record: None)
        self._on_refused = on_refused or (lambda record: None)
        self._waiting: list[_Waiting] = []
        self._writing: list[_Waiting] = []
        self._barriers: deque[_Barrier] = deque()
        self._enqueued = 0
        self._settled = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log")
        self._task: asyncio.Task[None] | None = None
        self.waiting = 0
        """How many sequence numbers wait to be durable."""
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

    def enqueue(self, record: Record) -> asyncio.Future[int]:
        """Queue the record and return the future of its first sequence number, which resolves once it is on disk.

        It fails with `LogError` if the record could not be written, with `LogFailed` if nothing can be any more.
        Cancelling the future does not take the record back: it may become durable all the same.

        Raises
        ------
        LogError
            If nothing is taken in any more.
        """
        if self._closing:
            raise LogError("the daemon is shutting down")
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(record, durable))
        self._enqueued += 1
        self.waiting += record.entries
        self._wake.set()
        return durable

    def barrier(self) -> asyncio.Future[None]:
        """Return a future that resolves once everything enqueued so far is durable, or fails if any of it does.

        It does not depend on the futures of those who enqueued: they may have been cancelled.
        """
        passed = asyncio.get_running_loop().create_future()
        if self._settled == self._enqueued:
            passed.set_result(None)
        else:
            self._barriers.append(_Barrier(self._enqueued, passed))
        return passed

    async def _run(self) -> None:
        try:
            await self._commit_groups()
        finally:  # also after a defect of ours: nobody may wait for an answer that never comes
            self._closing = True
            self._refuse(self._writing + self._waiting, LogFailed("the log has stopped; restart the daemon"))
            self._writing, self._waiting = [], []

    async def _commit_groups(self) -> None:
        loop = asyncio.get_running_loop()
        while not (self._closing and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group = self._writing = self._take_group()
                try:
                    seqs = await loop.run_in_executor(self._disk, self._write, group)
                except LogError as error:
                    self._refuse(group, error)
                else:
                    self._answer(group, seqs)
                self._writing = []

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
            self.waiting -= waiting.record.entries
            self._on_durable(seq, waiting.record)
            if not waiting.durable.done():
                waiting.durable.set_result(seq)
        self._settled += len(group)
        while self._barriers and self._barriers[0].after <= self._settled:
            passed = self._barriers.popleft().passed
            if not passed.done():
                passed.set_result(None)

    def _refuse(self, group: list[_Waiting], error: LogError) -> None:
        if not group:
            return
        for waiting in group:
            self.waiting -= waiting.record.entries
            self._on_refused(waiting.record)
            _fail(waiting.durable, error)
        self._settled += len(group)
        # Groups are settled in order, so every barrier that still stands has waited for a record of this one.
        while self._barriers:
            _fail(self._barriers.popleft().passed, error)


def _fail(future: asyncio.Future[int] | asyncio.Future[None], error: LogError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # a caller that went away must not make the loop complain
