"""What an endpoint is: its address, who may use it, and what answers. The table of all of them is in `table`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitor.access.roles import Permission, Principal
from monitor.web.auditing import keep_refused_body, note_refusal, write_act
from monitor.web.authentication import SAFE_METHODS, authorized, gate_of
from monitor.web.responses import Problem, problem_response

Handler = Callable[[Request], Awaitable[Response]]


class Query(NamedTuple):
    """One parameter of the query string, for the document that describes the API."""

    name: str
    meaning: str
    schema: dict[str, Any]
    required: bool = False


LIMIT: Final = Query("limit", "how many at most", {"type": "integer", "minimum": 1, "maximum": 1000})
BEFORE: Final = Query(
    "before",
    "the `next` of the page before this one",
    {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
)
FILTER: Final = Query(
    "filter", "only what matches, such as: agent:billing-* severity:>=high", {"type": "string"}
)


class Endpoint(NamedTuple):
    """One method of one path.

    `permission` is what it takes to use it; None opens it to everybody. `body` is the type that the JSON body must
    have, `schema` the JSON Schema of a body that is read otherwise. `summary` says in one line what it does.
    `is_private` keeps the body out of the audit trail.
    """

    method: str
    path: str
    handler: Handler
    permission: Permission | None
    summary: str
    query: tuple[Query, ...] = ()
    body: type[msgspec.Struct] | None = None
    schema: dict[str, Any] | None = None
    is_private: bool = False

    def route(self) -> Route:
        """Return the route that lets nobody through but those who may, and writes down what was done."""

        async def guarded(request: Request) -> Response:
            if self.method in SAFE_METHODS:
                return await self._read(request)
            return await self._act(request)

        return Route(self.path, guarded, methods=[self.method], name=f"{self.method} {self.path}")

    async def _read(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except Problem as problem:
            note_refusal(request, problem)
            raise

    async def _act(self, request: Request) -> Response:
        """Answer what may change something; the answer goes out when it is on disk who did it, or tried to."""
        status, error = 500, "the request was broken off, or the daemon failed at it"
        try:
            response = await self._answer(request)
            status, error = response.status_code, ""
        except Problem as problem:
            status, error = problem.status_code, str(problem.detail)
            if status == 403:
                await keep_refused_body(request)
            response = await problem_response(request, problem)
        finally:
            if self.permission != "ingest" or status in (401, 403, 429):
                await write_act(
                    request, f"{self.method} {self.path}", status, error, is_private=self.is_private
                )
        return response

    async def _answer(self, request: Request) -> Response:
        if self.permission is not None:
            request.state.principal = authorized(request, self.permission)
        if self.permission == "kill":
            _check_place(request)
        return await self.handler(request)


def _check_place(request: Request) -> None:
    """Refuse a kill that came to another port than the one that kills are taken on, where there is such a one."""
    gate = gate_of(request)
    server = request.scope.get("server")
    if gate.kill_port and (server is None or server[1] != gate.kill_port):
        raise Problem(403, f"kill and restore are answered at {gate.kill_url} only")


def sender(request: Request) -> Principal:
    """Return who sent a request to an endpoint that needs a permission."""
    found = request.state.principal
    assert isinstance(found, Principal)  # noqa: S101 - the route has put it there
    return found
