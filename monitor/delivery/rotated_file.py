"""A file of lines that others read and rotate: each append is on disk whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from monitor.state_dir import sync_directory

_BLOCK_BYTES: Final = 64 * 1024


class RotatedFile:
    """Appends lines durably to `path`, from any thread, one at a time.

    A file that grew to `rotate_bytes` becomes ``PATH.1``, that one ``PATH.2``, up to `keep_files`. Whoever else moves
    the file away, as logrotate does, gets a new one behind it. A line that a crash tore is cut off before the
    next: it was never acknowledged and is delivered again.
    """

    def __init__(self, path: Path, *, rotate_bytes: int, keep_files: int) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keep_files = keep_files
        self._file = -1
        self._lock = threading.Lock()

    def append(self, lines: bytes) -> None:
        """Return when the lines are on disk; raises `OSError`, and then none of them is in the file."""
        with self._lock:
            size = self._open()
            if size and size + len(lines) > self._rotate_bytes:
                self._rotate()
                size = self._open()
            try:
                written = os.write(self._file, lines)
                if written != len(lines):
                    raise OSError(f"only {written} of {len(lines)} bytes were written; is the disk full?")
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, size)
                raise

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        with self._lock:
            self._close()

    def _open(self) -> int:
        """Make sure that the file of this name is open, and return its size."""
        if self._file >= 0:
            try:
                if os.path.samestat(os.fstat(self._file), os.stat(self._path)):
                    return os.fstat(self._file).st_size
            except FileNotFoundError:
                pass
            self._close()
        is_new = not self._path.exists()
        # Readable by the group: the collector that reads it is somebody else.
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if is_new:
            sync_directory(self._path.parent)
        return self._cut_torn_line()

    def _cut_torn_line(self) -> int:
        size = end = os.fstat(self._file).st_size
        while end:
            start = max(0, end - _BLOCK_BYTES)
            found = os.pread(self._file, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._file, end)
        return end

    def _rotate(self) -> None:
        self._close()
        for number in range(self._keep_files - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
