"""Reading messages that were published before: off the event loop, a piece at a time, through a filter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from monitor.live.filters import Filter
from monitor.live.reader import Message
from monitor.log.segments import SegmentedLog

PIECE: Final = 500
"""So many messages are looked at in one go; nobody waits for more of another reader's past."""
MAX_SCANNED: Final = 20_000
"""So many messages one request for a page looks at before it answers with what it has and where to go on."""

_decode = msgspec.json.decode


class _Head(msgspec.Struct):
    type: str


_decode_head = msgspec.json.Decoder(_Head).decode


class Piece(NamedTuple):
    """What was found among the numbers from `from_seq` to `to_seq`, both included."""

    from_seq: int
    to_seq: int
    found: list[Message]


class Page(NamedTuple):
    """An answer to whoever asks for old messages.

    `next_seq` is the number to ask from for the rest, None if there is none; `gone_to` the last number of those asked
    for that retention has deleted.
    """

    messages: list[Message]
    next_seq: int | None
    gone_to: int | None


def wire_text(seq: int, payload: bytes) -> bytes:
    """Return the stored message with its number in front."""
    return b'{"seq":%d,%b' % (seq, payload[1:])


def stored_messages(log: SegmentedLog, after: int, up_to: int) -> Iterator[Message]:
    """Yield messages from disk with ``after < seq <= up_to``."""
    for frame in log.read(after + 1):
        if frame.first_seq > up_to:
            return
        yield Message(frame.first_seq, wire_text(frame.first_seq, frame.payload))


def kind_of(message: Message) -> str:
    """Return the message's type, at a fraction of the cost of decoding it."""
    return _decode_head(message.text).type


def content(message: Message) -> dict[str, Any]:
    """Return the message, decoded."""
    found: dict[str, Any] = _decode(message.text)
    return found


def passes(message: Message, wanted: Filter) -> bool:
    """Return whether the message passes; decodes it only if there is something to ask."""
    return not wanted.terms or wanted.matches(content(message))


def next_piece(source: Iterator[Message], wanted: Filter, size: int = PIECE) -> Piece | None:
    """Return the next `size` messages of the source, those that pass the filter; None if there are no more."""
    first = next(source, None)
    if first is None:
        return None
    found, last = ([first] if passes(first, wanted) else []), first
    for _ in range(size - 1):
        message = next(source, None)
        if message is None:
            break
        last = message
        if passes(message, wanted):
            found.append(message)
    return Piece(first.seq, last.seq, found)


def page_of(source: Iterable[Message], wanted: Filter, from_seq: int, to_seq: int, limit: int) -> Page:
    """Return the first `limit` messages of the source that pass; it holds all that is left of the numbers asked for."""
    found: list[Message] = []
    next_seq, gone_to = None, None
    last = from_seq - 1
    for scanned, message in enumerate(source):
        if len(found) == limit or scanned == MAX_SCANNED:
            next_seq = message.seq
            break
        if scanned == 0 and message.seq > from_seq:
            gone_to = message.seq - 1
        last = message.seq
        if passes(message, wanted):
            found.append(message)
    if next_seq is None and last < to_seq:  # nothing is left at all, or of the end
        gone_to = to_seq
    return Page(found, next_seq, gone_to)
