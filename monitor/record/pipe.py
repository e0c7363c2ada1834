"""What the daemon and its recorder say to each other: length-prefixed MessagePack over two pipes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec

from monitor.errors import LogError

_LENGTH: Final = struct.Struct("<I")
MAX_BYTES: Final = 16 * 1024 * 1024


class MayRead(msgspec.Struct, frozen=True, array_like=True, tag="may_read"):
    """A source of the record is durable up to this number."""

    source: str
    up_to: int


class Scored(msgspec.Struct, frozen=True, array_like=True, tag="scored"):
    """The actions from `first_seq` on may be recorded, with their p-values and evidence (float32 each)."""

    first_seq: int
    p: bytes
    evidence: bytes


class Forget(msgspec.Struct, frozen=True, array_like=True, tag="forget"):
    """Delete the contents of every entry that has the link. `id` comes back in the answer."""

    id: str
    link: str
    by: str
    reason: str


class Recorded(msgspec.Struct, frozen=True, array_like=True, tag="recorded"):
    """How far the record is."""

    size: int
    cursors: dict[str, int]
    checkpoint_size: int
    first: int


class Trouble(msgspec.Struct, frozen=True, array_like=True, tag="trouble"):
    """Recording does not go on; it is tried again. Empty: it goes on."""

    what: str


class Forgotten(msgspec.Struct, frozen=True, array_like=True, tag="forgotten"):
    """How many contents were deleted, or why not."""

    id: str
    contents: int
    error: str = ""


class SetAside(msgspec.Struct, frozen=True, array_like=True, tag="set_aside"):
    """The record could not be gone on with: it lies in `path` now, and a new one was begun."""

    path: str
    why: str


ToRecorder = MayRead | Scored | Forget
ToDaemon = Recorded | Trouble | Forgotten | SetAside

_encoder = msgspec.msgpack.Encoder()
to_recorder = msgspec.msgpack.Decoder(ToRecorder)
to_daemon = msgspec.msgpack.Decoder(ToDaemon)


def framed(message: ToRecorder | ToDaemon) -> bytes:
    """Return the message's bytes for the pipe."""
    payload = _encoder.encode(message)
    return _LENGTH.pack(len(payload)) + payload


def length_of(head: bytes) -> int:
    """Return how many bytes follow a message's first four; raises `LogError` if it cannot be a message."""
    (length,) = _LENGTH.unpack(head)
    if length > MAX_BYTES:
        raise LogError(f"a message of {length} bytes came through the recorder's pipe")
    return int(length)


def read_all(stream: BinaryIO) -> Iterator[ToRecorder]:
    """Yield the messages from a pipe until its other end is closed. Blocks."""
    while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
        payload = stream.read(length_of(head))
        yield to_recorder.decode(payload)
