"""Mutes over HTTP: what is hidden from people's eyes, by whom, and until when."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from monitor.alerts.life import MAX_TEXT_CHARS
from monitor.alerts.mutes import MAX_MUTE_S, mute_fields
from monitor.errors import ChangeConflict, ChangeRefused, LogError
from monitor.web.alerts import not_durable
from monitor.web.endpoints import sender
from monitor.web.kills import decode_body
from monitor.web.responses import Problem, json, services


class NewMute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/mutes``."""

    agent_id: Annotated[str, Meta(min_length=1, max_length=2000)]
    signal: Annotated[str, Meta(min_length=1, max_length=200)]
    reason: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
    for_s: Annotated[float, Meta(gt=0, le=MAX_MUTE_S)]


async def get_mutes(request: Request) -> Response:
    """List the mutes in force, newest first."""
    mutes = services(request).desk.book.mutes.in_force(time.time())
    return json({"mutes": [mute_fields(mute) for mute in mutes]})


async def post_mute(request: Request) -> Response:
    """Set a mute; answered when it is on disk."""
    body = await decode_body(request, NewMute)
    try:
        mute = await services(request).desk.mute(
            body.agent_id, body.signal, body.reason, by=sender(request).name, for_s=body.for_s
        )
    except ChangeConflict as error:
        raise Problem(409, str(error), error.field) from error
    except ChangeRefused as error:
        raise Problem(422, str(error), error.field) from error
    except LogError as error:
        raise not_durable(error) from error
    return json(mute_fields(mute), 201)


async def delete_mute(request: Request) -> Response:
    """Lift a mute; answered when that is on disk."""
    try:
        lifted = await services(request).desk.lift(request.path_params["mute_id"], by=sender(request).name)
    except LogError as error:
        raise not_durable(error) from error
    if lifted is None:
        raise Problem(404, "no such mute is in force", "id")
    return Response(status_code=204, headers={"Cache-Control": "no-store"})
