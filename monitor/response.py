"""The response policy: from a calibrated p-value to what is done. Pure; time is an argument.

A stated budget, not a magic score: the operator says how many false alerts and false kills per agent-day are
acceptable. The detectors turn the alert budget into a threshold for each agent by its own pace; the kill threshold
stands below it in the proportion of the two budgets.

The blast-radius guard holds back automatic kills once `max_automatic_kills` happened within the window: a broken
detector must not take down the fleet. Kills by hand never come through here.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

from monitor.alerts import Level, Severity
from monitor.config import Response


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
    """Decides one flagged action after the other; its only memory is when automatic kills happened."""

    def __init__(self, config: Response) -> None:
        self._config = config
        self._kill_share = config.false_kills_per_agent_day / config.false_alerts_per_agent_day
        self._kills: deque[float] = deque(maxlen=config.max_automatic_kills)
        self._paused = False

    def decide(self, *, p: float, alert_p: float, may_kill: bool, is_stopped: bool, now_s: float) -> Decision:
        """Return the decision on an action that was flagged.

        Parameters
        ----------
        p, alert_p
            The action's p-value and the threshold below which it was flagged.
        may_kill
            False while the agent's model is being recalibrated after a new version: people are told, nothing is killed.
        is_stopped
            The agent is already suspended or revoked.
        """
        if p > alert_p * self._kill_share:
            severity: Severity = "high" if p <= alert_p / 10 else "medium"
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
        return Decision(wanted, wanted, "critical", "beyond the false-kill budget's threshold")

    def is_paused(self, now_s: float) -> bool:
        """Return whether the blast-radius guard is holding automatic kills back."""
        return self._is_over_blast_radius(now_s)

    def dump(self) -> list[float]:
        """Return the policy's memory for a checkpoint."""
        return [float(self._paused), *self._kills]

    def restore(self, dumped: list[float]) -> None:
        """Take up a memory that `dump` returned."""
        self._paused = bool(dumped[0])
        self._kills.clear()
        self._kills.extend(dumped[1:])

    def _decision(self, wanted: Level, severity: Severity, why: str) -> Decision:
        """Return a decision that stops nobody; in mode `observe` not even an alert is raised with people."""
        return Decision(wanted, "none" if self._config.mode == "observe" else "alert", severity, why)

    def _held_back(self, *, may_kill: bool, is_stopped: bool) -> str | None:
        if is_stopped:
            return "the agent is already stopped"
        if self._config.mode != "enforce":
            return f"the mode is {self._config.mode}: automatic kills are off"
        if not may_kill:
            return "the agent's version changed and its model is being recalibrated: no automatic kill"
        return None

    def _is_over_blast_radius(self, now_s: float) -> bool:
        oldest_counts = len(self._kills) == self._config.max_automatic_kills
        return oldest_counts and now_s - self._kills[0] < self._config.automatic_kills_window_s

    def _blast_reason(self) -> str:
        limit, window_s = self._config.max_automatic_kills, self._config.automatic_kills_window_s
        return f"held back: {limit} automatic kills within {window_s:g} s; a person has to decide"
