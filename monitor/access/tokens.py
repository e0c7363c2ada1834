"""Tokens: how they are made, what is kept of them, and whose a token is. Pure; the file is in `token_file`.

A token reads ``kc_ID_SECRET``. The secret has 256 bits from the system's generator and is told once; what is kept is
its SHA-256. A slow password hash would buy nothing here: nobody can try 2^256 secrets however fast the hash, and it
would let anybody burn the daemon's time with wrong tokens. The id is no secret; it finds the entry, names the token in
lists and in the record, and leaves one comparison to make, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from monitor.access.roles import Principal, Role, owner, principal

SECRET_BYTES: Final = 32
LOCAL_ID: Final = "local"
MAX_NAME_CHARS: Final = 200
_FORM = re.compile(r"kc_([a-z0-9]{1,32})_([A-Za-z0-9_-]{20,100})", re.ASCII)
_NOBODY = hashlib.sha256(b"nobody's").hexdigest()

Why = Literal["unknown", "revoked", "expired"]


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a token. Times are seconds since 1970; None means never."""

    id: Annotated[str, Meta(pattern="^[a-z0-9]{1,32}$")]
    role: Role
    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    created_at: float
    created_by: str
    expires_at: float | None = None
    revoked_at: float | None = None

    def state_at(self, now_s: float) -> Literal["valid", "revoked", "expired"]:
        """Return whether it opens anything."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now_s >= self.expires_at else "valid"


class Refusal(NamedTuple):
    """Why a token opens nothing. `token_id` is known where the secret was right: that is no guess of a stranger."""

    why: Why
    token_id: str = ""


def make_secret() -> str:
    """Return a new secret of 256 bits, made of what may stand in a header and in a websocket's subprotocol."""
    return secrets.token_urlsafe(SECRET_BYTES)


def make_token(
    role: Role, name: str, *, by: str, now_s: float, expires_at_s: float | None = None
) -> tuple[str, Token]:
    """Return a new token's text, which nobody can tell again, and what is kept of it."""
    token_id, secret = secrets.token_hex(6), make_secret()
    kept = Token(token_id, role, name, hashed(secret), now_s, by, expires_at_s)
    return written(token_id, secret), kept


def written(token_id: str, secret: str) -> str:
    """Return a token as it is handed out."""
    return f"kc_{token_id}_{secret}"


def hashed(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def id_of(text: str) -> str:
    """Return the id that a token claims; empty if it is none of ours."""
    found = _FORM.fullmatch(text)
    return found[1] if found else ""


class Tokens:
    """Knows whose a token is.

    Parameters
    ----------
    tokens
        What is kept of each.
    local
        The secret that the daemon hands to the owner of its state directory for as long as it runs; empty for none.
    local_name
        What the record calls that owner.
    """

    def __init__(self, tokens: Iterable[Token] = (), *, local: str = "", local_name: str = LOCAL_ID) -> None:
        self.by_id: Mapping[str, Token] = {token.id: token for token in tokens}
        self._local_hash = hashed(local) if local else ""
        self._local_name = local_name

    def judge(self, text: str, now_s: float) -> Principal | Refusal:
        """Return whose token this is, or why it opens nothing."""
        found = _FORM.fullmatch(text)
        token_id, secret = (found[1], found[2]) if found else ("", "")
        if token_id == LOCAL_ID and self._local_hash:
            is_right = hmac.compare_digest(hashed(secret), self._local_hash)
            return owner(self._local_name) if is_right else Refusal("unknown")
        kept = self.by_id.get(token_id)
        # An unknown id is compared too: how long the answer takes must not tell which ids there are.
        is_right = hmac.compare_digest(hashed(secret), kept.hash if kept else _NOBODY)
        if kept is None or not is_right:
            return Refusal("unknown")
        state = kept.state_at(now_s)
        return (
            principal(kept.name, kept.role, f"token:{kept.id}")
            if state == "valid"
            else Refusal(state, kept.id)
        )

    def principal(self, text: str | None, now_s: float) -> Principal | None:
        """Return whose token this is; None if it opens nothing."""
        found = self.judge(text, now_s) if text else None
        return found if isinstance(found, Principal) else None

    def is_valid(self, token_id: str, now_s: float) -> bool:
        """Return whether the token of that id still opens something; the local one does as long as there is one."""
        if token_id == LOCAL_ID:
            return bool(self._local_hash)
        kept = self.by_id.get(token_id)
        return kept is not None and kept.state_at(now_s) == "valid"
