"""A registry of agents that a test writes down."""

from __future__ import annotations

from typing import NamedTuple


class Registered(NamedTuple):
    humans: tuple[str, ...] = ()
    needs_human: bool = False


class Registry:
    def __init__(self, shared: tuple[str, ...] = (), **agents: Registered) -> None:
        self._shared, self._agents = shared, agents

    def of(self, agent_id: str) -> Registered | None:
        return self._agents.get(agent_id)

    def is_shared(self, credential: str) -> bool:
        return credential in self._shared
