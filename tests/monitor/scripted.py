"""A pipeline that flags what it is told to: for tests of what drives one, whatever the detectors make of a stream."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

from detectors import Spill
from killswitch import Change
from monitor.config import Config
from monitor.core.alerts import Alert, Level, ReasonText, ResponseTaken, alert_id, change_id
from monitor.core.pipeline import Outcomes, RevocationRequest
from monitor.intake.observation import Observation

STRANGE = "http_post"
P_STRANGE = 1e-5
NEEDED = 5
"""The fleet's actions that only calibrate, for each of the configured `min_actions`."""


class ScriptedPipeline:
    """Flags every use of one tool until an alert about its agent is dismissed, and kills unless the budget is tiny."""

    def __init__(self, config: Config, *, spill: Spill | None = None) -> None:
        self._response = config.response
        self._needed = NEEDED * config.detection.min_actions
        self._actions = 0
        self._stopped: set[str] = set()
        self._kills: deque[float] = deque(maxlen=self._response.max_automatic_kills)
        self._is_paused = False
        self._alerts: dict[str, str] = {}
        self._dismissed: set[str] = set()

    def step(self, actions: Sequence[Observation], now_s: float, *, first_seq: int = 0) -> Outcomes:
        outcomes = Outcomes._make([] for _ in Outcomes._fields)
        for seq, action in enumerate(actions, first_seq):
            self._actions += 1
            is_ready = self._actions > self._needed
            is_strange = action.tool == STRANGE and action.agent_id not in self._dismissed
            outcomes.p.append((P_STRANGE if is_strange else 0.5) if is_ready else math.nan)
            if is_ready and is_strange:
                self._flag(action, seq, now_s, outcomes)
        return outcomes

    def judge(self, alert: str, verdict: str) -> None:
        if verdict == "dismissed" and alert in self._alerts:
            self._dismissed.add(self._alerts[alert])

    def withdraw(self, change_id: str, target: str, at_s: float) -> None:
        self._stopped.discard(target.removeprefix("agent:"))

    def transition(self, change: Change) -> None:
        if change.new is None or change.new.level == "step_up":
            self._stopped.discard(change.target.value)
        else:
            self._stopped.add(change.target.value)

    def _flag(self, action: Observation, seq: int, now_s: float, outcomes: Outcomes) -> None:
        own_id = alert_id(action.agent_id, action.id)
        self._alerts[own_id] = action.agent_id
        taken, why = self._decide(action.agent_id, now_s)
        outcomes.alerts.append(self._alert(own_id, action, seq, taken, why))
        if why == "too many" and not self._is_paused:
            self._is_paused = True
            pause = self._alert(f"pause-{own_id}", action, seq, "alert", why, "blast_radius")
            outcomes.alerts.append(pause)
        if taken in ("suspend", "revoke"):
            self._kills.append(now_s)
            self._stopped.add(action.agent_id)
            ends_s = now_s + self._response.suspend_s if taken == "suspend" else None
            target, evidence = f"agent:{action.agent_id}", (own_id, action.id)
            outcomes.requests.append(
                RevocationRequest(change_id(own_id), target, taken, "strange", now_s, ends_s, evidence)
            )

    def _decide(self, agent_id: str, now_s: float) -> tuple[Level, str]:
        if agent_id in self._stopped:
            return "alert", "stopped"
        if self._response.mode != "enforce":
            return "alert", "not enforced"
        if self._response.false_kills_per_agent_day < 1e-6:
            return "none", "not strange enough"
        is_full = len(self._kills) == self._kills.maxlen
        if is_full and now_s - self._kills[0] < self._response.automatic_kills_window_s:
            return "alert", "too many"
        return self._response.kill, "strange enough"

    def _alert(
        self,
        own_id: str,
        action: Observation,
        seq: int,
        taken: Level,
        why: str,
        verdict: str = "anomalous",
    ) -> Alert:
        is_kill = taken in ("suspend", "revoke")
        return Alert(
            id=own_id,
            ts=datetime.fromtimestamp(action.ts_s, UTC).isoformat().replace("+00:00", "Z"),
            agent_id=action.agent_id,
            session_id=action.session_id,
            tool=action.tool,
            action_id=action.id,
            action_seq=seq,
            verdict="blast_radius" if verdict == "blast_radius" else "anomalous",
            severity="critical",
            p=P_STRANGE,
            threshold_p=1e-3,
            title="strange",
            reasons=(ReasonText("novelty", "x", "y", P_STRANGE, "strange"),),
            response=ResponseTaken(
                self._response.mode,
                "none" if taken == "none" else self._response.kill,
                "alert" if taken == "none" else taken,
                why,
                change_id(own_id) if is_kill else None,
            ),
        )
