"""``/v1/session``: a browser signs in with a token, asks who it is, and leaves."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from monitor.access.browsers import cookie_name, is_foreign_page
from monitor.access.roles import PERMISSIONS, Principal
from monitor.access.sessions import MAX_COOKIE_CHARS, Session, csrf_of
from monitor.access.tokens import make_secret
from monitor.web.authentication import (
    authenticated,
    checked_token,
    cookie_of,
    gate_of,
    is_tls,
    session_of,
)
from monitor.web.kills import decode_body
from monitor.web.responses import Problem, json, services

LOGIN_PATH: Final = "/v1/login"


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/session``."""

    token: Annotated[str, Meta(min_length=1, max_length=MAX_COOKIE_CHARS)]


async def post_session(request: Request) -> Response:
    """Begin a session for whoever has this token, and give the browser its cookie."""
    headers, allowed = request.headers, services(request).config.server.allowed_origins
    if is_foreign_page(headers.get("origin"), headers.get("sec-fetch-site"), headers.get("host"), allowed):
        raise Problem(403, "only the dashboard's own pages may sign a browser in", "origin")
    body = await decode_body(request, SignIn)
    known = checked_token(request, body.token)
    request.state.principal = known
    cookie, session = await begin(request, known)
    response = json(_about(request, session.principal(), cookie, session), 201)
    give_cookie(request, response, cookie)
    return response


async def get_session(request: Request) -> Response:
    """Say who this is: whose session, or whose token."""
    try:
        sender = authenticated(request)
    except Problem as problem:
        if problem.status_code != 401:
            raise
        content = {"error": problem.detail, "field": None, "login": _login(request)}
        return json(content, 401, dict(problem.headers or {}))
    is_session = sender.credential.startswith("session:")
    session = session_of(request) if is_session else None
    return json(_about(request, sender, cookie_of(request) if is_session else None, session))


async def delete_session(request: Request) -> Response:
    """End the session; its cookie means nothing any more."""
    request.state.principal = authenticated(request)
    session = session_of(request)
    if session is not None:
        gate_of(request).sessions.close(session)
        await gate_of(request).save_sessions()
    response = Response(status_code=204)
    name = cookie_name(is_tls(request))
    response.delete_cookie(name, path="/", secure=is_tls(request), httponly=True, samesite="strict")
    return response


async def begin(request: Request, known: Principal) -> tuple[str, Session]:
    """Begin a session, and return its cookie with it; it outlives a restart of the daemon from now on."""
    cookie = make_secret()
    session = gate_of(request).sessions.open(cookie, known, time.time())
    await gate_of(request).save_sessions()
    return cookie, session


def give_cookie(request: Request, response: Response, cookie: str) -> None:
    """Let the browser keep the session's cookie; no page can read it, and no other site's request carries it."""
    response.set_cookie(
        cookie_name(is_tls(request)),
        cookie,
        max_age=int(services(request).config.access.session_max_age_s),
        path="/",
        secure=is_tls(request),
        httponly=True,
        samesite="strict",
    )


def _about(
    request: Request, sender: Principal, cookie: str | None, session: Session | None
) -> dict[str, Any]:
    return {
        "name": sender.name,
        "role": sender.role,
        "permissions": [permission for permission in PERMISSIONS if sender.may(permission)],
        "csrf": csrf_of(cookie) if cookie else None,
        "expires_at": session.expires_at if session else None,
        "login": _login(request),
        "kill_url": gate_of(request).kill_url or None,
    }


def _login(request: Request) -> str | None:
    return LOGIN_PATH if gate_of(request).provider else None
