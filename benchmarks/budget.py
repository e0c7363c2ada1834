"""Does the false-kill budget hold, and are hijacks stopped? ``python -m benchmarks.budget --seeds 18-29 --json``.

Simulated fleets (`monitor.demo.fleet`, 24 agents, about a day of history each) go through the pure pipeline under the
default budgets in mode ``enforce``, in the order of time, as they would have live; nobody gives a verdict. Then some
agents of each fleet are hijacked, one after the other, for up to 60 bad actions. `distinct_false_alerts` counts alerts
of one agent with the same strongest signal and tool once. No clock is read: this counts, it does not time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from itertools import count, groupby
from random import Random
from typing import Any

from benchmarks.machine import describe
from monitor.config import parse_config
from monitor.core.pipeline import Outcomes, Pipeline
from monitor.demo.fleet import SimulatedAgent, make_fleet, merged_history
from monitor.intake.action import action_from_fields
from monitor.intake.observation import Observation, Observer

AGENTS = 24
HIJACKED = 8
MOST_BAD = 60
NOW_S = 1_795_000_000.0
DAY_S = 86_400.0
CONFIG = parse_config('[response]\nmode = "enforce"\nmax_automatic_kills = 1000')


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="18-29", help="first and last seed (default: 18-29)")
    parser.add_argument("--json", action="store_true", help="print the JSON object only")
    options = parser.parse_args(arguments)
    first, last = (int(seed) for seed in options.seeds.split("-"))
    fleets = [_fleet(seed) for seed in range(first, last + 1)]
    bad = [number for fleet in fleets for number in fleet["bad_actions_until_kill"]]
    stopped = [number for number in bad if number is not None]
    agent_days = len(fleets) * AGENTS
    budget = CONFIG.response
    result = {
        "agent_days": agent_days,
        "false_alerts": sum(fleet["false_alerts"] for fleet in fleets),
        "distinct_false_alerts": sum(fleet["distinct_false_alerts"] for fleet in fleets),
        "false_alerts_promised": budget.false_alerts_per_agent_day * agent_days,
        "false_kills": sum(fleet["false_kills"] for fleet in fleets),
        "false_kills_promised": budget.false_kills_per_agent_day * agent_days,
        "hijacks": len(bad),
        "hijacks_stopped": len(stopped),
        "bad_actions_until_kill_median": statistics.median(stopped),
        "fleets": fleets,
        "machine": describe(["numpy", "numba"]),
    }
    print(json.dumps(result))
    return 0


def _fleet(seed: int) -> dict[str, Any]:
    print(f"fleet {seed} ...", file=sys.stderr, flush=True)
    agents = make_fleet(seed, AGENTS)
    observer = Observer(bytes(32), store_args=False)
    pipeline = Pipeline(CONFIG)
    history = merged_history(agents, NOW_S)
    honest = _live(pipeline, [_observed(observer, action, f"{seed}-{i}") for i, action in enumerate(history)])
    chosen = Random(seed).sample(range(AGENTS), HIJACKED)
    return {
        "seed": seed,
        "actions": len(history),
        "false_alerts": len(honest.alerts),
        "distinct_false_alerts": len({(a.agent_id, a.reasons[0].signal, a.tool) for a in honest.alerts}),
        "false_kills": len(honest.requests),
        "bad_actions_until_kill": [_hijack(pipeline, observer, agents[number], seed) for number in chosen],
    }


def _live(pipeline: Pipeline, history: list[Observation]) -> Outcomes:
    """Step through the history minute by minute, with the clock that there was."""
    alerts, requests = [], []
    for minute, actions in groupby(history, lambda action: int(action.ts_s // 60)):
        outcomes = pipeline.step(list(actions), (minute + 1) * 60.0)
        alerts += outcomes.alerts
        requests += outcomes.requests
    return Outcomes(alerts, requests, [], [])


def _hijack(pipeline: Pipeline, observer: Observer, agent: SimulatedAgent, seed: int) -> int | None:
    """Return how many bad actions it took until the kill; None if 60 did not suffice."""
    ts_s, bad = NOW_S + 60.0, 0
    for number, call in zip(count(), agent.hijacked(), strict=False):
        ts_s += call.gap_s
        bad += call.is_bad
        action = _observed(observer, {**call.action, "ts": ts_s}, f"{seed}-{id(agent)}-{number}")
        if pipeline.step([action], NOW_S + DAY_S / 24, first_seq=1).requests:
            return bad
        if bad >= MOST_BAD:
            break
    return None


def _observed(observer: Observer, action: dict[str, Any], action_id: str) -> Observation:
    return observer.observe(action_from_fields({**action, "id": action_id}))


if __name__ == "__main__":
    sys.exit(main())
