"""What the flagged actions of one session add up to. Pure and bounded.

How far a flagged action lies below the threshold that its alert budget gave it, ln(threshold / p), is its *evidence*,
in nats. Evidence of different *reasons* adds up. That costs a budget next to nothing: at 1,000 actions a day and the
default budgets a session of 50 actions holds two flagged ones once in 80,000 times, and these reach the limit of ln 100
(the evidence of each is exponential) 6 times in 100.

Oddities of a normal agent are not independent, though: they come in clusters, a retry storm, a new tool used again and
again, all strange for one and the same reason. So the n-th action with the same reason counts an n-th of its evidence:
ten mild ones stay below three times the first, while a session that goes on being very strange gets there. The weights
are ours, chosen on simulated fleets; `docs/decisions/0004-response.md` has the figures.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

MAX_SESSIONS = 10_000
"""Security limit: sessions with flagged actions that are remembered; the one flagged longest ago gives way."""

MAX_REASONS = 32
"""Security limit: different reasons that are added up in one session."""


class Flagged(NamedTuple):
    """A flagged action: its calibrated p-value, and the threshold that the alert budget gave it (p ≤ alert_p)."""

    agent_id: str
    session_id: str | None
    ts_s: float
    p: float
    alert_p: float
    reason: str
    """What is strangest about it: anything that the actions of one new habit have in common."""

    @property
    def nats(self) -> float:
        """Its own evidence, at least 0."""
        return math.log(max(1.0, self.alert_p / max(self.p, 1e-300)))


class _Reason(NamedTuple):
    nats: float = 0.0
    actions: int = 0


class _Session(NamedTuple):
    reasons: dict[str, _Reason]
    at_s: float


class Evidence:
    """Adds up, session by session; forgets a session in which nothing was flagged for `window_s`."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._sessions: dict[tuple[str, str], _Session] = {}

    def add(self, flagged: Flagged) -> float:
        """Return what the action's session comes to with it, in nats; an action without a session stands alone."""
        if flagged.session_id is None:
            return _weigh(_Reason(), flagged).nats
        key = (flagged.agent_id, flagged.session_id)
        reasons, at_s = self._sessions.pop(
            key, _Session({}, 0.0)
        )  # put back below: in the order of the last flag
        if flagged.ts_s - at_s > self._window_s:
            reasons = {}
        if flagged.reason in reasons or len(reasons) < MAX_REASONS:
            reasons[flagged.reason] = _weigh(reasons.get(flagged.reason, _Reason()), flagged)
        if len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[key] = _Session(reasons, flagged.ts_s)
        return math.fsum(reason.nats for reason in reasons.values())

    def forget(self, agent_id: str) -> None:
        """Drop what an agent's sessions came to: people restored it, and a next mild oddity must not stop it."""
        self._sessions = {key: session for key, session in self._sessions.items() if key[0] != agent_id}

    def dump(self) -> list[Any]:
        """Return plain values for a checkpoint."""
        return [
            [*key, {name: list(reason) for name, reason in session.reasons.items()}, session.at_s]
            for key, session in self._sessions.items()
        ]

    def restore(self, dumped: list[Any]) -> None:
        """Take up what `dump` returned."""
        self._sessions = {
            (agent, name): _Session({reason: _Reason(*values) for reason, values in reasons.items()}, at_s)
            for agent, name, reasons, at_s in dumped
        }


def _weigh(known: _Reason, flagged: Flagged) -> _Reason:
    actions = known.actions + 1
    return _Reason(known.nats + flagged.nats / actions, actions)
