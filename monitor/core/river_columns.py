"""River anomaly detectors put beside ours by the configuration: one instance an agent, one score column a detector."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from detectors import Features, detector_by_name, numeric_features
from monitor.config import RiverDetector
from monitor.errors import ConfigError
from monitor.intake.observation import Observation

MAX_AGENTS = 1000
"""Security limit: River's models take up to 1.25 MiB each; the agent that came first gives way."""


SEED = 7
"""Where the configuration names none."""


class RiverColumns:
    """The configured detectors; false where there are none."""

    def __init__(self, configured: Sequence[RiverDetector]) -> None:
        self._configured = tuple(configured)
        self._models: dict[str, list[Any]] = {}
        for position, detector in enumerate(configured):
            try:
                _new(detector)
            except ValueError as error:
                raise ConfigError(f"detection.river.{position}.name", str(error)) from error

    def __bool__(self) -> bool:
        return bool(self._configured)

    @property
    def names(self) -> tuple[str, ...]:
        """The detectors' names, in the order of their columns."""
        return tuple(detector.name for detector in self._configured)

    def score(self, actions: Sequence[Observation]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return shape (actions, detectors); NaN where a detector is not meant for that agent."""
        columns = np.full((len(actions), len(self._configured)), np.nan)
        for i, action in enumerate(actions):
            x = numeric_features(action.features)
            for j, model in enumerate(self._of(action.agent_id)):
                if model is not None:
                    columns[i, j] = model.score_one(x)
        return columns

    def learn(self, agent_id: str, features: Features) -> None:
        """Let the agent's detectors learn an action."""
        x = numeric_features(features)
        for model in self._of(agent_id):
            if model is not None:
                model.learn_one(x)

    def dump(self) -> bytes:
        """Return the models for a checkpoint."""
        return pickle.dumps(self._models)

    def restore(self, dumped: bytes) -> None:
        """Take up what `dump` returned. The checkpoint lies in the daemon's own directory (mode 0700)."""
        self._models = pickle.loads(dumped)  # noqa: S301 - our own file, see above

    def _of(self, agent_id: str) -> list[Any]:
        if agent_id not in self._models:
            if len(self._models) >= MAX_AGENTS:
                del self._models[next(iter(self._models))]
            self._models[agent_id] = [
                _new(detector) if any(fnmatchcase(agent_id, pattern) for pattern in detector.agents) else None
                for detector in self._configured
            ]
        return self._models[agent_id]


def _new(detector: RiverDetector) -> Any:
    """Return a new model; one that draws lots gets a seed, since replaying the log must give the same scores."""
    model = detector_by_name(detector.name, detector.params)
    if getattr(model, "seed", 0) is None:
        model = detector_by_name(detector.name, {**detector.params, "seed": SEED})
    return model
