"""One reader of the feed: where it is, what waits for it, and what it missed. Pure but for the event that wakes it.

Theory of operation
-------------------
`position` is the promise to the reader: everything up to it was sent, or left out by its filter, or told as missed. So
a reader that resumes from its position gets the rest, once. It rises only by what is handed over, never by what merely
waits: heartbeats carry it.

What waits is bounded. Once the buffer is full, whatever comes is missed, until the reader has taken all that waits and
was told which numbers it missed; then it is up to date again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, Literal, NamedTuple, get_args

from monitor.live.filters import EVERYTHING, Filter
from monitor.live.frames import text_frame

CHUNK_BYTES: Final = 64 * 1024
"""So much goes into one write: enough to spare system calls, little enough to stop when the connection is full."""

Transport = Literal["websocket", "sse"]
TRANSPORTS: Final[tuple[str, ...]] = get_args(Transport)


class Message(NamedTuple):
    """One feed message on the wire; `text` is its JSON in UTF-8."""

    seq: int
    text: bytes


class Missed(NamedTuple):
    """Numbers that a slow reader was not sent, both ends included."""

    from_seq: int
    to_seq: int


class End(NamedTuple):
    """Why a reader is sent away: a websocket close code (RFC 6455 §7.4) and a sentence."""

    code: int
    why: str


class Batch:
    """What was published together and passes one filter, prepared once for all readers that have this filter.

    `to_seq` is the number up to which the filter has decided; it may be beyond the last message.
    """

    def __init__(self, to_seq: int, messages: Sequence[Message]) -> None:
        self.to_seq = to_seq
        self.messages = messages

    @cached_property
    def chunks(self) -> list[bytes]:
        """The messages as websocket frames, whole frames, about `CHUNK_BYTES` at a time."""
        return list(chunked([text_frame(message.text) for message in self.messages]))


class Reader:
    """The bounded buffer of one follower.

    Parameters
    ----------
    capacity
        How many messages may wait.
    wanted
        What it wants to see.
    principal
        Whose it is: all readers of one principal can be ended.
    transport
        How it reads: a websocket, or server-sent events.
    """

    def __init__(
        self,
        capacity: int,
        wanted: Filter = EVERYTHING,
        principal: str = "",
        transport: Transport = "websocket",
    ) -> None:
        self.wanted = wanted
        self.principal = principal
        self.transport = transport
        self.sent = 0
        """How many messages were handed over to be sent."""
        self.missed = 0
        """How many messages that it wanted there was no room for."""
        self.position = 0
        self.ended: End | None = None
        self.wake = asyncio.Event()
        self._capacity = capacity
        self._buffer: deque[Message] = deque()
        self._missed: Missed | None = None
        self._decided = 0

    @property
    def is_up_to_date(self) -> bool:
        """Whether nothing waits and nothing was missed."""
        return not self._buffer and self._missed is None

    def start(self, position: int) -> None:
        """Begin after `position`, or go there: everything up to it is settled."""
        self.position = self._decided = position

    def deliver(self, batch: Batch) -> None:
        """Take the batch's messages as far as there is room, note the others as missed; never waits."""
        for message in batch.messages:
            self.put(message)
        self.pass_over(batch.to_seq)
        self.wake.set()

    def put(self, message: Message) -> None:
        """Take a message that passes the filter, or note that it was missed."""
        if self._missed is None and len(self._buffer) < self._capacity:
            self._buffer.append(message)
        else:
            first = self._missed.from_seq if self._missed else message.seq
            self._missed = Missed(first, message.seq)
            self.missed += 1
        self._decided = message.seq

    def pass_over(self, seq: int) -> None:
        """Note that the filter has decided about everything up to `seq`."""
        self._decided = max(self._decided, seq)
        if self.is_up_to_date:
            self.position = self._decided

    def take(self) -> Iterator[Message | Missed]:
        """Yield what waits, oldest first, and at the end what was missed after it."""
        while self._buffer or self._missed:
            if self._buffer:
                message = self._buffer.popleft()
                self.position = message.seq
                self.sent += 1
                yield message
            elif self._missed:
                missed, self._missed = self._missed, None
                self.position = missed.to_seq
                yield missed
        self.position = self._decided

    def end(self, why: End) -> None:
        """Send the reader away; whoever serves it sees that at once."""
        self.ended = self.ended or why
        self.wake.set()

    def tick(self, now_s: float) -> None:
        """Do what is due once a second; nothing for those who ask for their messages."""


def chunked(frames: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the frames joined, about `CHUNK_BYTES` at a time, none of them cut."""
    waiting: list[bytes] = []
    size = 0
    for frame in frames:
        waiting.append(frame)
        size += len(frame)
        if size >= CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
