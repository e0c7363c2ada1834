"""What happened to the kill switch: ``GET /v1/transitions`` and ``GET /v1/drills``."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from monitor.errors import LogError
from monitor.kill.drill_log import KeptDrill
from monitor.kill.readiness import drill_fields
from monitor.live.history import transitions
from monitor.web.queries import MAX_LISTED, before, flag, limit_of
from monitor.web.responses import Problem, json, services

MAX_FAILING = 50


async def get_transitions(request: Request) -> Response:
    """List the kills and restorations, newest first; those of drills only if they are asked for."""
    directory = services(request).feed.directory
    start, most, drills = before(request), limit_of(request, MAX_LISTED), flag(request, "drills")
    try:
        page = await asyncio.to_thread(transitions, directory, before=start, limit=most, drills=drills)
    except LogError as error:
        raise Problem(503, f"the feed's log cannot be read: {error}") from error
    return json(page._asdict())


async def get_drills(request: Request) -> Response:
    """List the drills, newest first."""
    kept = await asyncio.to_thread(services(request).drills.log.last, limit_of(request, MAX_LISTED, 50))
    return json({"drills": [_fields(each) for each in kept]})


def _fields(kept: KeptDrill) -> dict[str, Any]:
    drill = kept.drill
    failing = [
        {"point": str(point), "point_id": point.id, "problem": point.problem}
        for point in drill.failing[:MAX_FAILING]
    ]
    return {
        **(drill_fields(drill) or {}),
        "id": drill.id,
        "by": drill.by,
        "only": drill.only,
        "promise_ms": drill.promise_ms,
        "durable": drill.durable,
        "failing_points": failing,
        "signed_by": kept.signed_by,
        "says": str(drill),
    }
