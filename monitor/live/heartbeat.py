"""What the daemon says of itself between the messages: the heartbeat, what was missed, what is open. Not in the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from monitor.live.feed import now_text
from monitor.live.frames import text_frame
from monitor.live.message_types import AlertGroup, Me, Mute, Reset, Snapshot, Span, Status
from monitor.live.reader import Message, Missed

INTERVAL_S: Final = 1.0
MAX_SNAPSHOT: Final = 200

_encode = msgspec.json.encode


class Book(Protocol):
    """Knows what is open.

    Both answers must reflect every message up to the feed's `last_seq`; what they know beyond it comes to the reader
    again, as a message, and must mean the same then.
    """

    def open_groups(self, limit: int) -> list[AlertGroup]:
        """Return the newest groups that are not closed, newest first."""

    def mutes(self) -> list[Mute]:
        """Return the mutes in force."""


class Heartbeat:
    """The daemon's status, asked for and encoded at most once a second, whoever wants it."""

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status
        self._content = b""
        self._ts = ""
        self._due_s = 0.0
        self._last = (-1, b"")

    def message(self, seq: int) -> Message:
        """Return the heartbeat for a reader that has everything up to `seq`."""
        self._refresh()
        return _status(seq, self._content, self._ts)

    def frame(self, seq: int) -> bytes:
        """Return the same as a websocket frame; those at the same place share it."""
        self._refresh()
        if self._last[0] != seq:
            self._last = (seq, text_frame(self.message(seq).text))
        return self._last[1]

    def _refresh(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + INTERVAL_S / 2
            self._content, self._ts, self._last = _encode(self._status()), now_text(), (-1, b"")


def missed_message(missed: Missed) -> Message:
    """Return what tells a reader which numbers it missed; its `seq` is the number before them."""
    span = Span(from_seq=missed.from_seq, to_seq=missed.to_seq)
    return _status(missed.from_seq - 1, _encode(Status(missed=span)), now_text())


def reset_message(since: int, last_seq: int) -> Message:
    """Return what tells a reader that it has seen numbers which this log never gave."""
    return _status(last_seq, _encode(Status(reset=Reset(since=since, last_seq=last_seq))), now_text())


def snapshot_message(seq: int, book: Book, me: Me) -> Message:
    """Return what is open now; everything up to `seq` is in it."""
    snapshot = Snapshot(alerts=tuple(book.open_groups(MAX_SNAPSHOT)), mutes=tuple(book.mutes()), me=me)
    return Message(seq, _encode({"seq": seq, "type": "snapshot", "ts": now_text(), "snapshot": snapshot}))


def _status(seq: int, content: bytes, ts: str) -> Message:
    return Message(seq, b'{"seq":%d,"type":"status","ts":"%b","status":%b}' % (seq, ts.encode(), content))
