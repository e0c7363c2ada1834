"""A durable, append-only log of opaque records in segment files.

Theory of operation
-------------------
A *frame* is the unit of writing: ``length u32 | crc32 u32 | first_seq u64 | entries u32 | payload``, little-endian; the
checksum covers everything after itself. A frame stands for `entries` consecutive sequence numbers, so one frame can
carry one group commit. A *segment* is a file named by its first sequence number that starts with a magic line.

Nothing is durable before `sync`. A crash can leave the newest segment with a torn tail: opening the log cuts it, keeps
what was cut in a ``.torn`` file beside it, and says so. A bad frame anywhere else is damage, not a crash: reading
stops there with an error that names the place, because skipping it would silently drop acknowledged records.

Not safe for several writers: the directory is held by an exclusive lock for as long as the log is open.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from monitor.errors import LogError, LogFailed

MAGIC = b"KILLCORD LOG 1\r\n"
_HEADER = struct.Struct("<IIQI")
_AFTER_CRC = 8
MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Security limit: a frame that claims to be longer is damage."""


class Record(NamedTuple):
    """Opaque bytes to write, standing for `entries` sequence numbers."""

    payload: bytes
    entries: int = 1


class Frame(NamedTuple):
    """One record as it was read: it stands for the numbers `first_seq` to `first_seq + entries - 1`."""

    first_seq: int
    entries: int
    payload: bytes


class Torn(NamedTuple):
    """What opening the log cut off: half-written by a crash, so never acknowledged."""

    segment: Path
    offset: int
    bytes_cut: int


class SegmentedLog:
    """An append-only log in `directory`, made if it is not there.

    Parameters
    ----------
    segment_bytes
        A new segment is begun once the current one is at least this long.
    first_seq
        The number of the first entry of a log that is made.

    Raises
    ------
    LogError
        If another process holds the log, or a file in it is not ours.
    """

    def __init__(self, directory: Path, *, segment_bytes: int = 64 * 1024 * 1024, first_seq: int = 1) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self.torn: Torn | None = None
        self._segment_bytes = segment_bytes
        self._failed: str | None = None
        self._lock = _lock(directory)
        self._file = -1
        try:
            self.next_seq = self._open_last(first_seq)
        except BaseException:
            self.close()
            raise

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, *records: Record) -> list[int]:
        """Write the records, all or none, and return the first sequence number of each. Durable only after `sync`.

        Raises
        ------
        LogError
            If they could not be written, for want of space say; the log is then as it was before.
        """
        self._must_work()
        seqs, frames, next_seq = [], [], self.next_seq
        for record in records:
            seqs.append(next_seq)
            frames.append(_encode(next_seq, record))
            next_seq += record.entries
        if self._size >= self._segment_bytes:
            self._begin_segment()
        self._write(b"".join(frames))
        self.next_seq = next_seq
        return seqs

    def sync(self) -> None:
        """Return when everything appended so far is on disk.

        Raises
        ------
        LogFailed
            For good: after a failed fsync the kernel may have dropped the pages, so retrying would lie.
        """
        self._must_work()
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self._failed = f"fsync failed: {error}"
            raise LogFailed(f"{self.directory}: {self._failed}") from error

    def drop_before(self, seq: int, *, older_than_s: float, keep_bytes: int) -> list[Path]:
        """Delete whole segments that hold nothing from `seq` on and are too old (mtime) or beyond `keep_bytes`."""
        segments = self.segments()
        total = sum(path.stat().st_size for path in segments)
        dropped = []
        for path, following in itertools.pairwise(segments):
            status = path.stat()
            if _first_seq(following) > seq or (status.st_mtime >= older_than_s and total <= keep_bytes):
                break
            path.unlink()
            total -= status.st_size
            dropped.append(path)
        return dropped

    def close(self) -> None:
        """Release the files. Does not sync. Idempotent."""
        for handle in (self._file, self._lock):
            if handle >= 0:
                os.close(handle)
        self._file = self._lock = -1
        self._failed = self._failed or "it is closed"

    # -- reading ------------------------------------------------------------------------------------------------

    def segments(self) -> list[Path]:
        """Return the segment files, oldest first."""
        return _segments(self.directory)

    @property
    def first_seq(self) -> int:
        """The oldest sequence number that is still there."""
        return _first_seq(self.segments()[0])

    def read(self, from_seq: int = 0) -> Iterator[Frame]:
        """Yield every frame that ends at or after `from_seq`, in order.

        Raises
        ------
        LogError
            At the first damaged frame, naming segment and offset.
        """
        return read_log(self.directory, from_seq)

    def read_newest(self, *, segments: int) -> Iterator[Frame]:
        """Yield the frames of the last few segments, in order."""
        return self.read(_first_seq(self.segments()[-segments:][0]))

    # -- opening ------------------------------------------------------------------------------------------------

    def _open_last(self, first_seq: int) -> int:
        segments = self.segments()
        if not segments:
            self.next_seq = first_seq
            self._begin_segment()
            return first_seq
        last = segments[-1]
        reader = SegmentReader(last)
        for _ in reader:
            pass
        if reader.damage:
            self._cut(last, reader.offset)
        self._open_for_append(last)
        return reader.next_seq

    def _cut(self, path: Path, offset: int) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            tail = file.read()
            path.with_suffix(f".{offset}.torn").write_bytes(tail)
            file.truncate(offset)
            if offset == 0:  # the crash came before the magic was on disk
                file.seek(0)
                file.write(MAGIC)
            file.flush()
            os.fsync(file.fileno())
        self.torn = Torn(path, offset, len(tail))

    def _begin_segment(self) -> None:
        """Begin the next segment; until it is on disk whole, the current one stays in use."""
        if self._file >= 0:
            self.sync()
        path = segment_path(self.directory, self.next_seq)
        try:
            _create(path)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise LogError(f"cannot begin {path}: {error}; is the disk full?") from error
        if self._file >= 0:
            os.close(self._file)
        self._open_for_append(path)

    def _open_for_append(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._size = os.fstat(self._file).st_size

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._file, data)
            if written != len(data):  # a full disk takes a part of it
                raise OSError(f"only {written} of {len(data)} bytes were written")
        except OSError as error:
            self._undo_partial_write(error)
            raise LogError(f"cannot write to {self.directory}: {error}; is the disk full?") from error
        self._size += len(data)

    def _undo_partial_write(self, cause: OSError) -> None:
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._failed = f"a half-written frame could not be taken back: {cause}"

    def _must_work(self) -> None:
        if self._failed:
            raise LogFailed(f"{self.directory}: {self._failed}; restart the daemon once the disk is sound")


def read_log(directory: Path, from_seq: int = 0) -> Iterator[Frame]:
    """Yield every frame of a log that ends at or after `from_seq`, in order, without opening the log.

    Takes no lock and writes nothing, so another process may hold the log and go on writing. The segments are those that
    are there at first; of what is appended to the last one meanwhile, some is yielded too. No directory, no frames.

    Raises
    ------
    LogError
        At the first damaged frame, naming segment and offset.
    """
    segments = _segments(directory)
    starts = [_first_seq(path) for path in segments]
    for index, path in enumerate(segments):
        if index + 1 < len(segments) and starts[index + 1] <= from_seq:
            continue
        frames = SegmentReader(path)
        try:
            yield from (frame for frame in frames if frame.first_seq + frame.entries > from_seq)
        except FileNotFoundError:
            continue  # retention overtook us: what is gone is older than what follows
        if path == segments[-1]:
            return  # its end may be half-written: by a crash, or this very moment
        if not frames.damage and frames.next_seq != starts[index + 1]:
            frames.damage = f"it ends before {frames.next_seq}, and {starts[index + 1]} follows"
        if frames.damage:
            raise LogError(f"{path.name} is damaged at byte {frames.offset}: {frames.damage}")


def segment_path(directory: Path, first_seq: int) -> Path:
    """Return where the segment that begins with this number lies."""
    return directory / f"{first_seq:020d}.seg"


def segment_starts(directory: Path) -> list[int]:
    """Return the first sequence number of each segment of a log, oldest first."""
    return [_first_seq(path) for path in _segments(directory)]


class SegmentReader:
    """Frames of one segment up to its end or its first bad frame; `damage` then says what was wrong at `offset`.

    `next_seq` is the number after the last good frame. Iterating again goes on after it: for what was appended since.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.next_seq = _first_seq(path)
        self.offset = 0
        self.damage: str | None = None

    def __iter__(self) -> Iterator[Frame]:
        self.damage = None
        with self.path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                self._refuse_foreign(file.seek(0, os.SEEK_END))
                return
            self.offset = file.seek(max(self.offset, len(MAGIC)))
            while header := file.read(_HEADER.size):
                frame = self._frame(header, file.read(_payload_bytes(header)))
                if frame is None:
                    return
                self.offset += _HEADER.size + len(frame.payload)
                self.next_seq = frame.first_seq + frame.entries
                yield frame

    def _frame(self, header: bytes, payload: bytes) -> Frame | None:
        if len(header) < _HEADER.size:
            self.damage = "the header is cut short"
            return None
        length, crc, first_seq, entries = _HEADER.unpack(header)
        if len(payload) != length:
            self.damage = "the payload is cut short"
        elif zlib.crc32(payload, zlib.crc32(header[_AFTER_CRC:])) != crc:
            self.damage = "the checksum does not match"
        elif first_seq != self.next_seq:
            self.damage = f"sequence {first_seq} stands where {self.next_seq} belongs"
        return None if self.damage else Frame(first_seq, entries, payload)

    def _refuse_foreign(self, size: int) -> None:
        """Raise for a file that is not ours: a crash while a segment is begun leaves less than the magic."""
        if size > len(MAGIC):
            raise LogError(f"{self.path} is not a Killcord log of version 1; move it away")
        self.damage = "the magic line is cut short"


def _encode(first_seq: int, record: Record) -> bytes:
    payload = record.payload
    if len(payload) > MAX_FRAME_BYTES:
        raise LogError(f"a record of {len(payload)} bytes is over the limit of {MAX_FRAME_BYTES}")
    covered = _HEADER.pack(0, 0, first_seq, record.entries)[_AFTER_CRC:]
    crc = zlib.crc32(payload, zlib.crc32(covered))
    return _HEADER.pack(len(payload), crc, first_seq, record.entries) + payload


def _payload_bytes(header: bytes) -> int:
    if len(header) < _HEADER.size:
        return 0
    return min(int(_HEADER.unpack(header)[0]), MAX_FRAME_BYTES)


def _segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.seg"))


def _first_seq(path: Path) -> int:
    try:
        return int(path.stem)
    except ValueError as error:
        raise LogError(f"{path} does not belong in a log directory; move it away") from error


def _create(path: Path) -> None:
    """Make an empty segment, durably."""
    with path.open("wb") as file:
        file.write(MAGIC)
        file.flush()
        os.fsync(file.fileno())
    _sync_directory(path.parent)


def _lock(directory: Path) -> int:
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise LogError(f"{directory} is in use by another daemon; give this one its own --state") from error
    return handle


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
