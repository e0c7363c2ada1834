"""Which agents use which credential. Pure and bounded.

A credential authenticates one agent; where two use it, one of them may be somebody else. That is told once for each
agent that joins, with the one that used the credential before it. A month of silence ends a use, so that a credential
can be handed on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from monitor.core.room import forget_silent

FORGET_S: Final = 30 * 86_400.0
"""So long a use is remembered without another; ours. Most credentials are rotated within that time."""
MAX_CREDENTIALS: Final = 100_000
"""Security limit: credentials that are known; those unused for longest give way."""
MAX_USERS: Final = 16
"""Security limit: agents that are told apart of one credential. The next one is told of, further ones are no news."""


class Use:
    """One agent's use of one credential. A use that was forgotten has no credential any more."""

    __slots__ = ("agent_id", "at_s", "credential")

    def __init__(self, credential: str | None, agent_id: str, at_s: float) -> None:
        self.credential = credential
        self.agent_id = agent_id
        self.at_s = at_s


class Noted(NamedTuple):
    """The agent's own use, None if there are too many to remember it; and that of another agent, if this is news."""

    use: Use | None
    other: Use | None


class _Credential:
    __slots__ = ("due_s", "is_crowded", "uses")

    def __init__(self) -> None:
        self.uses: dict[str, Use] = {}
        self.due_s = math.inf  # before that no use is old enough to be forgotten
        self.is_crowded = False

    def last_s(self) -> float:
        return max(use.at_s for use in self.uses.values())


class CredentialUses:
    """The uses of credentials. O(1) a use; whoever keeps a `Use` may renew it by its `at_s`."""

    def __init__(self) -> None:
        self._credentials: dict[str, _Credential] = {}

    def __len__(self) -> int:
        return len(self._credentials)

    def note(self, credential: str, agent_id: str, now_s: float) -> Noted:
        """Take note of a use at `now_s` of our clock."""
        known = self._credentials.get(credential)
        if known is None:
            known = self._add(credential)
        use = known.uses.get(agent_id)
        if use is not None:
            use.at_s = now_s
            return Noted(use, None)
        if now_s >= known.due_s:
            _forget_old(known, now_s)
        other = max(known.uses.values(), key=_at_s, default=None)
        if len(known.uses) >= MAX_USERS:
            is_news, known.is_crowded = not known.is_crowded, True
            return Noted(None, other if is_news else None)
        use = known.uses[agent_id] = Use(credential, agent_id, now_s)
        known.due_s = min(known.due_s, now_s + FORGET_S)
        return Noted(use, other)

    def dump(self) -> list[Any]:
        """Return plain values for a checkpoint."""
        return [
            [
                credential,
                known.due_s,
                known.is_crowded,
                [[use.agent_id, use.at_s] for use in known.uses.values()],
            ]
            for credential, known in self._credentials.items()
        ]

    def restore(self, dumped: list[Any]) -> None:
        """Take up what `dump` returned."""
        self._credentials = {}
        for credential, due_s, is_crowded, uses in dumped:
            known = self._credentials[credential] = _Credential()
            known.due_s, known.is_crowded = due_s, is_crowded
            known.uses = {agent_id: Use(credential, agent_id, at_s) for agent_id, at_s in uses}

    def _add(self, credential: str) -> _Credential:
        if len(self._credentials) >= MAX_CREDENTIALS:
            for leaving in forget_silent(self._credentials, _Credential.last_s):
                _forget(leaving.uses.values())
        known = self._credentials[credential] = _Credential()
        return known


def _at_s(use: Use) -> float:
    return use.at_s


def _forget(uses: Iterable[Use]) -> None:
    """Tell whoever keeps these uses that they count for nothing any more."""
    for use in uses:
        use.credential = None


def _forget_old(known: _Credential, now_s: float) -> None:
    old = [use for use in known.uses.values() if use.at_s <= now_s - FORGET_S]
    for use in old:
        del known.uses[use.agent_id]
    _forget(old)
    known.due_s = min(map(_at_s, known.uses.values()), default=math.inf) + FORGET_S
    known.is_crowded = known.is_crowded and bool(known.uses)
