"""Sessions of browsers: a cookie that stands for somebody who has signed in. Pure; the file is in `session_file`.

The cookie is 256 random bits. What is kept is its SHA-256, so whoever reads the file cannot use it; the CSRF value is
derived from the cookie, so it is not kept at all. A session ends at a fixed time after its beginning, after a time
without use, when its owner leaves, and when the token that it was opened with opens nothing any more.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from monitor.access.roles import Principal, Role, owner, principal
from monitor.access.tokens import LOCAL_ID

MAX_SESSIONS: Final = 10_000  # security limit: they are kept in memory
MAX_PER_CREDENTIAL: Final = 50  # of one token or one person; beyond it the longest unused of them ends
MAX_COOKIE_CHARS: Final = 200
SAVE_USE_EVERY_S: Final = 60.0


class Session(msgspec.Struct, forbid_unknown_fields=True):
    """What is kept of a session. Times are seconds since 1970.

    `token_id` is the token that opened it; empty if a provider's word did.
    """

    hash: str
    name: str
    role: Role
    token_id: str
    created_at: float
    expires_at: float
    used_at: float

    @property
    def id(self) -> str:
        """What the record calls it; no secret."""
        return self.hash[:12]

    def principal(self) -> Principal:
        """Return whose it is."""
        credential = f"session:{self.id}"
        if self.token_id == LOCAL_ID:
            return owner(self.name)._replace(credential=credential)
        return principal(self.name, self.role, credential)


class Sessions:
    """All sessions of one daemon.

    Parameters
    ----------
    max_age_s, idle_s
        After how long each ends, and after how long without use.
    is_valid
        Called as ``is_valid(token_id, now_s)``: whether that token still opens something.
    kept
        Those of an earlier run.
    max_sessions
        Beyond so many the longest unused one ends.
    """

    def __init__(
        self,
        *,
        max_age_s: float,
        idle_s: float,
        is_valid: Callable[[str, float], bool],
        kept: Iterable[Session] = (),
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        self._max = max_sessions
        self._max_age_s = max_age_s
        self._idle_s = idle_s
        self._is_valid = is_valid
        # A local token lives as long as the daemon that made it; so do its sessions.
        self._by_hash = {session.hash: session for session in kept if session.token_id != LOCAL_ID}
        self._saved_use_s = 0.0
        self.is_changed = False
        """Whether there is something to save."""

    def __len__(self) -> int:
        return len(self._by_hash)

    def open(self, cookie: str, known: Principal, now_s: float) -> Session:
        """Begin a session for somebody who has shown who they are; `cookie` is a new secret."""
        kind, _, token_id = known.credential.partition(":")
        if kind == LOCAL_ID:
            token_id = LOCAL_ID
        session = Session(
            _hash(cookie), known.name, known.role, token_id, now_s, now_s + self._max_age_s, now_s
        )
        self._make_room(session)
        self._by_hash[session.hash] = session
        self.is_changed = True
        return session

    def find(self, cookie: str, now_s: float) -> Session | None:
        """Return the session of a cookie, and take note that it is in use; None if it means nothing."""
        session = self._by_hash.get(_hash(cookie)) if 0 < len(cookie) <= MAX_COOKIE_CHARS else None
        if session is None:
            return None
        if not self._is_alive(session, now_s):
            self._end(session)
            return None
        session.used_at = max(session.used_at, now_s)
        if now_s - self._saved_use_s >= SAVE_USE_EVERY_S:
            self._saved_use_s = now_s
            self.is_changed = True
        return session

    def close(self, session: Session) -> None:
        """End a session."""
        self._end(session)

    def all(self, now_s: float) -> list[Session]:
        """Return those that are alive, and forget the others."""
        for session in list(self._by_hash.values()):
            if not self._is_alive(session, now_s):
                self._end(session)
        return list(self._by_hash.values())

    def _is_alive(self, session: Session, now_s: float) -> bool:
        return (
            now_s < session.expires_at
            and now_s - session.used_at < self._idle_s
            and (not session.token_id or self._is_valid(session.token_id, now_s))
        )

    def _end(self, session: Session) -> None:
        if self._by_hash.pop(session.hash, None) is not None:
            self.is_changed = True

    def _make_room(self, new: Session) -> None:
        def is_same(session: Session) -> bool:
            return (session.token_id, session.name) == (new.token_id, new.name)

        same = [session for session in self._by_hash.values() if is_same(session)]
        if len(same) >= MAX_PER_CREDENTIAL:
            self._end(min(same, key=lambda session: session.used_at))
        if len(self._by_hash) >= self._max:
            self._end(min(self._by_hash.values(), key=lambda session: session.used_at))


def csrf_of(cookie: str) -> str:
    """Return the value that a page must send with whatever it changes: other sites' pages cannot know it."""
    return hmac.new(cookie.encode("utf-8", "replace"), b"killcord csrf", hashlib.sha256).hexdigest()


def is_csrf_right(cookie: str, offered: str | None) -> bool:
    """Return whether the value belongs to this cookie's session; in constant time."""
    return hmac.compare_digest((offered or "").encode("utf-8", "replace"), csrf_of(cookie).encode())


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()
