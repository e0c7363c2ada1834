"""Where sessions are kept, so that nobody has to sign in again because the daemon was restarted."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from monitor.access.sessions import Session
from monitor.state_dir import write_private

log = logging.getLogger("killcord.access")


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    sessions: list[Session]


class SessionFile:
    """One private file. It is a convenience: if it is lost, people sign in again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[Session]:
        """Return the sessions; none, and a line in the log, if they cannot be read."""
        try:
            content = msgspec.json.decode(self._path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("%s cannot be read (%s): everybody has to sign in again", self._path, error)
            return []
        return content.sessions if content.v == 1 else []

    def save(self, sessions: bytes) -> None:
        """Replace what is kept by what `encoded` returned. Blocks; a failure is logged, and costs a sign-in later."""
        try:
            write_private(self._path, sessions)
        except OSError as error:
            log.error("%s cannot be written (%s): a restart will end the sessions", self._path, error)


def encoded(sessions: list[Session]) -> bytes:
    """Return what is written for these sessions: of this moment, whatever happens to them while it is written."""
    return msgspec.json.encode(_Content(1, sessions))
