"""Kill and restore over HTTP, and the state of the switch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from killswitch import (
    ApprovalNeeded,
    Containment,
    InvalidRequest,
    InvalidTarget,
    KillswitchError,
    Outcome,
    Revocation,
    StoreUnreachable,
    Target,
)
from monitor.kill.outcomes import outcome_fields
from monitor.web.endpoints import sender
from monitor.web.responses import Problem, json, read_body, services

T = TypeVar("T")
Words = Annotated[str, Meta(min_length=1, max_length=2000)]


class Kill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/revocations``."""

    target: str
    reason: Words
    level: Literal["step_up", "suspend", "revoke"] = "revoke"
    expires_in_s: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None
    confirm: str = ""


class Restore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/restorations``."""

    target: str
    reason: Words


async def get_revocations(request: Request) -> Response:
    """Say what is revoked, and which enforcement points there are."""
    switch = services(request).switch
    snapshot, points = await _in_thread(lambda: (switch.snapshot(), switch.points()))
    now_s = time.time()
    records = [_fields(record) for record in snapshot.revocations.values() if record.level_at(now_s)]
    listed = [msgspec.to_builtins(point) for point in points]
    return json({"epoch": snapshot.epoch, "revocations": records, "points": listed})


async def post_revocation(request: Request) -> Response:
    """Kill, and answer when every live point refuses or the time is up."""
    kill = await decode_body(request, Kill)
    if kill.target == "fleet" and kill.confirm != "fleet":
        raise Problem(
            422,
            'confirm: this stops every agent of every tenant; send "confirm": "fleet" to go on',
            "confirm",
        )
    switch, config = services(request).switch, services(request).config.killswitch
    by = sender(request).name
    expires_at_s = None if kill.expires_in_s is None else time.time() + kill.expires_in_s
    return _answer(
        request,
        "kill",
        kill.target,
        *await _in_thread(
            lambda: switch.revoke_and_wait(
                Target.parse(kill.target),
                reason=kill.reason,
                by=by,
                level=kill.level,
                expires_at_s=expires_at_s,
                contain_timeout_s=config.contain_timeout_s,
            )
        ),
    )


async def post_restoration(request: Request) -> Response:
    """Restore, and answer when every live point allows again or the time is up.

    Where operators have to agree first: 409 and how many approvals are ``needed``.
    """
    restore, by = await decode_body(request, Restore), sender(request).name
    switch, config = services(request).switch, services(request).config.killswitch
    try:
        outcome, containment = await _in_thread(
            lambda: switch.restore_and_wait(
                Target.parse(restore.target),
                reason=restore.reason,
                by=by,
                contain_timeout_s=config.contain_timeout_s,
            )
        )
    except ApprovalNeeded as error:
        return json({"error": str(error), "field": None, "needed": error.short}, 409)
    return _answer(request, "restore", restore.target, outcome, containment)


async def decode_body(request: Request, kind: type[T]) -> T:
    """Return the body as the struct it must be; 422 naming the field if it is not."""
    try:
        return msgspec.json.decode(await read_body(request), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text, _, path = str(error).partition(" - at `$.")
        raise Problem(422, text, path.rstrip("`") or None) from error


def _answer(
    request: Request,
    kind: Literal["kill", "restore"],
    target: str,
    outcome: Outcome,
    containment: Containment,
) -> Response:
    services(request).telemetry.note_kill(kind, outcome, containment)
    return json(outcome_fields(target, outcome, containment), 200 if containment.contained else 202)


async def _in_thread(call: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(call)
    except InvalidTarget as error:
        raise Problem(422, f"target: {error.problem}", "target") from error
    except InvalidRequest as error:
        raise Problem(422, str(error), error.field) from error
    except ApprovalNeeded:
        raise  # only restoring asks for approvals, and says how many
    except StoreUnreachable as error:
        raise Problem(503, str(error)) from error
    except KillswitchError as error:
        raise Problem(502, str(error)) from error


def _fields(record: Revocation) -> dict[str, Any]:
    return {
        "target": str(record.target),
        "level": record.level,
        "reason": record.reason,
        "by": record.by,
        "at": record.at_s,
        "expires_at": record.expires_at_s,
        "epoch": record.epoch,
        "change_id": record.change_id,
        "evidence": list(record.evidence),
    }
