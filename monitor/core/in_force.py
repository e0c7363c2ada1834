"""Which revocations bind an action, as far as changes of the store were heard of. Pure and bounded.

It goes by what an enforcement point is told of an action (see `blast_radius`). A hold for approval refuses too, but a
person may have approved, so it counts for nothing here; which tenant an action belongs to no action says.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from killswitch import Change
from monitor.intake.observation import Observation

GRACE_S: Final = 15.0
"""What an action may come after its revocation: one lease of an enforcement point that hears nothing (5 s unless it is
told otherwise), and the rest for clocks that differ; ours."""
MAX_IN_FORCE: Final = 100_000
"""Security limit: revocations that are known here; the oldest gives way, and then nobody is told of its breach."""

_LINKS: Final[dict[str, Callable[[Observation], Iterable[str | None]]]] = {
    "agent": lambda action: (action.agent_id,),
    "agent_version": lambda action: (
        (f"{action.agent_id}@{action.agent_version}",) if action.agent_version else ()
    ),
    "session": lambda action: (action.session_id,),
    "human": lambda action: action.on_behalf_of[:1],
    "delegation": lambda action: action.on_behalf_of[1:],
    "credential": lambda action: (action.credential,),
    "tool": lambda action: (action.tool,),
    "fleet": lambda action: ("",),
}


class Binding(NamedTuple):
    """A revocation or suspension of a target, in force from `since_s` until `until_s` (infinite if nothing ends it)."""

    target: str
    level: str
    by: str
    change_id: str
    since_s: float
    until_s: float


class InForce:
    """The revocations and suspensions in force. What binds nobody costs an action about 0.2 µs."""

    def __init__(self) -> None:
        self._bindings: OrderedDict[tuple[str, str], Binding] = OrderedDict()
        self._begin_anew()

    def __bool__(self) -> bool:
        return bool(self._bindings)

    def take(self, change: Change) -> None:
        """Take over a change of the store."""
        key, new = (change.target.kind, change.target.value), change.new
        if key[0] not in _LINKS:
            return
        before = self._bindings.pop(key, None)
        self._names[key[0]].discard(key[1])
        if new is None or new.level == "step_up":
            return
        # What is made longer or stronger binds since it began.
        since_s = before.since_s if before and new.at_s < before.until_s else new.at_s
        until_s = math.inf if new.expires_at_s is None else new.expires_at_s
        target = str(change.target)
        self._bindings[key] = Binding(target, new.level, new.by, new.change_id, since_s, until_s)
        self._names[key[0]].add(key[1])
        if len(self._bindings) > MAX_IN_FORCE:
            (kind, name), _ = self._bindings.popitem(last=False)
            self._names[kind].discard(name)

    def broken_by(self, action: Observation, now_s: float) -> Binding | None:
        """Return a revocation that the action went against, if there is one.

        A call that was refused or failed went against none. When the agent acted is for itself to say, but it did so
        before `now_s`: a clock that is ahead must not make it act after what it did not live to see.
        """
        if not (self._names_any(action) and _went_ahead(action)):
            return None
        at_s = min(action.ts_s, now_s)
        for kind, names in _LINKS.items():
            for name in names(action):
                binding = self._bindings.get((kind, name)) if name is not None else None
                if binding and binding.since_s + GRACE_S < at_s < binding.until_s:
                    return binding
        return None

    def dump(self) -> list[Any]:
        """Return plain values for a checkpoint."""
        return [[*key, *binding] for key, binding in self._bindings.items()]

    def restore(self, dumped: list[Any]) -> None:
        """Take up what `dump` returned."""
        self._bindings = OrderedDict(((kind, name), Binding(*rest)) for kind, name, *rest in dumped)
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Gather the names of what is bound, kind by kind: for nearly every action there is nothing else to look at."""
        names = self._names = {kind: set[str]() for kind in _LINKS}
        for kind, name in self._bindings:
            names[kind].add(name)
        self._agents, self._versions, self._sessions = (
            names["agent"],
            names["agent_version"],
            names["session"],
        )
        self._humans, self._delegations = names["human"], names["delegation"]
        self._credentials, self._tools, self._fleet = names["credential"], names["tool"], names["fleet"]

    def _names_any(self, action: Observation) -> bool:
        """Return whether any link of the action's chain is bound, now or at another time."""
        chain = action.on_behalf_of
        return bool(
            (self._agents and action.agent_id in self._agents)
            or (self._sessions and action.session_id in self._sessions)
            or (self._humans and chain and chain[0] in self._humans)
            or (self._delegations and not self._delegations.isdisjoint(chain[1:]))
            or (self._credentials and action.credential in self._credentials)
            or (self._tools and action.tool in self._tools)
            or (self._versions and f"{action.agent_id}@{action.agent_version}" in self._versions)
            or self._fleet
        )


def _went_ahead(action: Observation) -> bool:
    is_stopped = action.decision == "refused" or action.decision == "held"
    return not is_stopped and (action.result is None or action.result.ok is not False)
