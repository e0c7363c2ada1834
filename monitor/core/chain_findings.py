"""What can be wrong with the chain from a human to an action, in words that name both sides. Pure.

The kinds are the signals of alerts with the verdict `attribution`; people mute and filter by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from monitor.core.alerts import ReasonText, Severity, rfc3339
from monitor.core.credential_uses import Use
from monitor.core.in_force import Binding
from monitor.core.pattern import glob
from monitor.core.words import readable
from monitor.intake.observation import Observation

MAX_SHOWN: Final = 5
"""Names of a chain or a registration that an alert lists."""

THOUGH_REVOKED: Final = "acted_though_revoked"
"""The one finding that rests on changes of the revocation state."""

_PAST: Final = {"suspend": "suspended", "revoke": "revoked"}


class Registration(Protocol):
    """What the owner of an agent declared of it."""

    @property
    def humans(self) -> tuple[str, ...]:
        """Names or patterns (``*@example.com``) of those for whom it may act, people and delegating agents alike.

        If there is none it may act for anybody.
        """

    @property
    def needs_human(self) -> bool:
        """Whether it never acts by itself."""


class Finding(NamedTuple):
    """What is wrong with an action's chain, as the one reason of an alert."""

    severity: Severity
    reason: ReasonText


class Habit(NamedTuple):
    """So many of an agent's actions were on somebody's behalf, which is nearly all."""

    for_somebody: int
    actions: int


def acted_for_nobody(
    action: Observation, registered: Registration | None, habit: Habit | None
) -> Finding | None:
    """Return what is wrong with an action on nobody's behalf, if anything is."""
    if registered is not None and registered.needs_human:
        why, expected = "it is registered to act for people only", "somebody, by its registration"
    elif habit is not None:
        expected = f"somebody, in {habit.for_somebody} of {habit.actions} actions"
        why = f"{habit.for_somebody} of its {habit.actions} actions before were on somebody's behalf"
    else:
        return None
    return _finding("acted_for_nobody", "medium", "nobody", expected, f"{_call(action)} for nobody: {why}")


def undelegated_human(action: Observation, registered: Registration | None) -> Finding | None:
    """Return which links of the action's chain are not among those whom the agent may act for, if any."""
    if registered is None or not registered.humans:
        return None
    tests = [glob(pattern) for pattern in registered.humans]
    foreign = [name for name in action.on_behalf_of if not any(test(name) for test in tests)]
    if not foreign:
        return None
    claim = "act for" if foreign[0] == action.on_behalf_of[0] else "have a delegation of"
    claimed, declared = _listed(foreign), _listed(registered.humans)
    sentence = (
        f"{_quoted(action.agent_id)} claims to {claim} {claimed}: by its registration it acts for {declared}"
    )
    return _finding("undelegated_human", "medium", claimed, declared, sentence)


def shared_credential(action: Observation, credential: str, other: Use) -> Finding:
    """Return that the action's agent uses what another one uses too."""
    name, before, shared = map(_quoted, (action.agent_id, other.agent_id, credential))
    sentence = f"{name} uses the credential {shared}, which {before} used last at {rfc3339(other.at_s)}"
    return _finding("shared_credential", "medium", name, before, sentence)


def rejected_but_executed(action: Observation) -> Finding:
    """Return that the action's call was refused and done."""
    name = _quoted(action.call_id or action.id)
    sentence = f"{_call(action)} although that call, {name}, was refused"
    return _finding("rejected_but_executed", "high", "done", "refused", sentence)


def acted_though_revoked(action: Observation, binding: Binding) -> Finding:
    """Return that the action went against a revocation; whether it was done is not always known."""
    past, target, by = _PAST[binding.level], readable(binding.target), readable(binding.by)
    is_done = action.decision == "allowed" or (action.result is not None and action.result.ok is True)
    observed, certainty = (
        ("done", "no enforcement point stopped it")
        if is_done
        else ("not refused", "nothing says that an enforcement point stopped it")
    )
    return _finding(
        THOUGH_REVOKED,
        "high",
        observed,
        f"{past} since {rfc3339(binding.since_s)}",
        f"{_call(action)} although {target} was {past} by {by}: {certainty}",
    )


def _finding(kind: str, severity: Severity, observed: str, expected: str, sentence: str) -> Finding:
    return Finding(severity, ReasonText(kind, observed, expected, 1.0, sentence))


def _call(action: Observation) -> str:
    return f"{_quoted(action.agent_id)} called {_quoted(action.tool)}"


def _quoted(name: str) -> str:
    return f"`{readable(name)}`"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(_quoted, names[:MAX_SHOWN]))
    return f"{shown} and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else shown
