"""What runs in the peer's own environment: the rogue agent detector of Microsoft's Agent Governance Toolkit.

Started by :mod:`benchmarks.runaway_peer` as ``python -m benchmarks.runaway_peer_inside``. It reads one JSON object from
standard input, what to run, then the actions of a recorded stream, one JSON array each, and writes one JSON object.
Standard library only: the simulated streams are made here, from the same seeds as ours.
"""

from __future__ import annotations

import copy
import importlib
import json
import logging
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.runaway_loops import loop_figures
from benchmarks.runaway_run import figures
from benchmarks.runaway_streams import Event


class Rogue:
    """`RogueAgentDetector` in its default configuration, driven as the toolkit's own middleware drives it.

    Each call is recorded, under its tool's name, and the agent assessed at once; an alert is
    ``quarantine_recommended``, the answer to which is to refuse the call. Its clock is the stream's: it takes
    timestamps. Every agent has its profile of allowed tools and keeps to it.

    Two things are ours and change no answer: entropy is counted along, because its own way takes time in proportion to
    all that an agent ever did, and the list of past assessments is emptied.
    """

    def __init__(self, profiles: Mapping[str, Iterable[str]]) -> None:
        rogue: Any = importlib.import_module("agent_sre.anomaly.rogue_detector")
        self._detector = rogue.RogueAgentDetector()
        self._detector.entropy_scorer = counting(rogue.ActionEntropyScorer)()
        for agent, tools in profiles.items():
            self._detector.register_capability_profile(agent, sorted(tools))

    def take(self, events: Sequence[Event]) -> list[str]:
        """Return the largest part of the score of each action for which quarantine is recommended."""
        kinds = [self._assess(event) for event in events]
        self._detector._assessments.clear()
        return kinds

    def fork(self) -> Rogue:
        """Return a copy."""
        return copy.deepcopy(self)

    def _assess(self, event: Event) -> str:
        tool = event.action["tool"]
        self._detector.record_action(event.agent, action=tool, tool_name=tool, timestamp=event.ts_s)
        found = self._detector.assess(event.agent, timestamp=event.ts_s)
        if not found.quarantine_recommended:
            return ""
        parts = {
            "frequency": found.frequency_score,
            "entropy": found.entropy_score,
            "capability": found.capability_score,
        }
        return max(parts, key=lambda name: float(parts[name]))


def counting(scorer: Any) -> Any:
    """Return the toolkit's entropy scorer with counts kept along instead of all actions in a list."""

    class Counting(scorer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._counts: dict[str, Counter[str]] = defaultdict(Counter)

        def record(self, agent_id: str, action: str) -> None:
            self._counts[agent_id][action] += 1

        def entropy(self, agent_id: str) -> float | None:
            counts = self._counts[agent_id].values()
            total = sum(counts)
            if total < self.min_actions:
                return None
            return -sum(count / total * math.log2(count / total) for count in counts)

    return Counting


def profiles(events: Iterable[Event]) -> dict[str, set[str]]:
    """Return the tools that each agent uses in a stream."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        found[event.agent].add(event.action["tool"])
    return found


def main() -> None:
    """Take everything in, then answer."""
    logging.disable(logging.CRITICAL)
    asked = json.loads(sys.stdin.readline())
    events = [Event(ts_s, action, number) for ts_s, action, number in map(json.loads, sys.stdin)]
    answer = figures(
        lambda lives: Rogue({life.name: life.tools for life in lives}),
        asked["seeds"],
        asked["agents"],
        asked["days"],
        lambda text: print(f"agt_rogue: {text}", file=sys.stderr, flush=True),
    )
    loops = loop_figures(Rogue(profiles(events)), events) if events else None
    print(json.dumps({**answer, "loops": loops}))


if __name__ == "__main__":
    main()
