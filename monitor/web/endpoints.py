"""What an endpoint is: its address, who may use it, and what answers. The table of all of them is in `table`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitor.access.browsers import bearer
from monitor.access.roles import Permission, Principal
from monitor.web.responses import Problem, services

Handler = Callable[[Request], Awaitable[Response]]


class Query(NamedTuple):
    """One parameter of the query string, for the document that describes the API."""

    name: str
    meaning: str
    schema: dict[str, Any]
    required: bool = False


LIMIT: Final = Query("limit", "how many at most", {"type": "integer", "minimum": 1, "maximum": 1000})
FILTER: Final = Query(
    "filter", "only what matches, such as: agent:billing-* severity:>=high", {"type": "string"}
)


class Endpoint(NamedTuple):
    """One method of one path.

    `permission` is what it takes to use it; None opens it to everybody. `body` is the type that the JSON body must
    have. `summary` says in one line what it does.
    """

    method: str
    path: str
    handler: Handler
    permission: Permission | None
    summary: str
    query: tuple[Query, ...] = ()
    body: type[msgspec.Struct] | None = None

    def route(self) -> Route:
        """Return the route that lets nobody through but those who may."""

        async def guarded(request: Request) -> Response:
            if self.permission is not None:
                request.state.principal = authorized(request, self.permission)
            return await self.handler(request)

        return Route(self.path, guarded, methods=[self.method], name=f"{self.method} {self.path}")


def authorized(request: Request, permission: Permission) -> Principal:
    """Return who sent the request; 401 if nobody is known, 403 if they may not do this."""
    sender = services(request).tokens.principal(bearer(request.headers.get("authorization")))
    if sender is None:
        raise Problem(
            401, "send a known token as 'Authorization: Bearer …'", headers={"WWW-Authenticate": "Bearer"}
        )
    if not sender.may(permission):
        raise Problem(403, f"the role '{sender.role}' may not do this: it takes '{permission}'")
    return sender


def sender(request: Request) -> Principal:
    """Return who sent a request to an endpoint that needs a permission."""
    found = request.state.principal
    assert isinstance(found, Principal)  # noqa: S101 - the route has put it there
    return found
