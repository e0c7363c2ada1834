"""An agent's actions over HTTP."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from monitor.web.queries import MAX_LISTED, limit_of
from monitor.web.responses import Problem, json, services


async def get_actions(request: Request) -> Response:
    """List the newest actions of one agent, newest first, as far as the last segments of the log reach."""
    agent = request.query_params.get("agent")
    if not agent:
        raise Problem(422, "name the agent: /v1/actions?agent=…", "agent")
    engine = services(request).engine
    found = await asyncio.to_thread(engine.newest_actions, agent, limit_of(request, MAX_LISTED))
    return json({"actions": found})
