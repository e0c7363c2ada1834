"""What the audit trail says of a request. The one place that writes it: no endpoint has to think of it.

Every request that may change something is written down, allowed or refused; besides, who was refused for a wrong token
anywhere. Actions that are taken in are not: the action log is their record. What can be repeated without end by being
refused is bounded, and what is left out is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import HTTPConnection, Request

from monitor.access.roles import Principal
from monitor.errors import LogError
from monitor.log.audit import Entry, Outcome
from monitor.web.authentication import address_of, gate_of
from monitor.web.responses import Problem, read_body

MAX_TOLD_CHARS: Final = 2_000
MAX_TOLD_ITEMS: Final = 500
MAX_REFUSED_BODY_BYTES: Final = 16 * 1024
REFUSED_BODY_TIMEOUT_S: Final = 1.0
# What of a body or an address says whom or what an act is about; the first that is there.
_OBJECTS: Final = ("target", "agent_id", "ids")


async def write_act(request: Request, act: str, status: int, error: str, *, is_private: bool) -> None:
    """Write down what a request did or tried to; returns when it is on disk, or could not be written.

    An act that has happened is not taken back because it cannot be written down, and a kill never waits for the
    permission to be recorded: what is missing in the trail is in the daemon's log, and counted.
    """
    outcome: Outcome = "done" if status < 400 else "refused" if status < 500 else "failed"
    if outcome == "refused" and not _may_write(request):
        return
    told = {} if is_private else _told(request)
    about = next((told.pop(name) for name in _OBJECTS if name in told), "")
    about = about or "/".join(str(value) for value in request.path_params.values())
    detail = {**told, "status": status, **({"error": error[:MAX_TOLD_CHARS]} if error else {})}
    entry = _entry(
        request, act, ", ".join(map(str, about)) if isinstance(about, list) else str(about), outcome, detail
    )
    try:
        await gate_of(request).trail.note(entry)
    except LogError:
        return  # the trail has logged and counted it


def note_refusal(connection: HTTPConnection, problem: Problem) -> None:
    """Write down that somebody was refused where nothing can be changed; without waiting for the disk."""
    is_attempt = (
        "authorization" in connection.headers
        or connection.scope["type"] == "websocket"
        or _principal(connection) is not None
    )
    if problem.status_code in (401, 403, 429) and is_attempt and _may_write(connection):
        detail = {"status": problem.status_code, "error": str(problem.detail)}
        act = f"{connection.scope.get('method', 'GET')} {connection.url.path}"[:MAX_TOLD_CHARS]
        gate_of(connection).trail.note(_entry(connection, act, "", "refused", detail))


async def keep_refused_body(request: Request) -> None:
    """Read what somebody known tried to do, if it is short and comes at once, so that the trail can tell."""
    declared = request.headers.get("content-length", "")
    if not (declared.isdigit() and int(declared) <= MAX_REFUSED_BODY_BYTES):
        return
    try:
        async with asyncio.timeout(REFUSED_BODY_TIMEOUT_S):
            await read_body(request)
    except (Problem, TimeoutError):
        return


def _entry(
    connection: HTTPConnection, act: str, about: str, outcome: Outcome, detail: Mapping[str, Any]
) -> Entry:
    principal = _principal(connection)
    token_id = getattr(connection.state, "token_id", "")
    extra = {"credential": principal.credential} if principal else {"token": token_id} if token_id else {}
    return Entry(
        at=time.time(),
        by=principal.name if principal else "",
        role=principal.role if principal else "",
        address=address_of(connection),
        act=act,
        object=about[:MAX_TOLD_CHARS],
        outcome=outcome,
        detail={**detail, **extra},
    )


def _may_write(connection: HTTPConnection) -> bool:
    gate, principal = gate_of(connection), _principal(connection)
    if principal is None:
        return gate.strangers.take(address_of(connection), time.monotonic())
    return gate.insiders.take(principal.credential, time.monotonic())


def _principal(connection: HTTPConnection) -> Principal | None:
    found = getattr(connection.state, "principal", None)
    return found if isinstance(found, Principal) else None


def _told(request: Request) -> dict[str, Any]:
    """Return what the body says, cut to what a record may hold."""
    try:
        body = msgspec.json.decode(getattr(request.state, "body", b"") or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if not isinstance(body, dict):
        return {}
    return {str(name)[:100]: _cut(value) for name, value in list(body.items())[:50]}


def _cut(value: Any) -> Any:
    if isinstance(value, list):
        return [str(item)[:200] for item in value[:MAX_TOLD_ITEMS]]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:MAX_TOLD_CHARS]
