"""``GET /v1/blast-radius``: who would be stopped, shown before the kill."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import Response

from killswitch import InvalidTarget, Target
from monitor.core.blast_radius import BlastRadius
from monitor.web.agents import in_force
from monitor.web.responses import Problem, json, services

YIELD_AFTER_S = 0.003
"""After so long the event loop gets a turn: looking through a large fleet must not delay a kill."""


async def get_blast_radius(request: Request) -> Response:
    """Say who was active in the last hour and would be refused, and how many points would refuse."""
    daemon, target = services(request), _target(request)
    pipeline = daemon.engine.pipeline
    found = BlastRadius(target, pipeline.activity, pipeline.inventory, time.time())
    since_s = time.monotonic()
    for agent_id in pipeline.activity.agents():
        found.add(agent_id)
        if time.monotonic() - since_s > YIELD_AFTER_S:
            await asyncio.sleep(0)
            since_s = time.monotonic()
    record = (await in_force(daemon)).get(target)
    return json(
        {
            **found.fields(),
            "points": {"live": daemon.store.live, "total": len(daemon.store.points)},
            "already": record.level_at(time.time()) if record else None,
        }
    )


def _target(request: Request) -> Target:
    text = request.query_params.get("target", "")
    if not text:
        raise Problem(422, "name the target: /v1/blast-radius?target=agent:billing-bot", "target")
    try:
        return Target.parse(text)
    except InvalidTarget as error:
        raise Problem(422, f"target: {error.problem}", "target") from error
