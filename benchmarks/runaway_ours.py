"""Our pipeline before agents that run away, driven as the daemon drives it."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

from benchmarks.detect_ours import Sensor
from benchmarks.runaway_streams import Event
from monitor.config import parse_config
from monitor.core.pipeline import Pipeline


class Ours:
    """Tells for each action the kind of the malfunction alert about it, the signal of its first reason.

    Parameters
    ----------
    config
        The text of the configuration; the default one if empty.
    """

    def __init__(self, config: str = "") -> None:
        self._config = config
        self._pipeline = Pipeline(parse_config(config))
        self._sensor = Sensor("declared")
        self._taken = 0

    def take(self, events: Sequence[Event]) -> list[str]:
        """Put a batch before the pipeline; its clock is the time of the last action."""
        first = self._taken
        self._taken += len(events)
        actions = [
            self._sensor.observe({**event.action, "ts": event.ts_s, "id": str(first + number)})
            for number, event in enumerate(events)
        ]
        outcomes = self._pipeline.step(actions, events[-1].ts_s, first_seq=first)
        kinds: dict[str, str] = {}
        for alert in outcomes.alerts:
            if alert.verdict == "malfunction":
                kinds.setdefault(alert.action_id, alert.reasons[0].signal)
        return [kinds.get(action.id, "") for action in actions]

    def fork(self) -> Ours:
        """Return a copy of the pipeline's state."""
        other = Ours(self._config)
        other._pipeline.restore(pickle.loads(pickle.dumps(self._pipeline.dump())))
        other._taken = self._taken
        return other
