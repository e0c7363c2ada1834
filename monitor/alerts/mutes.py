"""Mutes: alerts of exactly one agent and signal, kept from people's eyes for a while. Pure; time is an argument.

A mute touches nothing but what people are shown. Whoever decides on kills does not know this module.
"""

from __future__ import annotations

from typing import Any, Final

from monitor.errors import ChangeConflict, ChangeRefused
from monitor.live.message_types import Mute, MuteChange

MAX_MUTE_S: Final = 30 * 86_400.0
"""Security limit: nobody can look away for longer without saying so again."""

UNMUTABLE: Final = frozenset(
    {
        "kill_refused",
        "store_damaged",
        "store_forged",
        "drill_failed",
        "break_glass",
        "blast_radius",
        "record_damaged",
    }
)
"""Verdicts about the kill switch itself: whoever hides those hides that an agent can no longer be stopped."""

UNMUTABLE_SIGNALS: Final = frozenset({"kill switch"})
"""The leading signals of such alerts, to refuse a mute that would never mute anything."""


class Mutes:
    """The mutes in force, by id and by what they hide. At most one hides an agent's signal."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._by_id: dict[str, MuteChange] = {}
        self._by_scope: dict[tuple[str, str], MuteChange] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, mute_id: str, now_s: float) -> MuteChange | None:
        """Return the mute if it is in force."""
        mute = self._by_id.get(mute_id)
        return mute if mute and mute.until > now_s else None

    def in_force(self, now_s: float) -> list[MuteChange]:
        """Return all that are in force, the newest first."""
        return [mute for mute in reversed(self._by_id.values()) if mute.until > now_s]

    def muting(self, agent_id: str, verdict: str, signal: str, now_s: float) -> str | None:
        """Return the id of the mute that hides such an alert, None if nothing does."""
        mute = self._by_scope.get((agent_id, signal))
        if mute is None or mute.until <= now_s or verdict in UNMUTABLE:
            return None
        return mute.id

    def demand(self, wanted: Mute) -> None:
        """Check that such a mute may be set.

        Raises
        ------
        ChangeRefused
            Naming the field; `ChangeConflict` if it is only what is there already that stands against it.
        """
        if wanted.signal in UNMUTABLE_SIGNALS:
            raise ChangeRefused("signal", "alerts about the kill switch itself cannot be muted")
        if not 0 < wanted.until - wanted.at <= MAX_MUTE_S + 1:
            raise ChangeRefused("for_s", f"a mute lasts at most {MAX_MUTE_S:.0f} seconds, which is 30 days")
        there = self._by_scope.get((wanted.agent_id, wanted.signal))
        if there and there.until > wanted.at:
            raise ChangeConflict("agent_id", f"{there.id} of {there.by} mutes this already; lift it first")
        if len(self.in_force(wanted.at)) >= self._capacity:
            raise ChangeConflict(None, f"there are {self._capacity} mutes; lift one first")

    def apply(self, change: MuteChange) -> None:
        """Take up a mute that was set or lifted; forgets those that ended before it."""
        for ended in [mute for mute in self._by_id.values() if mute.until <= change.at]:
            self._forget(ended)
        before = self._by_id.get(change.id) or self._by_scope.get((change.agent_id, change.signal))
        if before:
            self._forget(before)
        if change.change == "set":
            self._by_id[change.id] = change
            self._by_scope[change.agent_id, change.signal] = change

    def _forget(self, mute: MuteChange) -> None:
        self._by_id.pop(mute.id, None)
        if self._by_scope.get((mute.agent_id, mute.signal)) is mute:
            del self._by_scope[mute.agent_id, mute.signal]


def mute_fields(mute: Mute) -> dict[str, Any]:
    """Return the mute as the API shows it."""
    return {name: getattr(mute, name) for name in Mute.__struct_fields__}
