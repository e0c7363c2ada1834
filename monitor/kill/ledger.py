"""The daemon's own durable copy of all revocations, from which a robbed store is put right.

One line an entry: a CRC-32, what happened, the epoch, and the record or target. Each is on disk before `put` and
`clear` return. A line that a crash cut off was never acknowledged and is dropped; a damaged one in the middle is passed
over and counted. The file is written anew at start, and when most of it is history.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from killswitch import BadRecord, Change, InvalidTarget, Revocation, Target
from killswitch.storage.codec import decode_change, decode_revocation, encode_change, encode_revocation
from monitor.errors import DaemonError
from monitor.state_dir import write_private

log = logging.getLogger("killcord.ledger")

MAX_RECORDS: Final = 100_000  # security limit: they are kept in memory
MAX_HISTORY_LINES: Final = 20_000
MAX_RESTORATIONS: Final = 10_000
MAX_SEEN: Final = 10_000


class Ledger:
    """The revocations in one file. Belongs to one thread at a time.

    Parameters
    ----------
    path
        The file; made on first use.
    max_records
        How many revocations are kept; what comes beyond is refused with `DaemonError`, and what is kept stays.

    Attributes
    ----------
    records : dict
        Target to revocation. Read it, change it through `put` and `clear` only.
    restorations : dict
        Target to its last restoration with its votes, for points that have yet to hear of it; the newest 10,000.
    epoch : int
        Number of the last change that was taken in.
    is_new : bool
        Whether there was no file before.
    damaged : int
        How many lines could not be read at start.
    """

    def __init__(self, path: Path, *, max_records: int = MAX_RECORDS) -> None:
        self._path = path
        self._max_records = max_records
        self.records: dict[Target, Revocation] = {}
        self.restorations: dict[Target, Change] = {}
        self._seen: dict[Revocation, None] = {}  # kills as they were taken in, the oldest first
        self.epoch = 0
        self.is_new = not path.exists()
        self.damaged = 0
        self._lines = 0
        self._handle: int | None = None
        if not self.is_new:
            self._read()
        self._rewrite()

    def put(self, record: Revocation, epoch: int) -> None:
        """Keep `record` as of `epoch`; raises `DaemonError` if there is no room or it cannot be written."""
        if record.target not in self.records and len(self.records) >= self._max_records:
            raise DaemonError(
                f"the daemon's record holds {len(self.records)} revocations, its limit: that of {record.target} is not"
                " protected against a loss of the store; restore what is no longer needed"
            )
        self.records[record.target] = record
        self._note_seen(record)
        self._append(b"set", epoch, encode_revocation(record))

    def put_all(self, records: Iterable[Revocation], epoch: int) -> None:
        """Keep many at once, in one write; raises like `put`, and then keeps none of them."""
        new = {record.target: record for record in records}
        if len(self.records.keys() | new.keys()) > self._max_records:
            raise DaemonError(
                f"the daemon's record cannot hold {len(new)} more revocations, its limit is {self._max_records}: they"
                " are not protected against a loss of the store; restore what is no longer needed"
            )
        if new:
            self.records |= new
            for record in new.values():
                self._note_seen(record)
            self.epoch = max(self.epoch, epoch)
            self._rewrite()

    def clear(self, target: Target, epoch: int) -> None:
        """Forget what is kept against `target`; raises `DaemonError` if that cannot be written."""
        self.records.pop(target, None)
        self._append(b"clear", epoch, str(target).encode())

    def lift(self, change: Change, epoch: int) -> None:
        """Forget what people restored, and keep that they did; raises `DaemonError` if that cannot be written.

        What it lifted is what we held: the votes do not cover what the change itself says of it.
        """
        kept = replace(change, previous=self.records.get(change.target), signed_by="")
        self._take_lift(kept)
        self._append(b"lift", epoch, encode_change(kept))

    def has_seen(self, record: Revocation) -> bool:
        """Return whether this very kill was taken in before, among the last 10,000 and since the last start.

        By its content, as which epoch ever: by its change id alone, whoever overhears one could use it up beforehand.
        """
        return _unnumbered(record) in self._seen

    def has_lifted(self, record: Revocation) -> bool:
        """Return whether this very record is known to be restored, among the last 10,000 restorations."""
        change = self.restorations.get(record.target)
        lifted = None if change is None else change.previous
        return lifted is not None and _unnumbered(lifted) == _unnumbered(record)

    def note(self, epoch: int) -> None:
        """Take note that everything up to `epoch` was taken in; raises `DaemonError` if that cannot be written."""
        if epoch > self.epoch:
            self._append(b"epoch", epoch, b"")

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    # -- inside -------------------------------------------------------------------------------------------------

    def _append(self, what: bytes, epoch: int, content: bytes) -> None:
        self.epoch = max(self.epoch, epoch)
        if self._handle is None or self._lines > MAX_HISTORY_LINES + 4 * len(self.records):
            self._rewrite()  # holds what is to be appended already
            return
        try:
            data = _line(what, epoch, content)
            if os.write(self._handle, data) != len(data):
                raise OSError("it was written in part only")
            os.fdatasync(self._handle)
        except OSError as error:
            self.close()  # half a line may be in it: the next entry writes the file anew
            raise DaemonError(f"{self._path} cannot be written: {error}; make room on its disk") from error
        self._lines += 1

    def _rewrite(self) -> None:
        self.close()
        lines = [_line(b"set", record.epoch, encode_revocation(record)) for record in self.records.values()]
        lines += [_line(b"lift", change.epoch, encode_change(change)) for change in self._settled()]
        lines.append(_line(b"epoch", self.epoch, b""))
        try:
            write_private(self._path, b"".join(lines))
            self._handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise DaemonError(f"{self._path} cannot be written: {error}; make room on its disk") from error
        self._lines = len(lines)

    def _settled(self) -> list[Change]:
        """Return the restorations of what is not revoked again: reading one forgets what is kept of its target."""
        return [change for target, change in self.restorations.items() if target not in self.records]

    def _note_seen(self, record: Revocation) -> None:
        record = _unnumbered(record)
        self._seen.pop(record, None)
        self._seen[record] = None
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]

    def _take_lift(self, change: Change) -> None:
        self.records.pop(change.target, None)
        self.restorations.pop(change.target, None)
        self.restorations[change.target] = change
        if len(self.restorations) > MAX_RESTORATIONS:
            del self.restorations[next(iter(self.restorations))]

    def _read(self) -> None:
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise DaemonError(f"{self._path} cannot be read: {error}; bring it back from a copy") from error
        *whole, torn = content.split(b"\n")
        for what, epoch, data in self._entries(whole):
            try:
                self._take(what, epoch, data)
            except (BadRecord, InvalidTarget, UnicodeDecodeError):
                self.damaged += 1
        if torn:
            log.warning("%s: a torn entry at its end was dropped; it was never acknowledged", self._path)
        if self.damaged:
            log.error("%s: %d entries are damaged and were passed over", self._path, self.damaged)

    def _entries(self, lines: list[bytes]) -> Iterator[tuple[bytes, int, bytes]]:
        for line in lines:
            checksum, _, rest = line.partition(b" ")
            parts = rest.split(b" ", 2)
            if checksum != b"%08x" % zlib.crc32(rest) or len(parts) != 3:
                self.damaged += 1
                continue
            yield parts[0], int(parts[1]), parts[2]

    def _take(self, what: bytes, epoch: int, data: bytes) -> None:
        if what == b"set":
            record = decode_revocation(data)
            self.records[record.target] = record
            self._note_seen(record)
        elif what == b"lift":
            self._take_lift(decode_change(data))
        elif what == b"clear":
            self.records.pop(Target.parse(data.decode()), None)
        self.epoch = max(self.epoch, epoch)


def _unnumbered(record: Revocation) -> Revocation:
    return replace(record, epoch=0)


def _line(what: bytes, epoch: int, content: bytes) -> bytes:
    rest = b"%s %d %s" % (what, epoch, content)
    return b"%08x %s\n" % (zlib.crc32(rest), rest)
