"""Alerts and actions over HTTP, and the verdict on an alert."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from monitor.errors import LogError
from monitor.web.endpoints import sender
from monitor.web.kills import decode_body
from monitor.web.queries import MAX_LISTED, limit_of
from monitor.web.responses import Problem, json, services


class VerdictBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/alerts/{id}/verdict``."""

    verdict: Literal["dismissed", "confirmed"]
    reason: Annotated[str, Meta(min_length=1, max_length=2000)]


async def get_alerts(request: Request) -> Response:
    """List the newest alerts, newest first."""
    limit = limit_of(request, MAX_LISTED)
    messages = services(request).feed.newest("alert", limit)
    return json({"alerts": [message["alert"] for message in messages]})


async def get_actions(request: Request) -> Response:
    """List the newest actions of one agent, newest first, as far as the last segments of the log reach."""
    agent = request.query_params.get("agent")
    if not agent:
        raise Problem(422, "name the agent: /v1/actions?agent=…", "agent")
    engine = services(request).engine
    found = await asyncio.to_thread(engine.newest_actions, agent, limit_of(request, MAX_LISTED))
    return json({"actions": found})


async def post_verdict(request: Request) -> Response:
    """Record what a person says of an alert."""
    body = await decode_body(request, VerdictBody)
    alert = request.path_params["alert_id"]
    try:
        await services(request).engine.judge(alert, body.verdict, sender(request).name, body.reason)
    except LogError as error:
        raise Problem(503, f"not durable, so not taken: {error}") from error
    return json({"id": alert, "verdict": body.verdict})
