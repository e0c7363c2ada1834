"""What can be read over HTTP: agents, actions, health, metrics."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from killswitch import Revocation, StoreUnreachable, Target
from monitor.core.inventory import AgentRecord
from monitor.metrics import render
from monitor.services import Services
from monitor.web.responses import Problem, json, services

MAX_LISTED = 1000


async def get_agents(request: Request) -> Response:
    """List every agent with its model's state, its risk and whether it is revoked."""
    daemon = services(request)
    revocations = await asyncio.to_thread(_revocations, daemon)
    agents = [
        _agent(daemon, named.agent_id, named.record, revocations.get(named.agent_id))
        for named in daemon.engine.pipeline.inventory.all()
    ]
    return json({"agents": agents})


async def get_actions(request: Request) -> Response:
    """List the newest actions of one agent, newest first, as far as the last segments of the log reach."""
    agent = request.query_params.get("agent")
    if not agent:
        raise Problem(422, "name the agent: /v1/actions?agent=…", "agent")
    engine = services(request).engine
    found = await asyncio.to_thread(engine.newest_actions, agent, limit_of(request, MAX_LISTED))
    return json({"actions": found})


async def healthz(_: Request) -> Response:
    """Answer while the process lives."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Answer 200 while actions are taken in and a kill would be written, 503 with the reason otherwise."""
    daemon = services(request)
    problems = []
    if not daemon.store.reachable:
        problems.append("the revocation store does not answer")
    if daemon.engine.is_overloaded:
        problems.append("too many actions wait to be scored")
    return json({"ready": not problems, "problems": problems}, 503 if problems else 200)


async def get_metrics(request: Request) -> Response:
    """Answer in the Prometheus text format."""
    return PlainTextResponse(
        render(services(request).metrics(), services(request).histograms()),
        media_type="text/plain; version=0.0.4; charset=utf-8",
    )


def _revocations(daemon: Services) -> dict[str, Revocation]:
    try:
        records = daemon.switch.snapshot().revocations
    except StoreUnreachable:
        return {}
    return {target.value: record for target, record in records.items() if target.kind == "agent"}


def _agent(
    daemon: Services, agent_id: str, record: AgentRecord, revocation: Revocation | None
) -> dict[str, Any]:
    calibration = daemon.engine.pipeline.calibration(agent_id)
    return {
        "agent_id": agent_id,
        "version": record.version,
        "model": {"state": calibration.state, "seen": calibration.seen, "needed": calibration.needed},
        "actions": record.actions,
        "first_ts": record.first_ts,
        "last_ts": record.last_ts,
        "last_tool": record.last_tool,
        "alerts": record.alerts,
        "risk": round(record.risk_at(time.time()), 2),
        "recent": list(record.recent),
        "revocation": _revocation(revocation),
    }


def _revocation(record: Revocation | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "target": str(Target("agent", record.target.value)),
        "level": record.level,
        "reason": record.reason,
        "by": record.by,
        "at": record.at_s,
        "expires_at": record.expires_at_s,
    }


def limit_of(request: Request, most: int) -> int:
    """Return ``limit`` of the query, 200 if it is not there; 422 if it is none."""
    text = request.query_params.get("limit", "200")
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise Problem(422, f"limit is a number from 1 to {most}", "limit")
    return int(text)
