"""History cut into minutes, with the clock that there was. Pure; holds one batch at a time.

The clock is the actions' own time, as a recorded stream may be years old and a log may have been filled in one go. It
never goes back, and no action can put it ahead of the moment at which it was received: one agent whose clock is wrong
must not end everybody's suspensions. The actions of a minute are stepped in their order, with the minute's end as
clock; what people said and did in between stays between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from killswitch import Change
from killswitch.storage.codec import decode_change
from monitor.core.stops import is_automatic
from monitor.intake.observation import Observation
from monitor.log.entries import Actions, Entry, Judgement, Transition

MINUTE_S = 60.0
DAY_S = 86_400.0
MAX_BATCH = 1000
"""Actions stepped at once; a minute with more is cut, which changes no outcome."""


class Minute(NamedTuple):
    """Actions that happened in the minute before `now_s`; the first is number `first_seq` of the history, from 1."""

    now_s: float
    first_seq: int
    actions: list[Observation]


Step = Minute | Judgement | Change


class HistoryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the history holds, whatever the policy."""

    actions: int
    first_s: float
    """Time of the first action, seconds since 1970; 0 if there is none."""
    last_s: float
    days: float
    out_of_order: int
    """Actions more than a minute older than one before them."""
    verdicts: int
    kills_by_hand: int
    restorations: int
    past_policy_kills: int
    """Automatic kills of the policy of then: not repeated here."""


class Minutes:
    """The steps of a history, to be iterated once; `facts` says what there was so far."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = entries
        self._first_s = self._clock_s = -math.inf
        self._actions = self._out_of_order = self._verdicts = 0
        self._by_hand = self._restored = self._automatic = 0

    def __iter__(self) -> Iterator[Step]:
        batch: list[Observation] = []
        ends_s = -math.inf
        for entry in self._entries:
            if not isinstance(entry, Actions):
                if batch:
                    yield self._minute(ends_s, batch)
                    batch = []
                yield from self._other(entry)
                continue
            for action in entry.observations:
                end_s = self._minute_end_s(action, entry.now_s)
                if batch and (end_s != ends_s or len(batch) >= MAX_BATCH):
                    yield self._minute(ends_s, batch)
                    batch = []
                batch.append(action)
                ends_s = end_s
        if batch:
            yield self._minute(ends_s, batch)

    def facts(self) -> HistoryFacts:
        """Return what there was so far."""
        first_s, last_s = (0.0, 0.0) if not self._actions else (self._first_s, self._clock_s)
        return HistoryFacts(
            actions=self._actions,
            first_s=first_s,
            last_s=last_s,
            days=(last_s - first_s) / DAY_S,
            out_of_order=self._out_of_order,
            verdicts=self._verdicts,
            kills_by_hand=self._by_hand,
            restorations=self._restored,
            past_policy_kills=self._automatic,
        )

    def _minute_end_s(self, action: Observation, received_s: float) -> float:
        at_s = min(action.ts_s, received_s)
        if at_s < self._clock_s - MINUTE_S:
            self._out_of_order += 1
        if self._first_s == -math.inf:
            self._first_s = at_s
        self._clock_s = max(self._clock_s, at_s)
        return (self._clock_s // MINUTE_S + 1) * MINUTE_S

    def _minute(self, ends_s: float, actions: list[Observation]) -> Minute:
        first_seq = self._actions + 1
        self._actions += len(actions)
        return Minute(ends_s, first_seq, actions)

    def _other(self, entry: Entry) -> Iterator[Step]:
        """Yield a verdict or a change; a withdrawal is about a kill of the past's policy, and repeated by nobody."""
        if isinstance(entry, Judgement):
            self._verdicts += 1
            yield entry
        elif isinstance(entry, Transition):
            change = decode_change(entry.change)
            self._count(change)
            yield change

    def _count(self, change: Change) -> None:
        if change.target.kind != "agent":
            return
        if change.kind == "restore":
            self._restored += 1
        elif change.kind in ("suspend", "revoke"):
            self._by_hand += not is_automatic(change)
            self._automatic += is_automatic(change)
