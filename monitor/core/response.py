"""The response policy: from a calibrated p-value to what is done. Pure; time is an argument.

A stated budget, not a magic score: the operator says how many false alerts and false kills per agent-day are
acceptable. The detectors turn the alert budget into a threshold for each agent by its own pace. The agent is stopped
once the evidence of one session (`evidence.py`) reaches ln(alert budget / kill budget): one action strange enough
suffices, and several that are merely flagged, for different reasons, add up.

The blast-radius guard holds back automatic kills once `max_automatic_kills` happened within the window: a broken
detector must not take down the fleet. Kills by hand never come through here.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from typing import Any, Literal, NamedTuple

from monitor.config import Response
from monitor.core.alerts import Level, Severity
from monitor.core.evidence import Evidence, Flagged

_SINGLE = "beyond the false-kill budget's threshold"
_ADDED_UP = "the strange actions of this session add up beyond the false-kill budget's threshold"


class Decision(NamedTuple):
    """What one flagged action leads to. `opens_pause` marks the first kill that the guard holds back."""

    wanted: Level
    taken: Level
    severity: Severity
    why: str
    opens_pause: bool = False

    @property
    def kill(self) -> Literal["suspend", "revoke"] | None:
        """How the agent is stopped, if it is."""
        return self.taken if self.taken == "suspend" or self.taken == "revoke" else None


class ResponsePolicy:
    """Decides one flagged action after the other. Remembers the sessions' evidence and when it killed."""

    def __init__(self, config: Response) -> None:
        self._config = config
        self._limit_nats = math.log(config.false_alerts_per_agent_day / config.false_kills_per_agent_day)
        self._evidence = Evidence(config.evidence_window_s)
        self._kills: deque[float] = deque(maxlen=config.max_automatic_kills)
        self._paused = False

    def decide(self, flagged: Flagged, *, may_kill: bool, is_stopped: bool, now_s: float) -> Decision:
        """Return the decision on an action that was flagged.

        Parameters
        ----------
        may_kill
            False while the agent is new or recalibrated after a new version: people are told, nothing is killed.
        is_stopped
            The agent is already suspended or revoked.
        """
        nats = self._evidence.add(flagged)
        if nats < self._limit_nats:
            severity: Severity = "high" if nats >= self._limit_nats / 2 else "medium"
            return self._decision("alert", severity, "strange enough to tell people, not to stop the agent")
        wanted = self._config.kill
        held = self._held_back(may_kill=may_kill, is_stopped=is_stopped)
        if held:
            return self._decision(wanted, "critical", held)
        if self._is_over_blast_radius(now_s):
            opens, self._paused = not self._paused, True
            return Decision(wanted, "alert", "critical", self._blast_reason(), opens)
        self._paused = False
        self._kills.append(now_s)
        return Decision(
            wanted, wanted, "critical", _SINGLE if flagged.nats >= self._limit_nats else _ADDED_UP
        )

    def restored(self, agent_id: str) -> None:
        """Take note that people restored the agent: what its sessions came to is settled."""
        self._evidence.forget(agent_id)

    def withdraw(self, decided_at_s: float) -> None:
        """Do not count a kill that was decided then and not carried out."""
        with contextlib.suppress(ValueError):
            self._kills.remove(decided_at_s)

    def is_paused(self, now_s: float) -> bool:
        """Return whether the blast-radius guard is holding automatic kills back."""
        return self._is_over_blast_radius(now_s)

    def dump(self) -> dict[str, Any]:
        """Return the policy's memory for a checkpoint."""
        return {
            "paused": self._paused,
            "kills": list(self._kills),
            "evidence": self._evidence.dump(),
        }

    def restore(self, dumped: dict[str, Any]) -> None:
        """Take up a memory that `dump` returned."""
        self._paused = dumped["paused"]
        self._kills.clear()
        self._kills.extend(dumped["kills"])
        self._evidence.restore(dumped["evidence"])

    def _decision(self, wanted: Level, severity: Severity, why: str) -> Decision:
        """Return a decision that stops nobody; in mode `observe` not even an alert is raised with people."""
        return Decision(wanted, "none" if self._config.mode == "observe" else "alert", severity, why)

    def _held_back(self, *, may_kill: bool, is_stopped: bool) -> str | None:
        if is_stopped:
            return "the agent is already stopped"
        if self._config.mode != "enforce":
            return f"the mode is {self._config.mode}: automatic kills are off"
        if not may_kill:
            return "the agent's model is new, or being recalibrated after a new version: no automatic kill"
        return None

    def _is_over_blast_radius(self, now_s: float) -> bool:
        oldest_counts = len(self._kills) == self._config.max_automatic_kills
        return oldest_counts and now_s - self._kills[0] < self._config.automatic_kills_window_s

    def _blast_reason(self) -> str:
        limit, window_s = self._config.max_automatic_kills, self._config.automatic_kills_window_s
        return f"held back: {limit} automatic kills within {window_s:g} s; a person has to decide"
