"""Secrets of the routes, each in a file of its own that only its owner may read: none stands in the configuration."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from monitor.errors import ConfigError

MAX_BYTES: Final = 64 * 1024


def read_secret(path: str, field: str) -> str:
    """Return the file's text without the space around it; raises `ConfigError` about `field`."""
    try:
        with Path(path).open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(field, f"cannot read the secret: {error}") from error
    if mode & 0o077:
        raise ConfigError(field, f"others may read {path} (mode {mode:o}): run chmod 600 on it")
    try:
        secret = content.decode().strip()
    except UnicodeDecodeError as error:
        raise ConfigError(field, f"{path} is not text") from error
    if not secret or len(content) > MAX_BYTES:
        raise ConfigError(field, f"{path} must hold the secret, in at most {MAX_BYTES} bytes")
    return secret
