"""The file of tokens in the state directory: changed by the command line under a lock, followed by the daemon.

It is replaced in one step, so whoever reads it sees the old tokens or the new ones, never half of them. A daemon looks
at most four times a second whether there is another file; a token that was revoked opens nothing from then on.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from monitor.access.tokens import Token, Tokens
from monitor.errors import AccessError
from monitor.state_dir import write_private

log = logging.getLogger("killcord.access")

MAX_TOKENS: Final = 10_000  # security limit: they are kept in memory
LOOK_INTERVAL_S: Final = 0.25

_Seen = tuple[int, int, int]


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    tokens: tuple[Token, ...]


class TokenFile:
    """Reads and changes the file. Every change is on disk when the method returns; all of them block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> tuple[Token, ...]:
        """Return the tokens, the oldest first; none if there is no file. Raises `AccessError` if it is damaged."""
        try:
            content = msgspec.json.decode(self.path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise AccessError(
                f"{self.path} cannot be read ({error}): bring it back from a copy, or delete it and make new tokens"
            ) from error
        if content.v != 1:
            raise AccessError(f"{self.path} has version {content.v}, this program knows 1: update it")
        return content.tokens

    def add(self, token: Token) -> None:
        """Keep a new token; raises `AccessError`."""
        with self._changing() as tokens:
            if len(tokens) >= MAX_TOKENS:
                raise AccessError(
                    f"{self.path} holds {MAX_TOKENS} tokens, its limit: revoke what is not needed"
                )
            tokens.append(token)

    def find(self, token_id: str) -> Token:
        """Return the token of that id; raises `AccessError` if there is none."""
        found = next((token for token in self.load() if token.id == token_id), None)
        if found is None:
            raise AccessError(f"there is no token {token_id}; `killcord tokens list` shows them")
        return found

    def revoke(self, token_id: str, now_s: float) -> Token:
        """Let a token open nothing any more, and return it as it is kept; raises `AccessError` if there is none."""
        self.find(token_id)
        with self._changing() as tokens:
            for place, token in enumerate(tokens):
                if token.id == token_id and token.revoked_at is None:
                    tokens[place] = msgspec.structs.replace(token, revoked_at=now_s)
        return self.find(token_id)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        """Hold the lock, hand out the tokens, and write them back; two people must not undo each other's change."""
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tokens = list(self.load())
            yield tokens
            content = msgspec.json.format(msgspec.json.encode(_Content(1, tuple(tokens))), indent=1)
            write_private(self.path, content)
        except OSError as error:
            raise AccessError(f"{self.path} cannot be written: {error}") from error
        finally:
            os.close(lock)


class FollowedTokens:
    """The tokens of a file as they are now. Belongs to one thread; a look costs a few microseconds.

    Raises
    ------
    AccessError
        If the file is damaged at the start. If it is damaged later, what was known stays, and the log says so: who
        edits it by hand must not lock everybody out at the worst moment.
    """

    def __init__(self, file: TokenFile, *, local: str = "", local_name: str = "local") -> None:
        self._file = file
        self._local = local
        self._local_name = local_name
        self._looked_s = float("-inf")
        self._seen = self._stat()
        self._tokens = self._read()

    def at(self, monotonic_s: float) -> Tokens:
        """Return the tokens, read anew if the file has changed since."""
        if monotonic_s - self._looked_s >= LOOK_INTERVAL_S:
            self._looked_s = monotonic_s
            seen = self._stat()
            if seen != self._seen:
                self._seen = seen
                try:
                    self._tokens = self._read()
                except AccessError as error:
                    log.error("the tokens stay as they were: %s", error)
        return self._tokens

    def _read(self) -> Tokens:
        return Tokens(self._file.load(), local=self._local, local_name=self._local_name)

    def _stat(self) -> _Seen | None:
        try:
            found = self._file.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns
