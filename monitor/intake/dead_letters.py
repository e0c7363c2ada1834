"""Actions that were refused at the edge, kept with the reason, so that nothing is lost and nothing stops."""

from __future__ import annotations

import base64
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from monitor.live.feed import now_text

log = logging.getLogger("killcord.ingest")

MAX_DOCUMENT_BYTES = 16 * 1024
MAX_FILE_BYTES = 64 * 1024 * 1024
"""Security limit: junk may not fill the disk. A full file becomes ``.1`` and replaces the one before."""


class DeadLetter(NamedTuple):
    """One refused document: its bytes, the field that was wrong, and what was wrong with it."""

    document: bytes
    field: str
    error: str


class DeadLetters:
    """Appends to an NDJSON file, from any thread; not synced, since nothing in it was ever acknowledged."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.count = 0

    def write(self, letters: Sequence[DeadLetter]) -> None:
        """Append the letters, long documents cut. A file that cannot be written is reported: it may stop nobody."""
        lines = b"".join(msgspec.json.encode(_fields(letter)) + b"\n" for letter in letters)
        with self._lock:
            self.count += len(letters)
            try:
                self._rotate()
                with open(self._file, "ab", opener=_open_private) as stream:
                    stream.write(lines)
            except OSError as error:
                log.error("%d refused actions could not be kept: %s", len(letters), error)

    def _rotate(self) -> None:
        if self._file.exists() and self._file.stat().st_size > MAX_FILE_BYTES:
            self._file.replace(self._file.with_suffix(".1"))


def _open_private(path: str, flags: int) -> int:
    """Open for the owner only: refused documents hold raw arguments."""
    return os.open(path, flags, 0o600)


def _fields(letter: DeadLetter) -> dict[str, Any]:
    document = letter.document[:MAX_DOCUMENT_BYTES]
    fields: dict[str, Any] = {"at": now_text(), "field": letter.field, "error": letter.error}
    try:
        fields["document"] = document.decode()
    except UnicodeDecodeError:
        fields["document_base64"] = base64.b64encode(document).decode()
    if len(letter.document) > MAX_DOCUMENT_BYTES:
        fields["cut_from_bytes"] = len(letter.document)
    return fields
