"""Real loops: sessions of a recorded stream that repeat one call, same tool and same arguments. Pure, standard library.

A recording does not say which repetition was a malfunction, so it is counted by length: how many sessions have a run of
so many identical calls, and of how many of these a detector tells before the run ends.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from benchmarks.runaway_run import Watch, batches
from benchmarks.runaway_streams import Event

LENGTHS: Final = (5, 10, 15, 20, 40)


def numbered(actions: Iterable[tuple[float, dict[str, Any]]]) -> list[Event]:
    """Return the actions with their places in a run of identical calls of their session, from 1."""
    latest: dict[tuple[str, str | None], tuple[str, int, float]] = {}
    events = []
    for ts_s, action in actions:
        session = _session(action)
        call = f"{action['tool']}\n{json.dumps(action['args'], sort_keys=True, default=str)}"
        before, number, began_s = latest.get(session, ("", 0, ts_s))
        number, began_s = (number + 1, began_s) if call == before else (1, ts_s)
        latest[session] = call, number, began_s
        events.append(Event(ts_s, action, number, ts_s - began_s))
    return events


def loop_figures(watch: Watch, events: Sequence[Event]) -> dict[str, Any]:
    """Put the stream before a detector and return what it says of runs, and of all that is in none."""
    kinds = [kind for batch in batches(events) for kind in watch.take(batch)]
    runs = _runs(events)
    within = {at for run in runs if len(run) >= min(LENGTHS) for at in run}
    others = [kind for at, kind in enumerate(kinds) if at not in within]
    told = Counter(kind for kind in others if kind)
    return {
        "actions": len(events),
        "sessions": len({_session(event.action) for event in events}),
        "runs": {str(length): _told(events, kinds, runs, length) for length in LENGTHS},
        "other_actions": len(others),
        "other_actions_alerted": told.total(),
        "other_kinds": dict(told),
    }


def _runs(events: Sequence[Event]) -> list[list[int]]:
    """Return each run as the places of its calls in the stream."""
    runs: dict[tuple[str, str | None], list[list[int]]] = defaultdict(list)
    for at, event in enumerate(events):
        own = runs[_session(event.action)]
        if event.number == 1:
            own.append([])
        own[-1].append(at)
    return [run for own in runs.values() for run in own]


def _told(
    events: Sequence[Event], kinds: Sequence[str], runs: Iterable[Sequence[int]], length: int
) -> dict[str, Any]:
    """Return in how many sessions there is such a run, and what the first alert after its first call was."""
    sessions: set[tuple[str, str | None]] = set()
    first: dict[tuple[str, str | None], int] = {}
    for run in runs:
        if len(run) >= length:
            session = _session(events[run[0]].action)
            sessions.add(session)
            for at in run[1:]:
                if kinds[at]:
                    first.setdefault(session, at)
    calls = [events[at].number for at in first.values()]
    return {
        "sessions": len(sessions),
        "alerted": len(first),
        "calls_median": statistics.median(calls) if calls else None,
        "kinds": dict(Counter(kinds[at] for at in first.values())),
    }


def _session(action: dict[str, Any]) -> tuple[str, str | None]:
    return action["agent_id"], action["session_id"]
