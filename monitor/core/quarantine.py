"""Flagged actions that wait for a verdict before they may teach their agent's model (architecture §4).

Dismissed, an action teaches; confirmed, it never does; unjudged, it teaches late and weakly. Measured on real traces:
learning undetected attacks costs a third of the recall, withholding everything flagged costs more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from detectors import Features


class Held(NamedTuple):
    """One flagged action in its numeric form, and since when it waits."""

    since_s: float
    agent_id: str
    features: Features


class Quarantine:
    """At most `capacity` actions, by alert id; beyond that the one that waited longest is forgotten, untaught."""

    def __init__(self, capacity: int, unjudged_after_s: float) -> None:
        self._capacity = capacity
        self._unjudged_after_s = unjudged_after_s
        self._held: dict[str, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, alert_id: str) -> bool:
        return alert_id in self._held

    def hold(self, alert_id: str, held: Held) -> None:
        """Keep the action until it is judged or its time has passed."""
        if len(self._held) >= self._capacity:
            del self._held[next(iter(self._held))]
        self._held[alert_id] = held

    def release(self, alert_id: str) -> Held | None:
        """Take the action out because a verdict came; None if it no longer waits."""
        return self._held.pop(alert_id, None)

    def unjudged(self, now_s: float) -> Iterator[Held]:
        """Take out, oldest first, every action that has waited long enough."""
        while self._held:
            alert_id, held = next(iter(self._held.items()))
            if now_s - held.since_s < self._unjudged_after_s:
                return
            del self._held[alert_id]
            yield held

    def dump(self) -> list[Any]:
        """Return plain values for a checkpoint."""
        return [[alert_id, *held] for alert_id, held in self._held.items()]

    def restore(self, dumped: list[Any]) -> None:
        """Take up what `dump` returned."""
        self._held = {}
        for alert_id, since_s, agent_id, features in dumped:
            self._held[alert_id] = Held(since_s, agent_id, msgspec.convert(features, Features))
