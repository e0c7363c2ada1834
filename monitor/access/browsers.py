"""What comes with a request from a browser: tokens where they are allowed, and the page that sent it. Pure."""

from __future__ import annotations

from collections.abc import Collection

SUBPROTOCOL = "killcord.v1"
_BEARER = "bearer."


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


def is_own_page(
    origin: str | None, fetch_site: str | None, host: str | None, allowed: Collection[str]
) -> bool:
    """Return whether a request that a cookie vouches for was made by the daemon's own page, or a configured one.

    A browser sends ``Origin`` with every request that is not a mere GET (Fetch §3.2) and, to where it trusts the
    connection, ``Sec-Fetch-Site``, which no page can set. Neither of them: no browser of today, no session of ours.
    """
    if origin is not None:
        return is_allowed_origin(origin, host, allowed)
    return fetch_site == "same-origin"


def is_foreign_page(
    origin: str | None, fetch_site: str | None, host: str | None, allowed: Collection[str]
) -> bool:
    """Return whether another site's page made this request; programs, which send neither header, are no page."""
    if origin is not None:
        return not is_allowed_origin(origin, host, allowed)
    return fetch_site not in (None, "same-origin", "none")


def cookie_name(is_tls: bool) -> str:
    """Return the cookie's name; over TLS one that nobody else and no plain connection can set (RFC 6265bis §4.1.3)."""
    return "__Host-killcord" if is_tls else "killcord"
