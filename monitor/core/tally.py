"""What one policy came to in a back-test. Pure and bounded."""

from __future__ import annotations

from collections import Counter

import msgspec

from monitor.config import Response
from monitor.core.findings import Counted, Finding, Findings
from monitor.core.minutes import DAY_S
from monitor.intake.observation import Observation
from monitor.log.entries import Judgement

MAX_AGENTS = 200_000
"""Security limit: agents that are told apart; all others are counted under one name."""

OTHERS = "(others)"

MAX_JUDGEABLE = 10_000
"""Security limit: alerts that a later verdict is counted for; the oldest give way."""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How often something happened, beside how often it may."""

    per_agent_day: float
    budget_per_agent_day: float
    allowed: float
    """What the budget comes to in so many agent-days."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy came to; `docs/backtest.md` says what each field means."""

    agents: int
    agent_days: float
    calibrating_first: int
    calibrating: int
    alerts: Counted
    alert_budget: Budget
    alerts_while_stopped: int
    kills: Counted
    kill_budget: Budget
    actions_prevented: int
    held_for_human: Counted
    held_back: dict[str, int]
    blast_radius_pauses: int
    kills_refused: int


class AgentTally:
    """What one agent came to."""

    __slots__ = ("alerts", "first_kill", "holds", "is_scored", "kills", "last_s", "span_s")

    def __init__(self) -> None:
        self.alerts = self.kills = self.holds = 0
        self.first_kill = ""
        self.is_scored = False
        self.last_s = self.span_s = 0.0


class Tally:
    """Counts what happens under one policy.

    An agent-day is a day in which an agent's actions were scored. As in the thresholds that follow from the budgets,
    time between two actions counts up to a day, and an agent's first day counts whole; none counts while it is stopped.
    """

    def __init__(self, examples: int) -> None:
        self.agents: dict[str, AgentTally] = {}
        self.pauses = self.refused = self.while_stopped = 0
        self.held_back: Counter[str] = Counter()
        self._alerts, self._kills, self._holds = (Findings(examples) for _ in range(3))
        self._judgeable: dict[str, Finding] = {}
        self._calibrating = self._calibrating_first = self._prevented = 0
        self._is_any_scored = False

    def action(
        self, action: Observation, p: float, *, is_stopped: bool, prevented_by: Finding | None
    ) -> None:
        """Count an action, which the kill `prevented_by` would have prevented."""
        agent = self._agent(action.agent_id)
        if agent.is_scored and not is_stopped and action.ts_s > agent.last_s:
            agent.span_s += min(action.ts_s - agent.last_s, DAY_S)
        agent.last_s = max(agent.last_s, action.ts_s)
        if p == p:  # not NaN
            agent.is_scored = self._is_any_scored = True
        else:
            self._calibrating += 1
            self._calibrating_first += not self._is_any_scored
        if prevented_by is not None:
            self._prevented += 1
            prevented_by.actions_prevented += 1

    def alert(self, finding: Finding, kind: tuple[str, ...]) -> None:
        """Count an alert about an agent that was free, and what it led to: nothing more, a hold, or a kill."""
        agent = self._agent(finding.agent_id)
        agent.alerts += 1
        self._alerts.add()
        if finding.outcome == "alert":
            self._alerts.show(finding, kind)
        elif finding.outcome == "step_up":
            agent.holds += 1
            self._holds.add()
            self._holds.show_first(finding, (finding.agent_id,))
        else:
            agent.kills += 1
            agent.first_kill = agent.first_kill or finding.ts
            self._kills.add()
            self._kills.show_first(finding, (finding.agent_id,))
        self._remember(finding)

    def judge(self, judgement: Judgement) -> None:
        """Count what people said of an alert that this policy raised too."""
        finding = self._judgeable.pop(judgement.alert_id, None)
        if finding is None:
            return
        finding.verdict = judgement.verdict
        self._alerts.judge(judgement.verdict)
        if finding.outcome == "step_up":
            self._holds.judge(judgement.verdict)
        elif finding.outcome != "alert":
            self._kills.judge(judgement.verdict)

    def totals(self, budget: Response) -> Totals:
        """Return what there was so far."""
        agents = self.agents.values()
        days = sum(max(1.0, agent.span_s / DAY_S) for agent in agents if agent.is_scored)
        alerts = self._alerts.counted(sum(agent.alerts > 0 for agent in agents))
        kills = self._kills.counted(sum(agent.kills > 0 for agent in agents))
        return Totals(
            agents=len(agents),
            agent_days=days,
            calibrating_first=self._calibrating_first,
            calibrating=self._calibrating,
            alerts=alerts,
            alert_budget=_budget(alerts.total, days, budget.false_alerts_per_agent_day),
            alerts_while_stopped=self.while_stopped,
            kills=kills,
            kill_budget=_budget(kills.total, days, budget.false_kills_per_agent_day),
            actions_prevented=self._prevented,
            held_for_human=self._holds.counted(sum(agent.holds > 0 for agent in agents)),
            held_back=dict(self.held_back),
            blast_radius_pauses=self.pauses,
            kills_refused=self.refused,
        )

    def _agent(self, agent_id: str) -> AgentTally:
        known = self.agents.get(agent_id)
        if known is None:
            name = agent_id if len(self.agents) < MAX_AGENTS else OTHERS
            known = self.agents.setdefault(name, AgentTally())
        return known

    def _remember(self, finding: Finding) -> None:
        if len(self._judgeable) >= MAX_JUDGEABLE:
            del self._judgeable[next(iter(self._judgeable))]
        self._judgeable[finding.alert_id] = finding


def _budget(total: int, days: float, per_agent_day: float) -> Budget:
    return Budget(
        per_agent_day=total / days if days else 0.0,
        budget_per_agent_day=per_agent_day,
        allowed=per_agent_day * days,
    )
