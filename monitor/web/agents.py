"""The agents over HTTP: all of them in short, and one with what it did lately."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from killswitch import InvalidTarget, KillswitchError, Revocation, Target
from monitor.core.activity import Doing
from monitor.core.inventory import AgentRecord
from monitor.services import Services
from monitor.web.responses import Problem, json, services


async def get_agents(request: Request) -> Response:
    """List every agent with its model's state, its risk and whether it is revoked."""
    daemon = services(request)
    revocations = await in_force(daemon)
    agents = [
        _fields(daemon, named.agent_id, named.record, _of_agent(revocations, named.agent_id))
        for named in daemon.engine.pipeline.inventory.all()
    ]
    return json({"agents": agents})


async def get_agent(request: Request) -> Response:
    """Show one agent: what the list says, and what it did lately, in which sessions, for whom, and how strange."""
    daemon = services(request)
    agent_id = request.path_params["agent_id"]
    record = daemon.engine.pipeline.inventory.get(agent_id)
    if record is None:
        raise Problem(404, "no such agent was seen, or it was silent for so long that others took its place")
    revocations = await in_force(daemon)
    return json(
        {
            **_fields(daemon, agent_id, record, _of_agent(revocations, agent_id)),
            **_lately(daemon.engine.pipeline.activity.doings(agent_id)),
            "scores": [score._asdict() for score in daemon.engine.pipeline.activity.scores(agent_id)],
            "signals": [signal._asdict() for signal in daemon.engine.pipeline.activity.signals(agent_id)],
        }
    )


async def in_force(daemon: Services) -> dict[Target, Revocation]:
    """Return what is revoked by the store's word; nothing while it does not answer."""
    try:
        snapshot = await asyncio.to_thread(daemon.switch.snapshot)
    except KillswitchError:
        return {}
    now_s = time.time()
    return {target: record for target, record in snapshot.revocations.items() if record.level_at(now_s)}


def _of_agent(revocations: dict[Target, Revocation], agent_id: str) -> Revocation | None:
    try:
        return revocations.get(Target("agent", agent_id))
    except InvalidTarget:
        return None


def _fields(
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
        "target": str(record.target),
        "level": record.level,
        "reason": record.reason,
        "by": record.by,
        "at": record.at_s,
        "expires_at": record.expires_at_s,
    }


def _lately(doings: list[Doing]) -> dict[str, Any]:
    """Return what was seen lately, each kind by itself, the latest first."""
    return {
        "sessions": _latest("session_id", ((doing.session_id, doing.last_ts) for doing in doings)),
        "tools": _latest("tool", ((doing.tool, doing.last_ts) for doing in doings)),
        "humans": _latest("human", ((doing.on_behalf_of[:1], doing.last_ts) for doing in doings)),
        "credentials": _latest("credential", ((doing.credential, doing.last_ts) for doing in doings)),
        "chains": _latest("on_behalf_of", ((doing.on_behalf_of, doing.last_ts) for doing in doings)),
    }


def _latest(name: str, seen: Iterable[tuple[Any, float]]) -> list[dict[str, Any]]:
    latest: dict[Any, float] = {}
    for value, ts in seen:
        if value:
            latest[value] = max(ts, latest.get(value, ts))
    ordered = sorted(latest, key=lambda value: (-latest[value], value))
    shown = [(value[0] if name == "human" else value, latest[value]) for value in ordered]
    return [{name: value, "last_ts": ts} for value, ts in shown]
