"""Who may do what over HTTP: three bearer tokens, and which pages may open the feed. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from typing import Literal

Role = Literal["ingest", "feed", "kill"]

SUBPROTOCOL = "killcord.v1"
_BEARER = "bearer."

_GRANTS: Mapping[str, frozenset[Role]] = {
    "ingest": frozenset({"ingest"}),
    "feed": frozenset({"feed"}),
    "kill": frozenset({"kill", "feed"}),  # whoever may kill may look
}


class Access:
    """Knows the tokens; compares them in constant time."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._tokens = {role: token.encode() for role, token in tokens.items()}

    def roles(self, token: str | None) -> frozenset[Role]:
        """Return what the token grants; the empty set for an unknown one."""
        if not token:
            return frozenset()
        offered = token.encode()
        granted: frozenset[Role] = frozenset()
        for role, known in self._tokens.items():
            if hmac.compare_digest(offered, known):
                granted = _GRANTS[role]
        return granted


def bearer(authorization: str | None) -> str | None:
    """Return the token of an ``Authorization`` header (RFC 6750 §2.1)."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def bearer_of_subprotocols(subprotocols: Collection[str]) -> str | None:
    """Return the token that a browser sent as a websocket subprotocol, since it can set no header there."""
    for offered in subprotocols:
        if offered.startswith(_BEARER):
            return offered.removeprefix(_BEARER)
    return None


def is_allowed_origin(origin: str | None, host: str | None, allowed: Collection[str]) -> bool:
    """Return whether a page of that origin may open the feed: the daemon's own pages and the configured ones.

    Programs that are no browsers send no origin (RFC 6455 §10.2); they are let through to the token check.
    """
    if origin is None:
        return True
    return origin in allowed or origin in (f"http://{host}", f"https://{host}")
