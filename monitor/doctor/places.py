"""The state directory and the disk below it."""

from __future__ import annotations

import os
import shutil
import stat
import statistics
import time
from pathlib import Path
from typing import Final

from monitor.doctor.finding import Finding, fail, ok, skipped, warn
from monitor.doctor.installation import Installation
from monitor.state_dir import SECRET_BYTES

FULL_BYTES: Final = 256 * 1024 * 1024
SCARCE_BYTES: Final = 2 * 1024 * 1024 * 1024
FULL_INODES: Final = 100
SCARCE_INODES: Final = 10_000
SLOW_SYNC_MS: Final = 20.0
STUCK_SYNC_MS: Final = 200.0
_PRIVATE: Final = (
    "secret",
    "access.json",
    "sessions.json",
    "daemon.key",
    "daemon.json",
    "dead-letters.ndjson",
)
"""Files that only their owner may read; those that are not there are none of this check's business."""


def state_directory(installation: Installation) -> Finding:
    """Say whether the daemon's user owns the directory, may write to it, and nobody else may."""
    path, found = installation.state, installation.state.stat()
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        return fail(
            f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()})",
            "run this, and the daemon, as the user whose directory it is",
        )
    if not os.access(path, os.W_OK | os.X_OK):
        return fail(f"{path} is not writable", f"chmod 700 {path}, or mount its disk for writing")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return fail(
            f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):o})",
            f"chmod 700 {path}: it holds keys and tokens",
        )
    return ok(f"{path} is its owner's alone")


def secrets(installation: Installation) -> Finding:
    """Say whether the files that hold secrets are private and whole."""
    there = [installation.state / name for name in _PRIVATE if (installation.state / name).exists()]
    for file in there:
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return fail(f"{file} can be read by other users", f"chmod 600 {file}, and replace what it holds")
    secret = installation.state / "secret"
    if not secret.exists():
        return warn(
            f"there is no {secret}",
            "a new daemon makes it; if one has run here, bring it back",
        )
    size = secret.stat().st_size
    if size != SECRET_BYTES:
        return fail(f"{secret} has {size} bytes, not {SECRET_BYTES}", "bring it back from a copy")
    return ok(f"{len(there)} files with secrets are private")


def disk_space(installation: Installation) -> Finding:
    """Say whether the log can grow."""
    free = shutil.disk_usage(installation.state).free
    left = f"{free / 1e9:.1f} GB are free on the disk of {installation.state}"
    if free < FULL_BYTES:
        return fail(left, "make room now: on a full disk no action is taken in and no change recorded")
    if free < SCARCE_BYTES:
        return warn(left, "make room, or lower [log] retention_bytes")
    return ok(left)


def inodes(installation: Installation) -> Finding:
    """Say whether new files can be made."""
    found = os.statvfs(installation.state)
    if not found.f_files:
        return skipped("this file system does not count its inodes")
    left = f"{found.f_favail} more files can be made on the disk of {installation.state}"
    if found.f_favail < FULL_INODES:
        return fail(left, "delete small files on that disk: no log segment and no kept kill can be begun")
    if found.f_favail < SCARCE_INODES:
        return warn(left, "find out who fills that disk with small files")
    return ok(left)


def sync_latency(installation: Installation) -> Finding:
    """Say how long the disk takes to keep something; the file that is written has no name and is gone at once."""
    try:
        took_ms = statistics.median(_sync_ms(installation.state) for _ in range(5))
    except (OSError, AttributeError) as error:
        return skipped(f"files without a name cannot be made here ({error})")
    took = f"the disk keeps 4 KiB within {took_ms:.1f} ms"
    advice = "put the state directory on a faster disk: every action and every kill waits for it"
    if took_ms > STUCK_SYNC_MS:
        return fail(took, advice)
    return warn(took, advice) if took_ms > SLOW_SYNC_MS else ok(took)


def _sync_ms(directory: Path) -> float:
    handle = os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600)
    try:
        os.write(handle, bytes(4096))
        since_s = time.monotonic()
        os.fsync(handle)
        return (time.monotonic() - since_s) * 1000
    finally:
        os.close(handle)
