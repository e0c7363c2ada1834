"""Who acted for whom: the chain from a human over delegations and an agent to an action. Pure and bounded.

A chain that is missing or contradicts itself is told to people, whatever the models make of the action, and stops
nobody: which end of it is wrong a person has to find out. What each finding means is in `docs/actions.md`.

The chain of an agent is nearly always the one it had before, and so is its credential: both are compared with what was
found right last, and nothing else is looked up. What was found right is no part of a checkpoint; looking it up again
comes to the same.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from killswitch import Change
from monitor.core import chain_findings as told
from monitor.core.call_reports import CallReports
from monitor.core.chain_findings import Finding, Habit, Registration
from monitor.core.cool_down import CoolDown
from monitor.core.credential_uses import CredentialUses, Use
from monitor.core.in_force import InForce
from monitor.core.room import forget_silent
from monitor.intake.observation import Observation

MIN_ACTIONS: Final = 20
"""An agent's habit of acting for somebody is known after so many actions; ours."""
USUALLY: Final = 0.9
"""So much of an agent's actions are on somebody's behalf if that is its habit; ours. Where it often works by itself,
as on a schedule, one action more of that kind is no news."""
MEMORY: Final = 1024
"""After so many actions what was before counts half: a habit can change."""


class Registry(Protocol):
    """What owners declared."""

    def of(self, agent_id: str) -> Registration | None:
        """Return the agent's registration, None if it has none."""

    def is_shared(self, credential: str) -> bool:
        """Return whether several agents use the credential on purpose."""


class _Unregistered:
    def of(self, agent_id: str) -> Registration | None:
        return None

    def is_shared(self, credential: str) -> bool:
        return False


NO_REGISTRY: Final[Registry] = _Unregistered()
"""Nobody declared anything."""


NONE: Final[tuple[Finding, ...]] = ()
NO_USE: Final = Use(None, "", 0.0)
"""Of an agent without a credential, or with one that is not followed."""


class _Agent:
    """How often an agent acted, how often for nobody, and the chain and the use of a credential found right last."""

    __slots__ = ("actions", "alone", "at_s", "chain", "use")

    def __init__(self, actions: int = 0, alone: int = 0, at_s: float = 0.0) -> None:
        self.actions = actions
        self.alone = alone
        self.at_s = at_s
        self.chain: tuple[str, ...] | None = None
        self.use = NO_USE

    def last_s(self) -> float:
        return self.at_s

    @property
    def habit(self) -> Habit | None:
        """How often it acted for somebody, if that is its habit."""
        for_somebody = self.actions - self.alone
        if self.actions < MIN_ACTIONS or for_somebody < USUALLY * self.actions:
            return None
        return Habit(for_somebody, self.actions)


class Attribution:
    """Looks at the chain of each action. O(1), about 0.3 µs where all is as it was.

    Parameters
    ----------
    registry
        What owners declared; it must not change but by `use`.
    max_agents
        Security limit: agents that are told apart; those silent for longest are forgotten.
    """

    def __init__(self, registry: Registry = NO_REGISTRY, max_agents: int = 100_000) -> None:
        self._registry = registry
        self._max_agents = max_agents
        self._agents: dict[str, _Agent] = {}
        self._uses = CredentialUses()
        self._calls = CallReports()
        self._in_force = InForce()
        self._told = CoolDown()
        self._is_wary = False  # so that what is refused or revoked costs nothing while nothing is

    def use(self, registry: Registry) -> None:
        """Go by another registry from here on."""
        self._registry = registry
        for agent in self._agents.values():
            agent.chain, agent.use = None, NO_USE

    def transition(self, change: Change) -> None:
        """Take note of what was revoked or restored."""
        self._in_force.take(change)
        self._is_wary = self._must_be_wary()

    def note(self, action: Observation, now_s: float) -> tuple[Finding, ...]:
        """Return what is wrong with the action's chain and was not told lately; nearly always nothing.

        Parameters
        ----------
        now_s
            Our clock, for what is remembered how long. When the agent acted is for itself to say.
        """
        agent = self._agents.get(action.agent_id)
        if agent is None:
            agent = self._add(action.agent_id)
        chain, use = action.on_behalf_of, agent.use
        found = NONE
        if chain != agent.chain:
            found = self._chain(agent, action, now_s)
        if use.credential == action.credential:
            use.at_s = now_s
        else:
            found += self._credential(agent, action, now_s)
        if self._is_wary or action.decision is not None:
            found += self._breaches(action, now_s)
        agent.at_s = now_s
        agent.actions += 1
        if not chain:
            agent.alone += 1
        if agent.actions >= MEMORY:
            agent.actions //= 2
            agent.alone //= 2
        return found

    def dump(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {
            "agents": [
                [agent_id, agent.actions, agent.alone, agent.at_s] for agent_id, agent in self._agents.items()
            ],
            "uses": self._uses.dump(),
            "calls": self._calls.dump(),
            "in_force": self._in_force.dump(),
            "told": self._told.dump(),
        }

    def restore(self, dumped: dict[str, Any]) -> None:
        """Take up what `dump` returned."""
        self._agents = {agent_id: _Agent(*counts) for agent_id, *counts in dumped["agents"]}
        self._uses.restore(dumped["uses"])
        self._calls.restore(dumped["calls"])
        self._in_force.restore(dumped["in_force"])
        self._told.restore(dumped["told"])
        self._is_wary = self._must_be_wary()

    # -- for whom -----------------------------------------------------------------------------------------------

    def _add(self, agent_id: str) -> _Agent:
        if len(self._agents) >= self._max_agents:
            forget_silent(self._agents, _Agent.last_s)
        agent = self._agents[agent_id] = _Agent()
        return agent

    def _chain(self, agent: _Agent, action: Observation, now_s: float) -> tuple[Finding, ...]:
        """Look at a chain that is not the one found right last."""
        registered = self._registry.of(action.agent_id)
        if action.on_behalf_of:
            finding = told.undelegated_human(action, registered)
        else:
            finding = told.acted_for_nobody(action, registered, agent.habit)
        if finding is None:
            agent.chain = action.on_behalf_of
            return NONE
        return self._due(finding, action, finding.reason.observed, now_s)

    # -- by what right ------------------------------------------------------------------------------------------

    def _credential(self, agent: _Agent, action: Observation, now_s: float) -> tuple[Finding, ...]:
        """Look at a credential that is not the one looked at last."""
        credential = action.credential
        agent.use = NO_USE
        if credential is None or self._registry.is_shared(credential):
            return NONE
        use, other = self._uses.note(credential, action.agent_id, now_s)
        agent.use = use or NO_USE
        if other is None:
            return NONE
        return self._due(told.shared_credential(action, credential, other), action, credential, now_s)

    def _breaches(self, action: Observation, now_s: float) -> tuple[Finding, ...]:
        """Look for what was done although it was refused or revoked."""
        found = NONE
        if action.decision is not None or self._calls.are_decided:
            self._is_wary = True
            if self._calls.note(action):
                found = self._due(told.rejected_but_executed(action), action, action.tool, now_s)
        binding = self._in_force.broken_by(action, now_s)
        if binding is not None:
            finding = told.acted_though_revoked(action, binding)
            found += self._due(finding, action, binding.change_id, now_s)
        return found

    def _must_be_wary(self) -> bool:
        return self._calls.are_decided or bool(self._in_force)

    def _due(self, finding: Finding, action: Observation, cause: str, now_s: float) -> tuple[Finding, ...]:
        """Return the finding unless the same was told lately."""
        is_due = self._told.is_due(finding.reason.signal, action.agent_id, cause, now_s)
        return (finding,) if is_due else NONE
