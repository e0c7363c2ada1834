"""What one reader is told, in order: its opening, the past that it asked for, and what is new."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from monitor.live.feed import Feed
from monitor.live.heartbeat import (
    INTERVAL_S,
    Book,
    Heartbeat,
    missed_message,
    reset_message,
    snapshot_message,
)
from monitor.live.message_types import Me
from monitor.live.reader import Message, Missed, Reader


@dataclass(frozen=True)
class Wish:
    """What a reader asks for: everything after `since` (None: only what is new), or what is open now (`book`)."""

    since: int | None = None
    book: Book | None = None
    me: Me | None = None


class Session:
    """Puts together what goes to one reader. Use it in ``with feed.serving(reader)``."""

    def __init__(self, feed: Feed, reader: Reader, heartbeat: Heartbeat) -> None:
        self.feed = feed
        self.reader = reader
        self._heartbeat = heartbeat
        self._beat_due_s = 0.0

    async def opening(self, wish: Wish) -> AsyncIterator[list[Message]]:
        """Yield what comes before live messages, a piece at a time; after the last piece the reader is live."""
        yield self._greeting(wish)
        async for piece in self.feed.catch_up(self.reader):
            yield [*told(piece), *self._beats()]

    async def live(self) -> AsyncIterator[list[Message]]:
        """Yield what is new, and heartbeats, until the reader is ended; for a reader that asks for its messages."""
        reader = self.reader
        while not reader.ended:
            messages = [*told(reader.take()), *self._beats()]
            if messages:
                yield messages
            elif reader.is_up_to_date and not reader.wake.is_set():
                await self._rest()
            reader.wake.clear()

    def _greeting(self, wish: Wish) -> list[Message]:
        last_seq = self.feed.last_seq
        since = last_seq if wish.since is None else wish.since
        self.reader.start(min(since, last_seq))
        if wish.book and wish.me:
            self.reader.start(last_seq)
            return [snapshot_message(last_seq, wish.book, wish.me), *self._beats()]
        reset = [reset_message(since, last_seq)] if since > last_seq else []
        return [*reset, *self._beats()]

    def _beats(self) -> list[Message]:
        now_s = time.monotonic()
        if now_s < self._beat_due_s:
            return []
        self._beat_due_s = now_s + INTERVAL_S
        return [self._heartbeat.message(self.reader.position)]

    async def _rest(self) -> None:
        """Wait for news, but no longer than until the next heartbeat."""
        wait_s = max(0.0, self._beat_due_s - time.monotonic())
        try:
            async with asyncio.timeout(wait_s):
                await self.reader.wake.wait()
        except TimeoutError:
            pass


def told(items: Iterable[Message | Missed]) -> list[Message]:
    """Return the messages as they are, and in the place of what was missed the one that says so."""
    return [missed_message(item) if isinstance(item, Missed) else item for item in items]
