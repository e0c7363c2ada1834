"""Honest agents of known rhythm, and what each does when it runs away. Pure, seeded, standard library only.

What they call comes from the simulator (`monitor.demo.fleet`), when they call from here:

- ``clockwork``: a call every so many seconds, to the microsecond, day and night;
- ``poller``: the same call with the same arguments every few minutes, one session a day;
- ``daily``: eight hours of busy periods and breaks on five days of seven, its own hours, never quite on time;
- ``bursty``: busy periods at any hour with hours of rest between them, and the simulator's bulk work.

Both ours and the peer in its own environment make these streams for themselves, from the same seeds.
"""

from __future__ import annotations

import heapq
import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, cycle, groupby, islice, pairwise, repeat
from random import Random
from typing import Any, Final, NamedTuple

from monitor.demo.fleet import Call, SimulatedAgent, make_fleet
from monitor.demo.trades import load_trades

START_S: Final = 1_795_046_400.0  # a midnight, UTC
DAY_S: Final = 86_400.0
HOUR_S: Final = 3600.0
LEAD: Final = 20
"""Actions of the last day that still belong to the history, so that an agent is at work when it runs away."""

FASTER: Final = 600.0
BURST_S: Final = 180.0
SHORT_BURST_S: Final = 30.0
RAMP_DOUBLINGS: Final = 7
RAMP_DOUBLES_S: Final = 2400.0
LOOP_CALLS: Final = 200
WAKING_CALLS: Final = 60
_SPARE: Final = 500  # calls that a scenario repeats in turn


class Event(NamedTuple):
    """One action: `number` and `since_s` count from the onset of what goes wrong, 0 as long as nothing does."""

    ts_s: float
    action: dict[str, Any]
    number: int = 0
    since_s: float = 0.0

    @property
    def agent(self) -> str:
        """Whose action it is."""
        return str(self.action["agent_id"])


class Trouble(NamedTuple):
    """What an agent does when it goes wrong."""

    events: Iterator[Event]
    lasts_s: float
    control_s: float
    """From when on as long a time of its honest next day is to be compared: it is at work, or wakes."""


class Life:
    """One agent: its honest past, its honest next day, and how it may go wrong after the past.

    Parameters
    ----------
    days
        Length of the past.
    """

    def __init__(self, seed: int, number: int, agent: SimulatedAgent, days: int) -> None:
        kinds = list(_RHYTHMS)
        rng = Random(f"{seed}/rhythm/{number}")
        self.name = agent.name
        self.kind = kinds[number % len(kinds)]
        """Its rhythm."""
        self.tools = {*agent.trade.tools, *(tool.name for tool in load_trades().extras)}
        """What it is allowed to call."""
        self.opens_s = rng.uniform(0.0, DAY_S)
        """When its day begins, if it keeps hours."""
        self._ends_s = START_S + days * DAY_S
        self._events = _RHYTHMS[self.kind](agent.work(), rng, self.opens_s)
        self.next_day: list[Event] = []
        """The honest day after the past, once that is over: what would have come if nothing had gone wrong."""
        self._gap_s = math.nan  # the median between two actions of that day
        self._spare: list[dict[str, Any]] = []

    def past(self) -> Iterator[Event]:
        """Yield the honest past, once."""
        late = 0
        for event in self._events:
            yield event
            late += event.ts_s >= self._ends_s
            if late >= LEAD:
                break
        self.next_day = list(_until(self._events, event.ts_s + DAY_S))
        times = [event.ts_s for event in self.next_day]
        self._gap_s = statistics.median(b - a for a, b in pairwise(times))
        self._spare = [event.action for event in islice(self._events, _SPARE)]

    # -- what goes wrong ----------------------------------------------------------------------------------------

    def burst(self) -> Trouble:
        """Do its usual calls 600 times as fast as usual, for three minutes."""
        return self._burst(BURST_S)

    def short_burst(self) -> Trouble:
        """Do the same for half a minute."""
        return self._burst(SHORT_BURST_S)

    def ramp(self) -> Trouble:
        """Do its usual calls faster and faster: twice as fast every forty minutes, to 128 times."""
        return Trouble(self._wrong(self._ramp_gaps()), RAMP_DOUBLINGS * RAMP_DOUBLES_S, self._onset_s)

    def loop(self) -> Trouble | None:
        """Repeat one call at its usual pace; a poller does nothing else when all is well, so there it is no loop."""
        if self.kind == "poller":
            return None
        events = self._wrong(repeat(self._gap_s, LOOP_CALLS), calls=self._spare[:1])
        return Trouble(events, LOOP_CALLS * self._gap_s, self._onset_s)

    def odd_hour(self) -> Trouble | None:
        """Work as usual, then wake twelve hours from the middle of its hours; only who keeps hours can."""
        if self.kind != "daily":
            return None
        night_s = self._next_night_s()
        honest = (event for event in self.next_day if event.ts_s < night_s)
        woken = self._wrong(repeat(self._gap_s, WAKING_CALLS), night_s)
        _, wakes_s = max((b.ts_s - a.ts_s, b.ts_s) for a, b in pairwise(self.next_day))
        return Trouble(chain(honest, woken), WAKING_CALLS * self._gap_s, wakes_s)

    def _burst(self, lasts_s: float) -> Trouble:
        gap_s = self._gap_s / FASTER
        return Trouble(self._wrong(repeat(gap_s, int(lasts_s / gap_s))), lasts_s, self._onset_s)

    @property
    def _onset_s(self) -> float:
        return self.next_day[0].ts_s

    def _next_night_s(self) -> float:
        """Return the first middle of its night after the past."""
        middle_s = START_S + self.opens_s + _WORKS_S / 2 + DAY_S / 2
        return middle_s + DAY_S * (1 + (self.next_day[0].ts_s - middle_s) // DAY_S)

    def _ramp_gaps(self) -> Iterator[float]:
        gone_s = 0.0
        while gone_s < RAMP_DOUBLINGS * RAMP_DOUBLES_S:
            gap_s = self._gap_s * 2.0 ** (-gone_s / RAMP_DOUBLES_S)
            gone_s += gap_s
            yield gap_s

    def _wrong(
        self, gaps_s: Iterable[float], from_s: float | None = None, calls: list[dict[str, Any]] | None = None
    ) -> Iterator[Event]:
        start_s = ts_s = self._onset_s if from_s is None else from_s
        for number, (gap_s, call) in enumerate(zip(gaps_s, cycle(calls or self._spare), strict=False), 1):
            yield Event(ts_s, call, number, ts_s - start_s)
            ts_s += gap_s


SCENARIOS: Final[dict[str, Callable[[Life], Trouble | None]]] = {
    "burst": Life.burst,
    "short_burst": Life.short_burst,
    "ramp": Life.ramp,
    "loop": Life.loop,
    "odd_hour": Life.odd_hour,
}
"""What goes wrong, by name; None for an agent that cannot go wrong like that."""


def make_lives(seed: int, agents: int, days: int) -> list[Life]:
    """Return a fleet: rhythms in turn, trades in turn."""
    return [Life(seed, number, agent, days) for number, agent in enumerate(make_fleet(seed, agents))]


def merged(streams: Iterable[Iterable[Event]]) -> Iterator[Event]:
    """Yield all events in the order of time."""
    return heapq.merge(*streams, key=lambda event: event.ts_s)


def _until(events: Iterator[Event], end_s: float) -> Iterator[Event]:
    """Yield events up to and with the first at or after the end."""
    for event in events:
        yield event
        if event.ts_s >= end_s:
            return


# -- rhythms --------------------------------------------------------------------------------------------------------

_WORKS_S: Final = 8 * HOUR_S
_LATE_S: Final = 20 * 60.0
_BREAK_S: Final = 30 * 60.0  # median
_REST_S: Final = 3 * HOUR_S  # median
_PERIOD: Final = (5, 15)  # sessions


def _clockwork(calls: Iterator[Call], rng: Random, opens_s: float) -> Iterator[Event]:
    gap_s = float(rng.randint(30, 120))
    for number, call in enumerate(calls):
        yield Event(START_S + number * gap_s, call.action)


def _poller(calls: Iterator[Call], rng: Random, opens_s: float) -> Iterator[Event]:
    action, gap_s, ts_s = next(calls).action, rng.uniform(60.0, 300.0), START_S
    while True:
        yield Event(ts_s, {**action, "session_id": f"watch-{ts_s // DAY_S:.0f}"})
        ts_s += gap_s * rng.uniform(0.95, 1.05)


def _daily(calls: Iterator[Call], rng: Random, opens_s: float) -> Iterator[Event]:
    sessions = _sessions(calls)
    for day in count():
        if day % 7 >= 5:
            continue
        ts_s = START_S + day * DAY_S + opens_s + rng.gauss(0.0, _LATE_S)
        closes_s = ts_s + _WORKS_S
        while ts_s < closes_s:
            for call in _period(sessions, rng):
                ts_s += call.gap_s
                yield Event(ts_s, call.action)
            ts_s += _BREAK_S * rng.lognormvariate(0.0, 0.7)


def _bursty(calls: Iterator[Call], rng: Random, opens_s: float) -> Iterator[Event]:
    sessions, ts_s = _sessions(calls), START_S
    while True:
        ts_s += _REST_S * rng.lognormvariate(0.0, 0.7)
        for call in _period(sessions, rng):
            ts_s += call.gap_s
            yield Event(ts_s, call.action)


def _sessions(calls: Iterator[Call]) -> Iterator[list[Call]]:
    for _, session in groupby(calls, key=lambda call: call.action["session_id"]):
        yield list(session)


def _period(sessions: Iterator[list[Call]], rng: Random) -> Iterator[Call]:
    for session in islice(sessions, rng.randint(*_PERIOD)):
        yield from session


_RHYTHMS: Final[dict[str, Callable[[Iterator[Call], Random, float], Iterator[Event]]]] = {
    "clockwork": _clockwork,
    "poller": _poller,
    "daily": _daily,
    "bursty": _bursty,
}
