"""The application: every endpoint of the table, the feed's socket, the dashboard's files, and safe headers."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.services import Services
from monitor.web import live
from monitor.web.counting import Counted
from monitor.web.responses import problem_response
from monitor.web.table import ENDPOINTS

# RFC 6797 §6.1: after one visit over TLS a browser does not speak to us without, for a year.
_HSTS = "max-age=31536000"

DASHBOARD = Path(__file__).parent.parent / "dashboard"

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


async def dashboard(_: Request) -> Response:
    """Serve the dashboard's page; it asks for everything else with the operator's token."""
    return FileResponse(DASHBOARD / "index.html")


class SecurityHeaders:
    """Puts the headers that browsers ask for on every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request (ASGI)."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", _HSTS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def create_app(services: Services) -> Starlette:
    """Return the application for one daemon."""
    endpoints = [endpoint.route() for endpoint in ENDPOINTS]
    app = Starlette(
        routes=[
            *endpoints,
            WebSocketRoute("/v1/feed", live.feed_socket),
            Route("/", dashboard),
            Mount("/static", StaticFiles(directory=DASHBOARD)),
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(Counted, routes=endpoints, note=services.telemetry.note_request),
        ],
        exception_handlers={HTTPException: problem_response},
    )
    app.state.services = services
    return app
