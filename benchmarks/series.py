"""Timing a call of a microsecond or so, the same way in every interpreter that takes part. Standard library only."""

from __future__ import annotations

import json
import random
import time
import timeit
from collections.abc import Callable
from typing import Any, Final

Action = tuple[str, str, str, str]  # agent, session, tool, human

ACTIONS: Final = 20_000
SERIES: Final = 20


def fresh_ns(run: Callable[[list[Action]], None], *, actions: int = ACTIONS, series: int = SERIES) -> float:
    """Return the nanoseconds for one action whose names are new strings, the best of `series` series.

    New strings, other ones each time, are what an action brings: nobody has hashed them yet.
    """
    text = json.dumps(_actions(actions))
    found = []
    for _ in range(series):
        fresh: list[Action] = json.loads(text)
        started_ns = time.perf_counter_ns()
        run(fresh)
        found.append((time.perf_counter_ns() - started_ns) / actions)
    return round(min(found), 1)


def hot_ns(statement: str, scope: dict[str, Any]) -> float:
    """Return the nanoseconds of one execution, the best of many short series (others share the machine)."""
    timer = timeit.Timer(statement, globals=scope)
    number = 2_000
    return round(min(timer.repeat(500, number)) / number * 1e9, 1)


def look_up_all(names: set[str], actions: list[Action]) -> None:
    """Look every action's agent up in a plain set."""
    for agent, _session, _tool, _human in actions:
        agent in names  # noqa: B015 - the look-up is what is measured


def _actions(count: int) -> list[Action]:
    numbers = random.Random(7)
    return [
        (
            f"bot-{numbers.randrange(10_000)}",
            f"run-{numbers.randrange(10**9)}",
            f"tool-{numbers.randrange(50)}",
            f"human-{numbers.randrange(1_000)}@example.com",
        )
        for _ in range(count)
    ]
