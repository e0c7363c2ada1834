"""Which revocations bind an action, as far as changes of the store were heard of. Pure and bounded.

It goes by what an enforcement point is told of an action (see `blast_radius`). A hold for approval refuses too, but a
person may have approved, so it counts for nothing here; which tenant an action belongs to no action says.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
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
    """The revocations and suspensions in force; `kinds` has those of which there are any."""

    def __init__(self) -> None:
        self._bindings: OrderedDict[tuple[str, str], Binding] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self.kinds: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._bindings)

    def take(self, change: Change) -> None:
        """Take over a change of the store."""
        key, new = (change.target.kind, change.target.value), change.new
        if key[0] not in _LINKS:
            return
        before = self._bindings.pop(key, None)
        if before:
            self._count(key, -1)
        if new is None or new.level == "step_up":
            return
        # What is made longer or stronger binds since it began.
        since_s = before.since_s if before and new.at_s < before.until_s else new.at_s
        until_s = math.inf if new.expires_at_s is None else new.expires_at_s
        self._bindings[key] = Binding(str(change.target), new.level, new.by, new.change_id, since_s, until_s)
        self._count(key, 1)
        if len(self._bindings) > MAX_IN_FORCE:
            self._count(self._bindings.popitem(last=False)[0], -1)

    def broken_by(self, action: Observation, now_s: float) -> Binding | None:
        """Return a revocation that the action went against, if there is one.

        A call that was refused or failed went against none. When the agent acted is for itself to say, but it did so
        before `now_s`: a clock that is ahead must not make it act after what it did not live to see.
        """
        if not _went_ahead(action):
            return None
        at_s = min(action.ts_s, now_s)
        for kind in self.kinds:
            for name in _LINKS[kind](action):
                binding = self._bindings.get((kind, name)) if name is not None else None
                if binding and binding.since_s + GRACE_S < at_s < binding.until_s:
                    return binding
        return None

    def dump(self) -> list[Any]:
        """Return plain values for a checkpoint."""
        return [[*key, *binding] for key, binding in self._bindings.items()]

    def restore(self, dumped: list[Any]) -> None:
        """Take up what `dump` returned."""
        self._bindings = OrderedDict(((kind, value), Binding(*rest)) for kind, value, *rest in dumped)
        self._counts = Counter()
        for key in self._bindings:
            self._count(key, 1)

    def _count(self, key: tuple[str, str], by: int) -> None:
        self._counts[key[0]] += by
        self.kinds = tuple(kind for kind in _LINKS if self._counts[kind])


def _went_ahead(action: Observation) -> bool:
    is_stopped = action.decision == "refused" or action.decision == "held"
    return not is_stopped and (action.result is None or action.result.ok is not False)
