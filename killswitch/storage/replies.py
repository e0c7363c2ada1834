"""Cutting what a server sends into replies, as far as a subscribed connection gets any. Pure.

The format is RESP2 (arrays of strings and numbers, errors):
https://redis.io/docs/latest/develop/reference/protocol-spec/

redis-py's readers could do it, with several layers of Python around them. A point pays for each on every kill, in code
that has not run since the last one and is in no cache any more.
"""

from __future__ import annotations

from typing import Final

Item = bytes | int | None
Reply = list[Item]

MAX_REPLY_BYTES: Final = 1_048_576  # security limit: anybody who may publish decides how long a message is

_MESSAGE: Final = b"*3\r\n$7\r\nmessage\r\n$"
_ARRAY, _BULK, _INTEGER = b"*$:"


class BadReply(Exception):
    """What came is no reply that a subscribed connection gets, or too long; nothing after it can be read."""


class ErrorReply(Exception):
    """The server answered with an error, which the message is; reading goes on behind it."""


class Replies:
    """Bytes in, replies out, in order."""

    __slots__ = ("_at", "_data")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Take in what was received next."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    def holds_more(self) -> bool:
        """Return whether anything is left, if only a part of a reply."""
        return self._at < len(self._data)

    def next(self) -> Reply | None:
        """Return the next whole reply, None if it is not all here.

        Raises
        ------
        ErrorReply
            If it is an error of the server.
        BadReply
            If it is no array of strings and numbers, or longer than :data:`MAX_REPLY_BYTES`.
        """
        data, at = self._data, self._at
        if at >= len(data):
            return None
        if at == 0 and (message := _only_message(data)) is not None:
            self._at = len(data)
            return message
        try:
            return self._cut(data, at)
        except ValueError as error:
            raise BadReply(f"no number where one must be: {error}") from error

    def _cut(self, data: bytes, at: int) -> Reply | None:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return self._unfinished()
        if data[at] != _ARRAY:
            self._at = line_end + 2
            raise _other(data[at : at + 1], data[at + 1 : line_end])
        reply: Reply = []
        left = int(data[at + 1 : line_end])
        at = line_end + 2
        while left > 0:
            line_end = data.find(b"\r\n", at)
            if line_end < 0:
                return self._unfinished()
            kind, number = data[at], int(data[at + 1 : line_end])
            at = line_end + 2
            left -= 1
            if kind == _BULK and 0 <= number <= MAX_REPLY_BYTES:
                end = at + number
                if end + 2 > len(data):
                    return self._unfinished()
                reply.append(data[at:end])
                at = end + 2
            elif kind == _INTEGER or (kind == _BULK and number == -1):
                reply.append(number if kind == _INTEGER else None)
            else:
                raise BadReply(f"{chr(kind)} of {number} bytes")
        self._at = at
        return reply

    def _unfinished(self) -> Reply | None:
        if len(self._data) - self._at > MAX_REPLY_BYTES:
            raise BadReply(f"longer than {MAX_REPLY_BYTES} bytes")
        return None


def _only_message(data: bytes) -> Reply | None:
    """Return the message that `data` is, None if it is anything else, or more, or less.

    It nearly always is just that, and every kill waits for it: one cut instead of a loop.
    """
    if not data.startswith(_MESSAGE) or len(data) > MAX_REPLY_BYTES:
        return None
    parts = data.split(b"\r\n", 6)
    if len(parts) != 7 or parts[3] != b"$%d" % len(parts[4]) or not parts[5].startswith(b"$"):
        return None
    channel, size, body = parts[4], parts[5][1:], parts[6]
    if not size.isdigit() or int(size) != len(body) - 2 or not body.endswith(b"\r\n"):
        return None
    return [b"message", channel, body[:-2]]


def _other(kind: bytes, line: bytes) -> Exception:
    text = line.decode(errors="replace")
    return ErrorReply(text) if kind == b"-" else BadReply(f"unexpected {kind!r} {text:.100}")
