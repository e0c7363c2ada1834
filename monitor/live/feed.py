"""The live feed: every message is on disk before anyone sees it, and everyone can resume where they left off.

Theory of operation
-------------------
Each message has a `seq` one above the one before. What becomes durable together is fanned out together: for each
distinct filter the messages are decided upon once, and encoded and framed once for all its readers. A reader that
cannot keep up has a bounded buffer: what does not fit is dropped for that reader only, and it is told which numbers it
missed, so that it can fetch them. A reader that resumes first gets the past, piece by piece and as fast as it takes it,
and joins the live ones in the very moment in which nothing is left between.

Nothing a reader does reaches the pipeline or the kill path: they share no queue and no thread pool, and fanning out
takes at most a tenth of the event loop's time, as long as nobody waits more than `MAX_DELAY_S` for that. Messages that
come sooner wait a little and go out together, which costs little more than one of them would.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import math
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from monitor.live.filters import EVERYTHING, Filter
from monitor.live.reader import Batch, End, Message, Missed, Reader
from monitor.live.stored import Page, content, kind_of, next_piece, page_of, stored_messages, wire_text
from monitor.live.traffic import Traffic
from monitor.log.group_commit import GroupCommit
from monitor.log.segments import Record, SegmentedLog

log = logging.getLogger("killcord.feed")

DAY_S = 86_400.0
DROP_INTERVAL_S = 3600.0
TICK_S: Final = 0.1
TICKS_PER_ROUND: Final = 10
"""Every reader is looked after once a round, a tenth of them at a time."""

MAX_DELAY_S: Final = 0.05
REST: Final = 9.0
"""After fanning out the loop has nine times as long for everything else, but nobody waits longer than that.

With 100 readers of 200 alerts a second, on a machine with little else to do, the pipeline scored 0.92 as many actions
per CPU second as alone, 0.62 with a rest of three times (medians of three rounds, in turns); an idle daemon's alerts
came about 15 ms later for it, p50. On an overloaded machine the two did not differ measurably.
"""

SHUTDOWN: Final = End(1012, "the daemon is stopping")

_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


class Feed:
    """Publishes durably and fans out. All methods belong to one event loop.

    Parameters
    ----------
    on_durable
        Called with each message in the order of the log, once it is on disk and before any reader has it.
    """

    def __init__(
        self,
        log: SegmentedLog,
        *,
        recent: int,
        client_buffer: int,
        retention_days: float = math.inf,
        on_durable: Callable[[int, bytes], object] = lambda seq, payload: None,
    ) -> None:
        self._log = log
        self._on_durable = on_durable
        self._commit = GroupCommit(log, self._durable)
        self._recent: deque[Message] = deque(maxlen=recent)
        self._channels: dict[str, set[Reader]] = {}  # those who are live, by their filter's text
        self.traffic = Traffic()
        self._waiting: list[Message] = []  # durable, not yet fanned out
        self._fan_out_at_s = 0.0
        self._client_buffer = client_buffer
        self._retention_s = retention_days * DAY_S
        self._drop_due_s = 0.0
        self._disk = ThreadPoolExecutor(max_workers=2, thread_name_prefix="feed")
        self._ticking: asyncio.Task[None] | None = None
        self._is_closed = False
        self._moved = asyncio.Event()
        self.last_seq = log.next_seq - 1
        self._recent.extend(stored_messages(log, self.last_seq - recent, self.last_seq))

    # -- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Feed:
        await self._commit.__aenter__()
        self._ticking = asyncio.create_task(self._tick(), name="feed-tick")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._commit.__aexit__(*error)
        self.fan_out()
        self._is_closed = True
        self._moved.set()
        self.end_readers(SHUTDOWN)
        if self._ticking:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        self._disk.shutdown(wait=False, cancel_futures=True)

    # -- publishing ---------------------------------------------------------------------------------------------

    async def publish(self, messages: Iterable[dict[str, Any]]) -> None:
        """Return when the messages are on disk and will be handed to every reader; each needs `type` and `ts`."""
        waiting = [self._commit.enqueue(Record(_encode(message))) for message in messages]
        for durable in waiting:
            await durable
        if time.monotonic() >= self._drop_due_s:
            self._drop_due_s = time.monotonic() + DROP_INTERVAL_S
            await self._off_loop(self._drop_old)

    def newest(self, kind: str, limit: int) -> list[dict[str, Any]]:
        """Return the newest messages of a type, newest first, as far as memory reaches."""
        found: list[dict[str, Any]] = []
        for message in reversed(self._recent):
            if kind_of(message) == kind:
                found.append(content(message))
            if len(found) == limit:
                break
        return found

    def _durable(self, seq: int, record: Record) -> None:
        self._on_durable(seq, record.payload)
        message = Message(seq, wire_text(seq, record.payload))
        self._recent.append(message)
        self.last_seq = seq
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        if not self._waiting:  # the others of its group follow before the loop gets to this
            loop = asyncio.get_running_loop()
            loop.call_at(max(self._fan_out_at_s, loop.time()), self.fan_out)
        self._waiting.append(message)

    def fan_out(self) -> None:
        """Hand what is durable to those who are live; called by itself soon after it is durable."""
        if not self._waiting:
            return
        began_s = time.perf_counter()
        messages, self._waiting = self._waiting, []
        decoded = [content(message) for message in messages] if any(self._channels) else []
        for readers in self._channels.values():
            self._deliver(messages, decoded, readers)
        took_s = time.perf_counter() - began_s
        self._fan_out_at_s = asyncio.get_running_loop().time() + min(took_s * REST, MAX_DELAY_S)

    def _deliver(self, messages: list[Message], decoded: list[dict[str, Any]], readers: set[Reader]) -> None:
        wanted = next(iter(readers)).wanted
        if wanted.terms:
            messages = [one for one, said in zip(messages, decoded, strict=True) if wanted.matches(said)]
        batch = Batch(self.last_seq, messages)
        for reader in readers:
            reader.deliver(batch)

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        """Where the messages are kept."""
        return self._log.directory

    @property
    def readers(self) -> int:
        """How many are following."""
        return len(self.traffic)

    def reader(self, wanted: Filter = EVERYTHING) -> Reader:
        """Return a new reader for `follow` or `joined`."""
        return Reader(self._client_buffer, wanted)

    @property
    def client_buffer(self) -> int:
        """How many messages may wait for one reader."""
        return self._client_buffer

    async def follow(self, reader: Reader, since: int | None) -> AsyncIterator[Message | Missed]:
        """Yield everything after `since` (None: only what is new), first from memory or disk, then live.

        Ends when the feed is closed or the reader is ended. What retention has deleted counts as missed.
        """
        with self.serving(reader):
            reader.start(self.last_seq if since is None else min(since, self.last_seq))
            async for piece in self.catch_up(reader):
                for item in piece:
                    yield item
            while True:
                for item in reader.take():
                    yield item
                if reader.ended:
                    return
                await reader.wake.wait()
                reader.wake.clear()

    @contextlib.contextmanager
    def serving(self, reader: Reader) -> Iterator[None]:
        """Count the reader among those who follow, for as long as it does."""
        if self._is_closed:
            reader.end(SHUTDOWN)
        self.traffic.came(reader)
        try:
            yield
        finally:
            self.traffic.left(reader)
            self._leave(reader)

    async def advanced(self, beyond: int) -> bool:
        """Return once there is a message after `beyond`, False once the feed is closed; for who reads its log."""
        while self.last_seq <= beyond and not self._is_closed:
            await self._moved.wait()
        return not self._is_closed

    async def catch_up(self, reader: Reader) -> AsyncIterator[list[Message | Missed]]:
        """Yield what the reader wants of all after its position, a piece at a time; at the end it is live.

        An empty piece only says that the reader's position has moved.
        """
        while reader.position < self.last_seq and not reader.ended:
            up_to = self.last_seq
            look = functools.partial(next_piece, self._source(reader.position, up_to), reader.wanted)
            while piece := await self._off_loop(look):
                gone = _gone(reader.position + 1, piece.from_seq - 1)
                reader.start(piece.to_seq)  # first: whoever sends a heartbeat after the piece sends this
                reader.sent += len(piece.found)
                yield [*gone, *piece.found]
            if gone := _gone(reader.position + 1, up_to):
                reader.start(up_to)
                yield gone
        self.join(reader)

    def join(self, reader: Reader) -> None:
        """Make a reader that has everything up to `last_seq` live."""
        self.fan_out()  # what still waits for that, it has already
        self._channels.setdefault(reader.wanted.text, set()).add(reader)

    async def page(self, from_seq: int, to_seq: int, wanted: Filter, limit: int) -> Page:
        """Return the first `limit` messages with these numbers that pass the filter, and where to go on."""
        to_seq = min(to_seq, self.last_seq)
        if from_seq > to_seq:
            return Page([], None, None)
        source = self._source(from_seq - 1, to_seq)
        return await self._off_loop(functools.partial(page_of, source, wanted, from_seq, to_seq, limit))

    def end_readers(self, why: End, principal: str | None = None) -> None:
        """Send all readers away, or those of one principal: its token was revoked, say."""
        for reader in self.traffic:
            if principal is None or reader.principal == principal:
                reader.end(why)

    def _leave(self, reader: Reader) -> None:
        channel = self._channels.get(reader.wanted.text)
        if channel:
            channel.discard(reader)
            if not channel:
                del self._channels[reader.wanted.text]

    def _source(self, after: int, up_to: int) -> Iterator[Message]:
        if self._recent and self._recent[0].seq <= after + 1:
            skipped = after + 1 - self._recent[0].seq
            return iter(list(itertools.islice(self._recent, skipped, up_to - self._recent[0].seq + 1)))
        return stored_messages(self._log, after, up_to)

    async def _off_loop(self, work: Callable[[], T]) -> T:
        """Run in the feed's own threads: a kill never waits for a thread because somebody reads the past."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

    # -- housekeeping -------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        for turn in itertools.cycle(range(TICKS_PER_ROUND)):
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            for reader in list(itertools.islice(self.traffic, turn, None, TICKS_PER_ROUND)):
                reader.tick(now_s)

    def _drop_old(self) -> None:
        horizon_s = time.time() - self._retention_s
        try:
            self._log.drop_before(self._log.next_seq, older_than_s=horizon_s, keep_bytes=sys.maxsize)
        except OSError as error:  # what is kept too long harms nobody
            log.error("old feed messages could not be deleted: %s", error)


def _gone(from_seq: int, to_seq: int) -> list[Message | Missed]:
    return [Missed(from_seq, to_seq)] if from_seq <= to_seq else []


def now_text() -> str:
    """Return the wall clock as RFC 3339 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
