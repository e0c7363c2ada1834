"""The messages that a receiver will never take, kept with its answer, one bounded file for each route."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import msgspec

from monitor.errors import DeliveryRefused
from monitor.live.feed import now_text

log = logging.getLogger("killcord.delivery")

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Security limit. A full file becomes ``.1`` and replaces the one before."""


def set_aside(file: Path, seq: int, text: str, refusal: DeliveryRefused) -> None:
    """Append the message with what was said to it, durably. A file that cannot be written stops nobody."""
    letter = {
        "at": now_text(),
        "seq": seq,
        "error": str(refusal),
        "answer": refusal.answer,
        "message": msgspec.Raw(text.encode()),
    }
    try:
        if file.exists() and file.stat().st_size > MAX_FILE_BYTES:
            file.replace(file.with_suffix(".1"))
        with open(file, "ab", opener=_open_private) as stream:
            stream.write(msgspec.json.encode(letter) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        log.error("message %d was refused and could not be kept: %s", seq, error)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
