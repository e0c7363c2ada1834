"""What an operator may set about the models, validated once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from detectors.layout import MAX_EXTERNALS, UNIT
from detectors.scoring import Rules


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may set about the models.

    Parameters
    ----------
    min_actions
        Actions that an agent must have taught before it counts as calibrated; ≥ 20. Until then it borrows its
        peers' calibration.
    fleet_min_actions
        Actions of all agents together before anything can be flagged; ≥ 200.
    alerts_per_agent_day
        False alerts that the operator accepts per agent and day, > 0. An action is flagged when its p-value
        is at most this number divided by the agent's actions per day.
    max_p
        However rarely an agent acts, nothing is flagged above this p-value; in (0, 0.1].
    externals
        Columns of foreign detectors' scores that take part, 0 to 3.

    Raises
    ------
    ValueError
        If a value is out of range; the message names it.

    """

    min_actions: int = 200
    fleet_min_actions: int = 1000
    alerts_per_agent_day: float = 0.1
    max_p: float = 0.01
    externals: int = 0

    def __post_init__(self) -> None:
        if self.min_actions < 20:
            raise ValueError("min_actions must be at least 20: fewer cannot tell habit from chance")
        if self.fleet_min_actions < 200:
            raise ValueError(
                "fleet_min_actions must be at least 200: the tail is fitted to its highest scores"
            )
        if not (self.alerts_per_agent_day > 0.0 and math.isfinite(self.alerts_per_agent_day)):
            raise ValueError("alerts_per_agent_day must be above 0")
        if not 0.0 < self.max_p <= 0.1:
            raise ValueError("max_p must be above 0 and at most 0.1")
        if not 0 <= self.externals <= MAX_EXTERNALS:
            raise ValueError(f"externals must be 0 to {MAX_EXTERNALS}: an agent's memory is bounded")

    def rules(self) -> Rules:
        """Return the settings in the kernel's units."""
        return Rules(
            min_actions=self.min_actions,
            recalibration=max(1, self.min_actions // 4),
            fleet_half=self.fleet_min_actions * UNIT // 2,
            alerts_per_agent_day=float(self.alerts_per_agent_day),
            max_p=float(self.max_p),
        )
