"""Who sent a request or opened a socket, by its token or its browser's session; and until when that holds.

A token wins over a cookie: a program that sends one means it. A cookie vouches for a change only together with the
session's CSRF value and if one of our own pages made the request, and for a websocket only if one of our pages opened
it, since a browser sends cookies along with what other sites' pages ask of it.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final

from starlette.requests import HTTPConnection

from monitor.access.browsers import (
    bearer,
    bearer_of_subprotocols,
    cookie_name,
    is_allowed_origin,
    is_own_page,
)
from monitor.access.roles import Permission, Principal
from monitor.access.sessions import Session, is_csrf_right
from monitor.access.tokens import Refusal, id_of
from monitor.gate import Gate
from monitor.web.responses import Problem, services

CSRF_HEADER: Final = "x-killcord-csrf"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOOK_AGAIN_S: Final = 1.0

_SAID: Final = {
    "unknown": "send a known token as 'Authorization: Bearer …', or sign in",
    "revoked": "this token was revoked; ask for a new one",
    "expired": "this token has expired; ask for a new one",
}


def authorized(connection: HTTPConnection, permission: Permission) -> Principal:
    """Return who sent the request; raises a `Problem`: 401 if nobody is known, 403 if they may not do this, 429."""
    sender = authenticated(connection)
    if not sender.may(permission):
        connection.state.principal = sender
        raise Problem(403, f"the role '{sender.role}' may not do this: it takes '{permission}'")
    return sender


def welcome(connection: HTTPConnection, permission: Permission = "read") -> Principal | Problem:
    """Return who opens a websocket, or why they may not; what a refusal tells is written down. For the live feed."""
    from monitor.web.auditing import note_refusal

    try:
        allowed = services(connection).config.server.allowed_origins
        if not is_allowed_origin(connection.headers.get("origin"), connection.headers.get("host"), allowed):
            raise Problem(403, "pages of this origin may not open the feed", "origin")
        return authorized(connection, permission)
    except Problem as problem:
        note_refusal(connection, problem)
        return problem


async def until_unwelcome(connection: HTTPConnection, permission: Permission = "read") -> None:
    """Return when whoever opened a socket may not read any more: revoked, expired, signed out. For the live feed.

    An open socket is use of its session, so a dashboard on a wall does not sign itself out before its time.
    """
    while True:
        await asyncio.sleep(LOOK_AGAIN_S)
        sender = _known(connection)
        if sender is None or not sender.may(permission):
            return


def authenticated(connection: HTTPConnection) -> Principal:
    """Return who sent a request or opens a socket; raises a `Problem` if that is nobody, or after many wrong tokens."""
    token = _token(connection)
    if token is not None:
        return checked_token(connection, token)
    cookie = cookie_of(connection)
    session = session_of(connection)
    if cookie is None or session is None:
        raise _unknown("unknown")
    connection.state.principal = session.principal()  # for the record of a refusal
    _check_page(connection, cookie)
    return session.principal()


def checked_token(connection: HTTPConnection, token: str) -> Principal:
    """Return whose token this is; raises a `Problem`: 401 if it opens nothing, 429 after too many wrong ones."""
    gate = gate_of(connection)
    address, token_id, now_s = address_of(connection), id_of(token), time.monotonic()
    wait_s = gate.throttle.wait_s(address, token_id, now_s)
    if wait_s > 0:
        seconds = math.ceil(wait_s)
        raise Problem(
            429,
            f"too many wrong tokens from {address}; wait {seconds} s",
            headers={"Retry-After": str(seconds)},
        )
    found = gate.known().judge(token, time.time())
    if isinstance(found, Refusal):
        if found.why == "unknown":  # who knows the secret of a revoked or expired token is not guessing
            gate.throttle.failed(address, token_id, now_s)
        connection.state.token_id = found.token_id
        raise _unknown(found.why)
    gate.throttle.worked(address, token_id)
    return found


def session_of(connection: HTTPConnection) -> Session | None:
    """Return the session of the browser that sent the request."""
    cookie = cookie_of(connection)
    return gate_of(connection).sessions.find(cookie, time.time()) if cookie else None


def cookie_of(connection: HTTPConnection) -> str | None:
    """Return the session's cookie."""
    return connection.cookies.get(cookie_name(is_tls(connection)))


def is_tls(connection: HTTPConnection) -> bool:
    """Return whether the browser reached us over TLS, ours or that of a trusted proxy."""
    return connection.scope["scheme"] in ("https", "wss")


def address_of(connection: HTTPConnection) -> str:
    """Return the client's address: its own, or what a trusted proxy says."""
    return connection.client.host if connection.client else "unknown"


def gate_of(connection: HTTPConnection) -> Gate:
    """Return the daemon's gate."""
    return services(connection).gate


def _token(connection: HTTPConnection) -> str | None:
    token = bearer(connection.headers.get("authorization"))
    if token is None and connection.scope["type"] == "websocket":
        token = bearer_of_subprotocols(connection.scope["subprotocols"])
    return token


def _known(connection: HTTPConnection) -> Principal | None:
    """Return who this is now, without counting or writing anything down."""
    token = _token(connection)
    if token is not None:
        return gate_of(connection).known().principal(token, time.time())
    session = session_of(connection)
    return session.principal() if session else None


def _check_page(connection: HTTPConnection, cookie: str) -> None:
    """Refuse what another site's page could have made a browser send; see the module's docstring."""
    headers, allowed = connection.headers, services(connection).config.server.allowed_origins
    is_socket = connection.scope["type"] == "websocket"
    if not is_socket and connection.scope["method"] in SAFE_METHODS:
        return
    own = is_own_page(headers.get("origin"), headers.get("sec-fetch-site"), headers.get("host"), allowed)
    if not own:
        raise Problem(403, "with a session this takes a request of the dashboard's own pages", "origin")
    if not is_socket and not is_csrf_right(cookie, headers.get(CSRF_HEADER)):
        raise Problem(
            403, "with a session this takes the header X-Killcord-CSRF with the session's value", "csrf"
        )


def _unknown(why: str) -> Problem:
    return Problem(401, _SAID[why], headers={"WWW-Authenticate": "Bearer"})
