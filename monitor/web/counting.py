"""Counts what is answered, by endpoint and class of status."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OTHER = ("other", "other")
"""Stands for every request to no endpoint of ours: paths and methods of strangers must not become series."""


class Counted:
    """Tells `note` the method, the endpoint's path and the status of every HTTP request.

    Parameters
    ----------
    routes
        The endpoints that are counted by name.
    """

    def __init__(
        self, app: ASGIApp, routes: Iterable[BaseRoute], note: Callable[[str, str, int], None]
    ) -> None:
        self._app = app
        self._note = note
        self._names = {
            route.endpoint: (min(route.methods or {"GET"}), route.path)
            for route in routes
            if isinstance(route, Route)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # what is answered if the application breaks

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        finally:
            self._note(*self._names.get(scope.get("endpoint", self), OTHER), status)
