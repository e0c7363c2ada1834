"""Where two policies part over the same history: agents killed, and alerts raised, by only one of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from monitor.core.findings import Finding
from monitor.core.tally import MAX_AGENTS, OTHERS, AgentTally, Tally


class AgentDifference(msgspec.Struct, frozen=True, kw_only=True):
    """What the two policies, A and B, made of one agent. Times are those of the first kill, empty without one."""

    agent_id: str
    kills_a: int
    kills_b: int
    first_kill_a: str
    first_kill_b: str
    alerts_only_a: int
    alerts_only_b: int
    alerts_both: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What only one of two policies did. `agents` lists those that they treated differently, kills first."""

    killed_only_a: list[str]
    killed_only_b: list[str]
    killed_both: list[str]
    alerts_only_a: int
    alerts_only_b: int
    alerts_both: int
    agents: list[AgentDifference]


class Differences:
    """Compares alerts as they come: those of the same action are the same."""

    def __init__(self) -> None:
        self._agents: dict[str, list[int]] = {}

    def note(self, of_a: list[Finding], of_b: list[Finding]) -> None:
        """Take the alerts that the two policies raised in the same step of the history."""
        if not of_a and not of_b:
            return
        in_a, in_b = ({finding.alert_id for finding in found} for found in (of_a, of_b))
        for finding in of_a:
            self._count(finding.agent_id, 2 if finding.alert_id in in_b else 0)
        for finding in of_b:
            if finding.alert_id not in in_a:
                self._count(finding.agent_id, 1)

    def between(self, a: Tally, b: Tally) -> Difference:
        """Return the difference, now that the history is over."""
        agents = [self._agent(name, a, b) for name in dict.fromkeys((*self._agents, *a.agents, *b.agents))]
        return Difference(
            killed_only_a=_names(agent for agent in agents if agent.kills_a and not agent.kills_b),
            killed_only_b=_names(agent for agent in agents if agent.kills_b and not agent.kills_a),
            killed_both=_names(agent for agent in agents if agent.kills_a and agent.kills_b),
            alerts_only_a=sum(agent.alerts_only_a for agent in agents),
            alerts_only_b=sum(agent.alerts_only_b for agent in agents),
            alerts_both=sum(agent.alerts_both for agent in agents),
            agents=sorted((agent for agent in agents if _is_different(agent)), key=_importance),
        )

    def _count(self, agent_id: str, column: int) -> None:
        known = self._agents.get(agent_id)
        if known is None:
            name = agent_id if len(self._agents) < MAX_AGENTS else OTHERS
            known = self._agents.setdefault(name, [0, 0, 0])
        known[column] += 1

    def _agent(self, agent_id: str, a: Tally, b: Tally) -> AgentDifference:
        only_a, only_b, both = self._agents.get(agent_id, (0, 0, 0))
        of_a, of_b = (tally.agents.get(agent_id, AgentTally()) for tally in (a, b))
        return AgentDifference(
            agent_id=agent_id,
            kills_a=of_a.kills,
            kills_b=of_b.kills,
            first_kill_a=of_a.first_kill,
            first_kill_b=of_b.first_kill,
            alerts_only_a=only_a,
            alerts_only_b=only_b,
            alerts_both=both,
        )


def _is_different(agent: AgentDifference) -> bool:
    kills = (agent.kills_a, agent.first_kill_a) != (agent.kills_b, agent.first_kill_b)
    return kills or agent.alerts_only_a > 0 or agent.alerts_only_b > 0


def _importance(agent: AgentDifference) -> tuple[bool, int, str]:
    is_killed_by_one = bool(agent.kills_a) != bool(agent.kills_b)
    return not is_killed_by_one, -agent.alerts_only_a - agent.alerts_only_b, agent.agent_id


def _names(agents: Iterable[AgentDifference]) -> list[str]:
    return sorted(agent.agent_id for agent in agents)
