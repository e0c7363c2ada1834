"""Where the models of idle agents go when memory is full, so that nobody is forgotten for having been silent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Protocol


class Spill(Protocol):
    """Keeps the models that a bank has no room for: an agent's model is there or here, never in both.

    A model is opaque bytes, and comes back as it went: byte for byte, or not at all. One that cannot be read is gone,
    which is no error: its agent begins anew. A store is bounded; beyond that what has lain longest is forgotten.
    """

    def __contains__(self, agent: int, /) -> bool:
        """Return whether an agent's model is here."""

    def put(self, models: Sequence[tuple[int, bytes]]) -> None:
        """Keep the models of agents that have none here, those idle longest first."""

    def take(self, agent: int) -> bytes | None:
        """Return an agent's model and keep it no longer; None if it is not here."""

    def peek(self, agent: int) -> bytes | None:
        """Return an agent's model and keep it; None if it is not here."""


class MemorySpill:
    """Keeps the models in memory: for back-tests, benchmarks and tests, whose outcomes are then the daemon's.

    Parameters
    ----------
    max_agents
        Security limit on memory, ≥ 0: 4 KiB each.

    """

    def __init__(self, max_agents: int) -> None:
        self._max = max_agents
        self._models: dict[int, bytes] = {}

    def __len__(self) -> int:
        """Return how many models are kept."""
        return len(self._models)

    def __contains__(self, agent: int, /) -> bool:
        """Return whether an agent's model is here."""
        return agent in self._models

    def put(self, models: Sequence[tuple[int, bytes]]) -> None:
        """Keep the models; beyond the limit those that have lain longest are forgotten."""
        self._models.update(models)
        for agent in list(islice(self._models, max(0, len(self._models) - self._max))):
            del self._models[agent]

    def take(self, agent: int) -> bytes | None:
        """Return an agent's model and keep it no longer; None if it is not here."""
        return self._models.pop(agent, None)

    def peek(self, agent: int) -> bytes | None:
        """Return an agent's model and keep it; None if it is not here."""
        return self._models.get(agent)
