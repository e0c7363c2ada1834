"""One run of a detector over the simulated fleets, and what it amounts to. Pure, standard library only.

After its honest past each fleet is put before the detector again and again, each time from the same state: its honest
next day, and one day for each way to go wrong. A scenario ends for an agent with the first alert about it.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

from benchmarks.runaway_streams import SCENARIOS, Event, Life, Trouble, make_lives, merged

BATCH: Final = 256
BATCH_S: Final = 60.0

Say = Callable[[str], None]


class Watch(Protocol):
    """A detector of agents that do not work as they should."""

    def take(self, events: Sequence[Event]) -> list[str]:
        """Return for each action the kind of the alert about it, "" for none, and learn it."""

    def fork(self) -> Watch:
        """Return a copy that goes on by itself."""


class Alarms:
    """Counts alerts on honest work: alerts on one agent's successive actions are one."""

    def __init__(self) -> None:
        self.actions = self.alarmed = 0
        self.alerts: Counter[str] = Counter()
        """By rhythm and kind, as ``daily/hour``."""
        self.times_s: defaultdict[str, list[float]] = defaultdict(list)
        """When each agent was alerted about, action by action."""
        self._is_alarmed: dict[str, bool] = {}

    def note(self, event: Event, rhythm: str, kind: str) -> None:
        """Take note of an action and what was said of it."""
        self.actions += 1
        if kind:
            self.alarmed += 1
            self.times_s[event.agent].append(event.ts_s)
            self.alerts[f"{rhythm}/{kind}"] += not self._is_alarmed.get(event.agent, False)
        self._is_alarmed[event.agent] = bool(kind)


class Case(NamedTuple):
    """One agent that went wrong."""

    rhythm: str
    kind: str
    """Of the first alert; "" if there was none."""
    number: int
    """Which of its actions since the onset was alerted, from 1."""
    since_s: float
    is_control_alerted: bool
    """Whether its honest next day had an alert within as long a time as the scenario lasts."""


def run_fleet(watch: Watch, lives: Sequence[Life]) -> tuple[Alarms, dict[str, list[Case]]]:
    """Return alerts on honest work, and the cases by scenario."""
    rhythms = {life.name: life.kind for life in lives}
    honest = Alarms()
    for event, kind in _taken(watch, merged(life.past() for life in lives)):
        honest.note(event, rhythms[event.agent], kind)
    before = {agent: len(times) for agent, times in honest.times_s.items()}
    for event, kind in _taken(watch.fork(), merged(life.next_day for life in lives)):
        honest.note(event, rhythms[event.agent], kind)
    next_day = {agent: times[before.get(agent, 0) :] for agent, times in honest.times_s.items()}
    cases = {name: _cases(watch.fork(), lives, wrong, next_day) for name, wrong in SCENARIOS.items()}
    return honest, cases


def _cases(
    watch: Watch,
    lives: Iterable[Life],
    wrong: Callable[[Life], Trouble | None],
    next_day: dict[str, list[float]],
) -> list[Case]:
    troubles = [(life, trouble) for life in lives if (trouble := wrong(life))]
    found: dict[str, tuple[str, Event]] = {}
    streams = (_until_found(trouble.events, life.name, found) for life, trouble in troubles)
    for event, kind in _taken(watch, merged(streams)):
        if kind and event.number:
            found.setdefault(event.agent, (kind, event))
    cases = []
    for life, trouble in troubles:
        kind, event = found.get(life.name, ("", Event(0.0, {})))
        since_s = [ts_s - trouble.control_s for ts_s in next_day.get(life.name, [])]
        is_control_alerted = any(0.0 <= late_s <= trouble.lasts_s for late_s in since_s)
        cases.append(Case(life.kind, kind, event.number, event.since_s, is_control_alerted))
    return cases


def _until_found(events: Iterator[Event], agent: str, found: dict[str, Any]) -> Iterator[Event]:
    for event in events:
        if agent in found:
            return
        yield event


def _taken(watch: Watch, events: Iterable[Event]) -> Iterator[tuple[Event, str]]:
    for batch in batches(events):
        yield from zip(batch, watch.take(batch), strict=True)


def batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Cut a stream as a daemon would get it: a minute at most, and not too many at once."""
    batch: list[Event] = []
    for event in events:
        if batch and (len(batch) >= BATCH or event.ts_s - batch[0].ts_s >= BATCH_S):
            yield batch
            batch = []
        batch.append(event)
    if batch:
        yield batch


# -- what it amounts to ---------------------------------------------------------------------------------------------


def figures(
    make_watch: Callable[[list[Life]], Watch], seeds: Iterable[int], agents: int, days: int, say: Say
) -> dict[str, Any]:
    """Run all fleets, each before a new detector, and return what is counted.

    Parameters
    ----------
    make_watch
        Makes a detector for a fleet: some are told beforehand which tools an agent has.
    """
    alerts: Counter[str] = Counter()
    cases: defaultdict[str, list[Case]] = defaultdict(list)
    days_in_all, actions, alarmed = 0.0, 0, 0
    for seed in seeds:
        say(f"fleet {seed} ...")
        lives = make_lives(seed, agents, days)
        honest, found = run_fleet(make_watch(lives), lives)
        alerts += honest.alerts
        days_in_all += agents * (days + 1)
        actions, alarmed = actions + honest.actions, alarmed + honest.alarmed
        for name, more in found.items():
            cases[name] += more
    return {
        "honest": {
            "agent_days": days_in_all,
            "actions": actions,
            "alerts": alerts.total(),
            "alerts_per_agent_day": round(alerts.total() / days_in_all, 4),
            "actions_alerted_share": round(alarmed / actions, 4),
            "alerts_by_rhythm": dict(sorted(alerts.items())),
        },
        "scenarios": {name: summary(found) for name, found in cases.items()},
    }


def summary(cases: Sequence[Case]) -> dict[str, Any]:
    """Return how many of the cases were found, how late, and as what; also by rhythm."""
    by_rhythm: defaultdict[str, list[Case]] = defaultdict(list)
    for case in cases:
        by_rhythm[case.rhythm].append(case)
    kinds = Counter(case.kind for case in cases if case.kind)
    rhythms = {rhythm: _delays(own) for rhythm, own in by_rhythm.items()}
    return {**_delays(cases), "kinds": dict(kinds), "by_rhythm": rhythms}


def _delays(cases: Sequence[Case]) -> dict[str, Any]:
    found = [case for case in cases if case.kind]
    return {
        "agents": len(cases),
        "detected": len(found),
        "control_alerted": sum(case.is_control_alerted for case in cases),
        "actions_median": _median(case.number for case in found),
        "seconds_median": _median(case.since_s for case in found),
        "seconds_max": round(max(case.since_s for case in found), 2) if found else None,
    }


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return round(statistics.median(known), 2) if known else None
