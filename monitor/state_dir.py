"""The directory that holds everything a daemon must not forget, and its two small files that others read.

secret           32 random bytes: the key of every digest and hash in the record
access.json      what is kept of tokens: no secret, only hashes (mode 0600)
sessions.json    browsers that are signed in: hashes only
audit/           the trail of who did what
audit-inbox/     what the command line did, until the daemon takes it into the trail
revocations      the daemon's own copy of all revocations, from which a robbed store is put right
journal/         kills that were asked for while the store was away, one file each
drills.ndjson    what each drill of the kill switch found, signed
daemon.json      where the running daemon is, and a token that opens it while it runs; removed on a clean stop
log/ feed/       the action log and the feed's messages
record/          the record of who did what for whom; `record.key` signs its checkpoints, `record.vkey` is for auditors
delivery/        for each route of deliveries: how far it has come, and what was set aside
checkpoint       the models, and the place in the log that they stand for
spill/           the models of idle agents that memory has no room for; the checkpoint says what of it counts
dead-letters.ndjson   actions that were refused, with the reason
redis/           data of the embedded server
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from monitor.errors import DaemonError

SECRET_BYTES = 32


class Address(NamedTuple):
    """Where a running daemon is.

    `redis_url` may write revocations; `point_url` is for enforcement points, empty if the store is the operator's own.
    `token` opens everything for the owner of the state directory, until this daemon ends. `kill_url` is where kills are
    taken, if not everywhere; `certificate` the one that the daemon serves TLS with (PEM), empty without.
    """

    url: str
    redis_url: str
    pid: int
    point_url: str = ""
    token: str = ""
    kill_url: str = ""
    certificate: str = ""


class StateDir:
    """Paths and secrets below one directory, which is made, for its owner only, if it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise DaemonError(
                f"cannot make the state directory {path}: {error}; name another with --state"
            ) from error

    @classmethod
    def existing(cls, path: Path) -> StateDir:
        """Return the directory of a daemon that has run; raises `DaemonError`, and makes nothing, if there is none."""
        if not path.is_dir():
            raise DaemonError(
                f"there is no state directory {path}; start a daemon with `killcord up`, or name another with --state"
            )
        return cls(path)

    def directory(self, name: str) -> Path:
        """Return a directory below this one, made, for its owner only, if it is not there."""
        path = self.path / name
        path.mkdir(exist_ok=True, mode=0o700)
        return path

    def secret(self) -> bytes:
        """Return the installation's secret, made on first use. Losing it makes old digests unverifiable."""
        file = self.path / "secret"
        if not file.exists():
            write_private(file, secrets.token_bytes(SECRET_BYTES))
        secret = file.read_bytes()
        if len(secret) != SECRET_BYTES:
            raise DaemonError(
                f"{file} has {len(secret)} bytes, not {SECRET_BYTES}: bring it back from a copy"
            )
        return secret

    @property
    def token_file(self) -> Path:
        """Where tokens are kept."""
        return self.path / "access.json"

    @property
    def audit_inbox(self) -> Path:
        """Where the command line leaves what it did for the trail."""
        return self.path / "audit-inbox"

    def announce(self, address: Address) -> None:
        """Say where the daemon is."""
        write_private(self.path / "daemon.json", json.dumps(address._asdict()).encode())

    def retract(self) -> None:
        """Take the announcement back."""
        (self.path / "daemon.json").unlink(missing_ok=True)

    def address(self) -> Address:
        """Return where the daemon is, or was when it was killed; raises `DaemonError` if none ever announced itself."""
        try:
            return Address(**json.loads((self.path / "daemon.json").read_text()))
        except FileNotFoundError as error:
            raise DaemonError(
                f"no daemon runs with the state directory {self.path}; start one with `killcord up`, or name --state"
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise DaemonError(f"{self.path / 'daemon.json'} cannot be read: {error}") from error


def write_private(file: Path, content: bytes) -> None:
    """Replace the file's content in one step, durably, readable by its owner only."""
    scratch = file.with_name(f".{file.name}.{os.getpid()}.new")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(file)
    sync_directory(file.parent)


def sync_directory(directory: Path) -> None:
    """Return when the names of the files in a directory are on disk."""
    folder = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
