"""How the HTTP edge answers, and how it says no."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from monitor.services import Services


class Problem(HTTPException):
    """A refusal with one sentence that helps, and the field that it is about, if there is one."""

    def __init__(
        self, status: int, error: str, field: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, error, headers)
        self.field = field


def json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response that no cache keeps."""
    return Response(
        msgspec.json.encode(content),
        status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )


async def problem_response(_: HTTPConnection, error: Exception) -> Response:
    """Return the JSON body of a refusal."""
    if not isinstance(error, HTTPException):
        raise error
    field = error.field if isinstance(error, Problem) else None
    return json({"error": error.detail, "field": field}, error.status_code, dict(error.headers or {}))


def services(request: HTTPConnection) -> Services:
    """Return the daemon that this request came to."""
    found = request.app.state.services
    assert isinstance(found, Services)  # noqa: S101 - the app is only ever built with them
    return found


async def read_body(request: Request) -> bytes:
    """Return the body, or refuse it with 413 as soon as it is known to be too long.

    It is left in ``request.state.body`` for the record of what was done.
    """
    limit = services(request).config.server.max_body_bytes
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_long(limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_long(limit)
        parts.append(part)
    body: bytes = b"".join(parts)
    request.state.body = body
    return body


def _too_long(limit: int) -> Problem:
    return Problem(413, f"the body is over {limit} bytes; send smaller batches")
