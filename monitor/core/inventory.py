"""What is known of each agent: when it was seen, what it last did, how strange it has been. Pure and bounded."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, NamedTuple

from monitor.core.room import forget_silent
from monitor.intake.observation import Observation

RECENT_SCORES = 60
RISK_HALF_LIFE_S = 600.0
"""Risk falls by half in ten minutes without strange actions: long enough to be seen, short enough to be of now."""

LEAST_P = 1e-300
_log10 = math.log10


class AgentRecord:
    """One agent, as the operator's grid shows it. Strangeness is −log10 p."""

    __slots__ = (
        "actions",
        "alerts",
        "first_ts",
        "last_tool",
        "last_ts",
        "recent",
        "risk",
        "risk_at_s",
        "version",
    )

    def __init__(self, first_ts: float) -> None:
        self.version: str | None = None
        self.actions = 0
        self.alerts = 0
        self.first_ts = first_ts
        self.last_ts = first_ts
        self.last_tool = ""
        self.risk = 0.0
        self.risk_at_s = 0.0
        self.recent: deque[float] = deque(maxlen=RECENT_SCORES)

    def risk_at(self, now_s: float) -> float:
        """Return the recent worst strangeness, faded by the time since then."""
        since_s = now_s - self.risk_at_s
        return self.risk if since_s <= 0 else float(self.risk * 0.5 ** (since_s / RISK_HALF_LIFE_S))


class Named(NamedTuple):
    """An agent's record with its id."""

    agent_id: str
    record: AgentRecord


class Inventory:
    """The agents seen, at most `max_agents`; beyond that the 1/64 that was silent longest gives way together."""

    def __init__(self, max_agents: int) -> None:
        self._max = max_agents
        self._agents: dict[str, AgentRecord] = {}

    def __len__(self) -> int:
        return len(self._agents)

    def note(self, action: Observation, p: float, now_s: float) -> AgentRecord:
        """Count one action with its p-value (NaN while the model is being calibrated).

        Risk goes by our own clock `now_s`: an agent with a clock of its own must not hide anybody's.
        """
        record = self._agents.get(action.agent_id) or self._add(action)
        record.actions += 1
        record.version = action.agent_version
        if action.ts_s > record.last_ts:
            record.last_ts = action.ts_s
        record.last_tool = action.tool
        if p == p:  # not NaN
            strangeness = -_log10(p if p > LEAST_P else LEAST_P)
            record.recent.append(int(strangeness * 100 + 0.5) / 100)  # half the time of `round`
            if strangeness >= record.risk or strangeness >= record.risk_at(now_s):
                record.risk, record.risk_at_s = strangeness, now_s
        return record

    def note_alert(self, agent_id: str) -> None:
        """Count an alert about an agent that was noted before."""
        self._agents[agent_id].alerts += 1

    def get(self, agent_id: str) -> AgentRecord | None:
        """Return the agent's record, if it was ever seen."""
        return self._agents.get(agent_id)

    def all(self) -> list[Named]:
        """Return every agent, in the order in which they were first seen."""
        return [Named(agent_id, record) for agent_id, record in self._agents.items()]

    def dump(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {
            agent_id: [
                getattr(r, name) if name != "recent" else list(r.recent) for name in AgentRecord.__slots__
            ]
            for agent_id, r in self._agents.items()
        }

    def restore(self, dumped: dict[str, Any]) -> None:
        """Take up what `dump` returned."""
        self._agents = {}
        for agent_id, values in dumped.items():
            record = self._agents[agent_id] = AgentRecord(0.0)
            for name, value in zip(AgentRecord.__slots__, values, strict=True):
                setattr(record, name, deque(value, maxlen=RECENT_SCORES) if name == "recent" else value)

    def _add(self, action: Observation) -> AgentRecord:
        if len(self._agents) >= self._max:
            forget_silent(self._agents, _last_ts)
        record = self._agents[action.agent_id] = AgentRecord(action.ts_s)
        return record


def _last_ts(record: AgentRecord) -> float:
    return record.last_ts
