"""Alerts and kills of a back-test: counted by what people said of them, a few kept as examples. Pure and bounded."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

from monitor.core.alerts import Alert

Outcome = Literal["alert", "step_up", "suspend", "revoke"]


class Finding(msgspec.Struct, kw_only=True):
    """One alert, with what it would have led to."""

    agent_id: str
    ts: str
    session_id: str | None
    tool: str
    sentence: str
    p: float | None
    outcome: Outcome
    why: str
    alert_id: str
    action_id: str
    actions_prevented: int = 0
    verdict: str = ""
    """What people said of this alert in the history: `confirmed`, `dismissed`, or nothing."""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """All findings of one outcome. `examples` are in the order of time."""

    total: int
    agents: int
    confirmed: int
    dismissed: int
    examples: list[Finding]


def finding_of(alert: Alert, outcome: Outcome) -> Finding:
    """Return the alert in short."""
    return Finding(
        agent_id=alert.agent_id,
        ts=alert.ts,
        session_id=alert.session_id,
        tool=alert.tool,
        sentence=alert.title,
        p=alert.p,
        outcome=outcome,
        why=alert.response.why,
        alert_id=alert.id,
        action_id=alert.action_id,
    )


def kind_of(alert: Alert) -> tuple[str, ...]:
    """Return what the alerts of one oddity have in common: whoever looks for examples wants one of each."""
    return (alert.agent_id, alert.tool, *(reason.signal for reason in alert.reasons[:1]))


class Findings:
    """Counts findings; keeps as examples, of each kind the strangest, the strangest kinds."""

    def __init__(self, examples: int) -> None:
        self._limit = examples
        self._examples: dict[tuple[str, ...], Finding] = {}
        self._verdicts: Counter[str] = Counter()
        self._total = 0

    def add(self) -> None:
        """Count a finding."""
        self._total += 1

    def show(self, finding: Finding, kind: tuple[str, ...]) -> None:
        """Keep it as example, if it is strange enough."""
        known = self._examples.get(kind)
        if known is None or _p(finding) < _p(known):
            self._examples[kind] = finding
        if len(self._examples) > self._limit:
            del self._examples[max(self._examples, key=lambda name: _p(self._examples[name]))]

    def show_first(self, finding: Finding, kind: tuple[str, ...]) -> None:
        """Keep it as example if it is the first of its kind and there is room."""
        if len(self._examples) < self._limit:
            self._examples.setdefault(kind, finding)

    def judge(self, verdict: str) -> None:
        """Count what people said of one of the findings."""
        self._verdicts[verdict] += 1

    def counted(self, agents: int) -> Counted:
        """Return what there was; about so many different agents."""
        return Counted(
            total=self._total,
            agents=agents,
            confirmed=self._verdicts["confirmed"],
            dismissed=self._verdicts["dismissed"],
            examples=sorted(self._examples.values(), key=lambda finding: finding.ts),
        )


def _p(finding: Finding) -> float:
    return 1.0 if finding.p is None else finding.p
