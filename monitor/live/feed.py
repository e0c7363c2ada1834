"""The live feed: every message is on disk before anyone sees it, and everyone can resume where they left off.

Each message has a `seq` one above the one before. A reader that cannot keep up has a bounded buffer: what does not fit
is dropped for that reader only, and it is told which numbers it missed, so that it can fetch them with `since`. Nothing
a reader does reaches the pipeline or the kill path: they share no queue.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from monitor.record.group_commit import GroupCommit
from monitor.record.segments import Record, SegmentedLog

log = logging.getLogger("killcord.feed")

DAY_S = 86_400.0
DROP_INTERVAL_S = 3600.0

_encode = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """One feed message on the wire."""

    seq: int
    text: str


class Missed(NamedTuple):
    """Numbers that a slow reader was not sent, both ends included."""

    from_seq: int
    to_seq: int


class Feed:
    """Publishes durably and fans out. All methods belong to one event loop."""

    def __init__(
        self, log: SegmentedLog, *, recent: int, client_buffer: int, retention_days: float = math.inf
    ) -> None:
        self._log = log
        self._commit = GroupCommit(log, self._durable)
        self._recent: deque[Message] = deque(maxlen=recent)
        self._readers: set[Reader] = set()
        self._client_buffer = client_buffer
        self._retention_s = retention_days * DAY_S
        self._drop_due_s = 0.0
        self._is_closed = False
        self._moved = asyncio.Event()
        self.last_seq = log.next_seq - 1
        self._recent.extend(stored_messages(log, self.last_seq - recent, self.last_seq))

    async def __aenter__(self) -> Feed:
        await self._commit.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._commit.__aexit__(*error)
        self._is_closed = True
        self._moved.set()
        for reader in self._readers:
            reader.wake.set()

    async def publish(self, messages: Iterable[dict[str, Any]]) -> None:
        """Return when the messages are on disk and handed to every reader; each needs `type` and `ts`."""
        waiting = [self._commit.enqueue(Record(_encode(message))) for message in messages]
        for durable in waiting:
            await durable
        if time.monotonic() >= self._drop_due_s:
            self._drop_due_s = time.monotonic() + DROP_INTERVAL_S
            await asyncio.to_thread(self._drop_old)

    @property
    def directory(self) -> Path:
        """Where the messages are kept."""
        return self._log.directory

    @property
    def readers(self) -> int:
        """How many are following."""
        return len(self._readers)

    def newest(self, kind: str, limit: int) -> list[dict[str, Any]]:
        """Return the newest messages of a type, newest first, as far as memory reaches."""
        found: list[dict[str, Any]] = []
        for message in reversed(self._recent):
            content = msgspec.json.decode(message.text)
            if content["type"] == kind:
                found.append(content)
            if len(found) == limit:
                break
        return found

    async def follow(self, reader: Reader, since: int | None) -> AsyncIterator[Message | Missed]:
        """Yield everything after `since` (None: only what is new), first from memory or disk, then live.

        Ends when the feed is closed. What retention has deleted counts as missed.
        """
        self._readers.add(reader)
        try:
            start = self.last_seq if since is None or since > self.last_seq else since
            async for stored in self._stored(start, self.last_seq):
                yield stored
            while True:
                for item in reader.take():
                    yield item
                if self._is_closed:
                    return
                await reader.wake.wait()
                reader.wake.clear()
        finally:
            self._readers.discard(reader)

    async def advanced(self, beyond: int) -> bool:
        """Return once there is a message after `beyond`, False once the feed is closed; for who reads its log."""
        while self.last_seq <= beyond and not self._is_closed:
            await self._moved.wait()
        return not self._is_closed

    def reader(self) -> Reader:
        """Return a new reader for `follow`."""
        return Reader(self._client_buffer)

    async def _stored(self, after: int, up_to: int) -> AsyncIterator[Message | Missed]:
        if after >= up_to:
            return
        if self._recent and self._recent[0].seq <= after + 1:
            messages = [message for message in self._recent if after < message.seq <= up_to]
        else:
            messages = await asyncio.to_thread(lambda: list(stored_messages(self._log, after, up_to)))
        first = messages[0].seq if messages else up_to + 1
        if first > after + 1:
            yield Missed(after + 1, first - 1)
        for message in messages:
            yield message

    def _drop_old(self) -> None:
        horizon_s = time.time() - self._retention_s
        try:
            self._log.drop_before(self._log.next_seq, older_than_s=horizon_s, keep_bytes=sys.maxsize)
        except OSError as error:  # what is kept too long harms nobody
            log.error("old feed messages could not be deleted: %s", error)

    def _durable(self, seq: int, record: Record) -> None:
        message = Message(seq, wire_text(seq, record.payload))
        self._recent.append(message)
        self.last_seq = seq
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        for reader in self._readers:
            reader.put(message)


class Reader:
    """The bounded buffer of one follower."""

    def __init__(self, capacity: int) -> None:
        self._buffer: deque[Message] = deque()
        self._capacity = capacity
        self._missed: Missed | None = None
        self.wake = asyncio.Event()

    def put(self, message: Message) -> None:
        """Take a message, or note that it was missed; never waits."""
        if self._missed is None and len(self._buffer) < self._capacity:
            self._buffer.append(message)
        else:
            first = self._missed.from_seq if self._missed else message.seq
            self._missed = Missed(first, message.seq)
        self.wake.set()

    def take(self) -> Iterator[Message | Missed]:
        """Yield what waits, oldest first, and at the end what was missed after it."""
        while self._buffer:
            yield self._buffer.popleft()
        if self._missed:
            missed, self._missed = self._missed, None
            yield missed


def wire_text(seq: int, payload: bytes) -> str:
    """Return the stored message with its number in front."""
    return f'{{"seq":{seq},{payload[1:].decode()}'


def stored_messages(log: SegmentedLog, after: int, up_to: int) -> Iterator[Message]:
    """Yield messages from disk with ``after < seq <= up_to``."""
    for frame in log.read(after + 1):
        if frame.first_seq > up_to:
            return
        yield Message(frame.first_seq, wire_text(frame.first_seq, frame.payload))


def now_text() -> str:
    """Return the wall clock as RFC 3339 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
