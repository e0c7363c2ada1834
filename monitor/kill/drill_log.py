"""Every drill's evidence, one line each, durable: what the report's trend, the metrics and an auditor read.

A line is one JSON object whose ``evidence`` is the sealed statement as ``killswitch.drills`` makes it, so that
each drill can be verified by itself years later. The daemon and the command line append to the same file.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Final, NamedTuple

from killswitch.drills.drill_record import Drill, encode, evidence, read_evidence
from killswitch.errors import BadRecord
from killswitch.trust.keyring import Keyring
from killswitch.trust.signing import Signer

log = logging.getLogger("killcord.drills")

MAX_BYTES: Final = 64 * 1024 * 1024  # then a new file is begun, and the one before stays as drills.1.ndjson
TAIL_BYTES: Final = (
    4 * 1024 * 1024
)  # how far back the newest are looked for; a day of a hundred points is 1 MB


class KeptDrill(NamedTuple):
    """A drill, the bytes that prove it, and the name of the key that signed it; empty if none of the keyring did."""

    drill: Drill
    evidence: bytes
    signed_by: str


class DrillLog:
    """The file of drills; without a path, the drills of this process in memory.

    Parameters
    ----------
    path : Path, optional
        Where it is kept; made with the first drill.
    signer : Signer, optional
        Signs what is added; without one the evidence is kept unsigned, and says so wherever it is shown.
    keyring : Keyring, optional
        Tells who signed what is read.
    """

    def __init__(
        self, path: Path | None = None, signer: Signer | None = None, keyring: Keyring | None = None
    ) -> None:
        self._path = path
        self._signer = signer
        self._keyring = keyring
        self._in_memory: list[bytes] = []
        self._seen: tuple[int, int] = (-1, -1)
        self._newest: Drill | None = None

    def add(self, drill: Drill) -> KeptDrill:
        """Keep a drill, signed; returns when it is on disk. Blocks. Raises OSError if it cannot be kept."""
        data = encode(drill) if self._signer is None else evidence(drill, self._signer)
        line = json.dumps({"v": 1, "evidence": data.decode()}).encode() + b"\n"
        if self._path is None:
            self._in_memory.append(line)
        else:
            self._rotate()
            _append(self._path, line)
        self._seen = (-1, -1)
        return KeptDrill(drill, data, self._signer.name if self._signer else "")

    def last(self, count: int) -> list[KeptDrill]:
        """Return up to `count` of the newest drills, newest first. What cannot be read is left out. Blocks."""
        found: list[KeptDrill] = []
        for line in reversed(self._lines()):
            if len(found) == count:
                break
            kept = read_line(line, self._keyring)
            if kept is not None:
                found.append(kept)
        return found

    def newest(self) -> Drill | None:
        """Return the newest drill of all points, None if there is none. Reads the file only if it has changed."""
        seen = self._stat()
        if seen != self._seen:
            self._seen = seen
            whole = (kept.drill for kept in self.last(50) if not kept.drill.only)
            self._newest = next(whole, None)
        return self._newest

    def _stat(self) -> tuple[int, int]:
        if self._path is None:
            return len(self._in_memory), 0
        try:
            found = self._path.stat()
        except OSError:
            return 0, 0
        return found.st_size, found.st_mtime_ns

    def _lines(self) -> list[bytes]:
        if self._path is None:
            return self._in_memory
        try:
            with self._path.open("rb") as file:
                start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
                file.seek(start)
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            log.error("the drills in %s cannot be read: %s", self._path, error)
            return []
        return lines[1:] if start else lines  # the first is cut

    def _rotate(self) -> None:
        if self._path is not None and self._stat()[0] > MAX_BYTES:
            self._path.replace(self._path.with_suffix(f".1{self._path.suffix}"))


def read_line(line: bytes, keyring: Keyring | None) -> KeptDrill | None:
    """Return the drill in a line of the log; None if there is none (a torn end, say)."""
    try:
        data = json.loads(line.decode())["evidence"].encode()
        drill, key = read_evidence(data, keyring)
    except (BadRecord, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return KeptDrill(drill, data, key.name if key else "")


def _append(path: Path, line: bytes) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "ab") as file:
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            line = b"\n" + line  # a torn end must not take this line with it
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
