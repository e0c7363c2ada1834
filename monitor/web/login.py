"""``/v1/login``: a browser signs in at the organisation's own provider (OpenID Connect)."""

from __future__ import annotations

import html
import time
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from monitor.access.oidc import LOGIN_TIMEOUT_S
from monitor.access.oidc_provider import Provider
from monitor.access.tokens import make_secret
from monitor.errors import AccessError
from monitor.web.auditing import write_act
from monitor.web.authentication import gate_of, is_tls
from monitor.web.responses import Problem, services
from monitor.web.sessions import LOGIN_PATH, begin, give_cookie

CALLBACK_PATH: Final = f"{LOGIN_PATH}/callback"
COOKIE: Final = "killcord-login"

_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Killcord: not signed in</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/static/style.css">
<main><h1>You are not signed in</h1><p>{sentence}</p><p><a href="/">Back to the dashboard</a></p></main></html>
"""


async def get_login(request: Request) -> Response:
    """Send the browser to the provider."""
    attempt = gate_of(request).attempts.begin(make_secret(), time.time())
    try:
        url = await _provider(request).authorization_url(attempt, _redirect_url(request))
    except AccessError as error:
        return _page(str(error), 503)
    response = RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})
    # Lax, not Strict: it has to come along when the provider sends the browser back.
    response.set_cookie(
        COOKIE,
        attempt.seal,
        max_age=int(LOGIN_TIMEOUT_S),
        path=LOGIN_PATH,
        secure=is_tls(request),
        httponly=True,
        samesite="lax",
    )
    return response


async def get_callback(request: Request) -> Response:
    """Take the browser back from the provider, and begin a session for who that says it is."""
    query, gate, provider = request.query_params, gate_of(request), _provider(request)
    try:
        seal = request.cookies.get(COOKIE, "")
        attempt = gate.attempts.finish(seal, query.get("state", ""), time.time())
        if "code" not in query:
            raise AccessError("the provider did not let you in")
        known, subject = await provider.person(attempt, query["code"], _redirect_url(request))
    except AccessError as error:
        await write_act(request, "sign in", 403, str(error), is_private=True)
        response = _page(str(error), 403)
    else:
        request.state.principal = known._replace(credential=f"oidc:{subject}"[:300])
        cookie, _ = await begin(request, known)
        await write_act(request, "sign in", 303, "", is_private=True)
        response = RedirectResponse("/", 303, headers={"Cache-Control": "no-store"})
        give_cookie(request, response, cookie)
    response.delete_cookie(COOKIE, path=LOGIN_PATH, secure=is_tls(request), httponly=True, samesite="lax")
    return response


def _provider(request: Request) -> Provider:
    provider = gate_of(request).provider
    if provider is None:
        raise Problem(404, "no provider is configured ([oidc]); sign in with a token")
    return provider


def _redirect_url(request: Request) -> str:
    configured = services(request).config.oidc.redirect_url
    return configured or str(request.base_url.replace(path=CALLBACK_PATH))


def _page(sentence: str, status: int) -> Response:
    page = _PAGE.format(sentence=html.escape(sentence[:500]))
    return HTMLResponse(page, status, headers={"Cache-Control": "no-store"})
