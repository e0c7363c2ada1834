"""The pure core: a batch of actions and a clock value go in, outcomes come out, nothing else happens.

Every engine (embedded, Faust, replay, back-test, benchmarks) drives this one function, and none is known here. The same
entries in the same order give the same outcomes, bit for bit, however they are cut into batches; so recovery is replay.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from detectors import (
    CHANGES,
    STATES,
    Bank,
    Calibration,
    Scores,
    Settings,
    Spill,
    Weights,
    change_reason,
    explain,
    runaway_reason,
)
from killswitch import Change, Level
from monitor.config import Config
from monitor.core.activity import Activity
from monitor.core.alerts import (
    Alert,
    ReasonText,
    Severity,
    Verdict,
    change_id,
    plain_alert,
    told_only,
)
from monitor.core.anomaly import anomaly_alert, blast_radius_alert, reason_text
from monitor.core.attribution import NO_REGISTRY, Attribution, Registry
from monitor.core.evidence import Flagged
from monitor.core.inventory import Inventory
from monitor.core.malfunction import Malfunctions
from monitor.core.quarantine import Held, Quarantine
from monitor.core.response import ResponsePolicy
from monitor.core.river_columns import RiverColumns
from monitor.core.words import Words, subject
from monitor.intake.observation import Observation

WEAK = 0.25
"""How much an unjudged action teaches, against 1 for a normal one (`detection.md`: late and weakly)."""

MAX_REASON_CHARS = 500
"""Far below what the kill switch refuses: whatever an agent writes into an action must not make its kill invalid."""


class RevocationRequest(NamedTuple):
    """An automatic kill that the policy asks for. The store applies a `change_id` once, so asking twice is harmless."""

    change_id: str
    target: str
    level: Level
    reason: str
    at_s: float
    expires_at_s: float | None
    evidence: tuple[str, ...]


class Outcomes(NamedTuple):
    """What a batch led to, in order.

    `p` has one value an action, NaN while its agent's model is calibrating; `evidence` too, nats from 0.
    """

    alerts: list[Alert]
    requests: list[RevocationRequest]
    p: list[float]
    evidence: list[float]


class Pipeline:
    """Scores actions with one online model an agent and decides what is done about the strange ones.

    Parameters
    ----------
    config
        What the operator chose.
    prior
        Weights of the detectors' signals; those that are shipped by default.
    spill
        Keeps the models of idle agents beyond `detection.max_agents`; without one they are forgotten. What it holds is
        not part of `dump`, and whoever restores a pipeline restores it too.
    registry
        What owners declared of their agents; without one nothing is known. Not part of `dump` either.
    """

    def __init__(
        self,
        config: Config,
        prior: Weights | None = None,
        *,
        spill: Spill | None = None,
        registry: Registry = NO_REGISTRY,
    ) -> None:
        detection, response = config.detection, config.response
        self._config = response
        self._settings = Settings(
            min_actions=detection.min_actions,
            fleet_min_actions=detection.fleet_min_actions,
            alerts_per_agent_day=response.false_alerts_per_agent_day,
            externals=len(detection.river),
        )
        self._prior = prior
        self._spill = spill
        self._bank = Bank(self._settings, max_agents=detection.max_agents, spill=spill, prior=prior)
        self._policy = ResponsePolicy(response)
        self._quarantine = Quarantine(detection.max_unjudged, detection.unjudged_after_s)
        self._river = RiverColumns(detection.river)
        self._words = Words()
        self._malfunctions = Malfunctions(detection.loop_calls, detection.error_streak)
        self._stopped: dict[str, str] = {}  # agent → change that stopped it, asked for or in force
        self.inventory = Inventory(detection.max_agents)
        self.activity = Activity()
        self.attribution = Attribution(registry, detection.max_agents)

    # -- what comes in ------------------------------------------------------------------------------------------

    def step(self, actions: Sequence[Observation], now_s: float, *, first_seq: int = 0) -> Outcomes:
        """Score the actions in order, learn from those that are not strange, and decide about those that are.

        Parameters
        ----------
        now_s
            The clock for everything but the models, which go by each action's own `ts_s`.
        first_seq
            Sequence number of the first action; alerts name theirs.
        """
        self._teach_unjudged(now_s)
        outcomes = Outcomes([], [], [], [])
        # A detector of River's must learn an action before it scores the next one of the same agent.
        stride = 1 if self._river else max(1, len(actions))
        for start in range(0, len(actions), stride):
            self._step(actions[start : start + stride], now_s, first_seq + start, outcomes)
        return outcomes

    def judge(self, alert: str, verdict: str) -> None:
        """Take a person's verdict on an alert: `dismissed` teaches the model now, `confirmed` never does."""
        held = self._quarantine.release(alert)
        if not held:
            return
        self._bank.learn([_number(held.agent_id)], [held.features], 1.0 if verdict == "dismissed" else 0.0)
        if verdict == "dismissed":
            self._river.learn(held.agent_id, held.features)

    def awaits_verdict(self, alert: str) -> bool:
        """Return whether the alert's action still waits for what people say of it."""
        return alert in self._quarantine

    def withdraw(self, change_id: str, target: str, at_s: float) -> None:
        """Take note that a kill decided at `at_s` will not be carried out: its agent is not stopped."""
        agent_id = target.removeprefix("agent:")
        if self._stopped.get(agent_id) == change_id:
            del self._stopped[agent_id]
            self._policy.withdraw(at_s)

    def transition(self, change: Change) -> None:
        """Take note of what was stopped or restored: a stopped agent teaches nothing and is not killed twice."""
        self.attribution.transition(change)
        if change.target.kind != "agent":
            return
        if change.new is None or change.new.level == "step_up":
            self._stopped.pop(change.target.value, None)
            self._policy.restored(change.target.value)
        else:
            self._stopped[change.target.value] = change.change_id

    # -- what is asked of it ------------------------------------------------------------------------------------

    def calibration(self, agent_id: str) -> Calibration:
        """Return how far the agent's model is: state, actions seen, actions needed."""
        return self._bank.calibration(_number(agent_id))

    def count_calibrated(self) -> int:
        """Return how many agents in memory have a calibrated model; milliseconds for 100,000."""
        return self._bank.count_calibrated()

    def is_paused(self, now_s: float) -> bool:
        """Return whether the blast-radius guard holds automatic kills back."""
        return self._policy.is_paused(now_s)

    @property
    def bytes_per_agent(self) -> int:
        """Memory of one agent's model, in bytes."""
        return self._bank.bytes_per_agent

    def dump(self) -> dict[str, Any]:
        """Return the whole state for a checkpoint; what follows from it is what would have followed here."""
        return {
            "bank": self._bank.dump(),
            "policy": self._policy.dump(),
            "quarantine": self._quarantine.dump(),
            "stopped": dict(self._stopped),
            "inventory": self.inventory.dump(),
            "activity": self.activity.dump(),
            "words": self._words.dump(),
            "malfunctions": self._malfunctions.dump(),
            "attribution": self.attribution.dump(),
            "river": self._river.dump(),
        }

    def restore(self, dumped: dict[str, Any]) -> None:
        """Take up a state that `dump` returned: the models go on under this configuration.

        Raises
        ------
        Exception
            Of almost any kind, if the state is of another version. Use another pipeline then.
        """
        self._bank = Bank.restore(self._settings, dumped["bank"], spill=self._spill, prior=self._prior)
        self._policy.restore(dumped["policy"])
        self._quarantine.restore(dumped["quarantine"])
        self._stopped = dict(dumped["stopped"])
        self.inventory.restore(dumped["inventory"])
        self.activity.restore(dumped["activity"])
        self._words.restore(dumped["words"])
        self._malfunctions.restore(dumped["malfunctions"])
        self.attribution.restore(dumped["attribution"])
        self._river.restore(dumped["river"])

    # -- one batch ----------------------------------------------------------------------------------------------

    def _step(self, actions: Sequence[Observation], now_s: float, first_seq: int, outcomes: Outcomes) -> None:
        agents = [_number(action.agent_id) for action in actions]
        features = [action.features for action in actions]
        teach = np.array([action.agent_id not in self._stopped for action in actions], np.bool_)
        external = self._river.score(actions) if self._river else None
        noted = 0

        def note(scores: Scores, end: int) -> None:
            nonlocal noted
            found = zip(
                range(noted, end),
                scores.p[noted:end].tolist(),
                scores.threshold_p[noted:end].tolist(),
                strict=True,
            )
            for i, p, threshold_p in found:
                action = actions[i]
                self._words.note(action)
                self.inventory.note(action, p, now_s)
                self.activity.note(action, first_seq + i, p, threshold_p, now_s)
                outcomes.p.append(p)
                finding = self._malfunctions.note(action)
                if finding:
                    reason = ReasonText(
                        finding.kind, str(finding.times), "fewer", 1.0, f"{finding.sentence}."
                    )
                    self._tell(action, first_seq + i, "malfunction", "low", reason, outcomes)
                for broken in self.attribution.note(action, now_s):
                    self._tell(action, first_seq + i, "attribution", broken.severity, broken.reason, outcomes)
            outcomes.evidence.extend(scores.fused[noted:end].tolist())
            noted = end

        def on_flag(i: int, scores: Scores) -> None:
            note(scores, i + 1)
            if scores.runaway[i]:
                about = runaway_reason(scores, i, subject(actions[i], self._words, self._river.names))
                self._tell(actions[i], first_seq + i, "malfunction", "low", reason_text(about), outcomes)
            if CHANGES[scores.change[i]] not in ("", "changed"):  # that one is seen by the recalibration
                reason = reason_text(change_reason(scores, i))
                self._tell(actions[i], first_seq + i, "drift", "low", reason, outcomes)
            if not scores.flagged[i]:
                return
            self._alert(actions[i], scores, i, now_s, first_seq + i, outcomes)
            if actions[i].agent_id in self._stopped:  # maybe just now: the rest of the batch teaches nothing
                teach[[action.agent_id == actions[i].agent_id for action in actions]] = False

        scores = self._bank.step(agents, features, teach=teach, external=external, on_flag=on_flag)
        note(scores, len(actions))
        if self._river and teach[0] and not scores.flagged[0]:  # one action a pass, see `step`
            self._river.learn(actions[0].agent_id, actions[0].features)

    def _alert(
        self,
        action: Observation,
        scores: Scores,
        i: int,
        now_s: float,
        seq: int,
        outcomes: Outcomes,
    ) -> None:
        self.inventory.note_alert(action.agent_id)
        p, alert_p = float(scores.p[i]), float(scores.threshold_p[i])
        reasons = explain(
            scores, i, action.features, subject(action, self._words, self._river.names), self._prior
        )
        reason = f"{reasons[0].signal} of {action.tool}"
        decision = self._policy.decide(
            Flagged(action.agent_id, action.session_id, action.ts_s, p, alert_p, reason),
            may_kill=STATES[scores.state[i]] == "calibrated",
            is_stopped=action.agent_id in self._stopped,
            now_s=now_s,
        )
        texts = tuple(map(reason_text, reasons))
        alert = anomaly_alert(action, seq, decision, self._config.mode, texts, scores, i)
        self.activity.note_alert(alert)
        self._quarantine.hold(alert.id, Held(now_s, action.agent_id, action.features))
        outcomes.alerts.append(alert)
        if decision.opens_pause:
            outcomes.alerts.append(blast_radius_alert(action, seq, decision, self._config.mode))
        if decision.kill:
            request = self._request(action, alert, decision.kill, now_s)
            self._stopped[action.agent_id] = request.change_id
            outcomes.requests.append(request)

    def _tell(
        self,
        action: Observation,
        seq: int,
        verdict: Verdict,
        severity: Severity,
        reason: ReasonText,
        outcomes: Outcomes,
    ) -> None:
        """Tell people of what is strange in another way than a score can say; nothing is stopped for that."""
        self.inventory.note_alert(action.agent_id)
        taken = told_only(verdict, self._config.mode)
        alert = plain_alert(
            action, seq, verdict, severity, reason.sentence, taken, (reason,), kind=reason.signal
        )
        self.activity.note_alert(alert)
        outcomes.alerts.append(alert)

    def _request(self, action: Observation, alert: Alert, level: Level, now_s: float) -> RevocationRequest:
        expires_at_s = now_s + self._config.suspend_s if level == "suspend" else None
        return RevocationRequest(
            change_id=change_id(alert.id),
            target=f"agent:{action.agent_id}",
            level=level,
            reason=f"{alert.title[:MAX_REASON_CHARS]} (p = {alert.p:.1g})",
            at_s=now_s,
            expires_at_s=expires_at_s,
            evidence=(alert.id, action.id),
        )

    def _teach_unjudged(self, now_s: float) -> None:
        for held in self._quarantine.unjudged(now_s):
            weight = 0.0 if held.agent_id in self._stopped else WEAK
            self._bank.learn([_number(held.agent_id)], [held.features], weight)


@functools.lru_cache(maxsize=200_000)
def _number(agent_id: str) -> int:
    """Return the stable 64-bit number by which the bank knows an agent."""
    return int.from_bytes(hashlib.blake2b(agent_id.encode(), digest_size=8).digest(), "little")
