"""How fast actions are scored: ours, from a decoded action to its p-value, beside River's HalfSpaceTrees.

Both see the same synthetic stream in the same process, in turns; each number is the median over the turns, on a clock
of processor time. Ours covers everything from the decoded dictionary on: hashing, columns, signals, calibration,
fusion, learning. River's covers `score_one` and `learn_one` on numbers prepared before: one forest an agent, 10 trees
of height 8.

    python -m benchmarks.score --json
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.machine import describe
from detectors import Bank, Features, Hasher, Settings, detector_by_name, numeric_features, scoring
from detectors.columns import columns
from detectors.prior import shipped_prior

BATCHES = (1, 16, 256, 2048)
AGENTS = 32
WARM_ACTIONS = 20_000
ACTIONS = 8_192
RIVER_ACTIONS = 1_024
FOREST = {"n_trees": 10, "height": 8, "window_size": 250, "seed": 1}

Stream = list[tuple[int, dict[str, Any]]]


def stream(seed: int, count: int, start_s: float) -> Stream:
    """Return (agent, decoded action) pairs: 32 agents in eight trades, three arguments an action."""
    rng = random.Random(seed)
    now_s = start_s
    made: Stream = []
    for i in range(count):
        agent = rng.randrange(AGENTS)
        trade = agent % 8
        now_s += rng.expovariate(AGENTS / 5.0)
        action = {
            "tool": f"tool-{trade}-{rng.randrange(6)}",
            "args": {
                "path": f"/srv/{trade}/{min(int(rng.paretovariate(1.0)), 5000)}.txt",
                "recipient": f"user{min(int(rng.paretovariate(0.8)), 300)}@example.com",
                "text": "lorem ipsum " * rng.randrange(1, 12),
            },
            "ts_s": now_s,
            "session": f"run-{agent}-{i // 4000}",
            "version": "1.4.2",
            "provenance": {"path": "user", "recipient": rng.choice(("user", "user", "tool:read_contacts"))},
        }
        made.append((agent + 1, action))
    return made


class Ours:
    """Our whole step, and the kernel alone."""

    def __init__(self, warm: Stream) -> None:
        self._hasher = Hasher(1)
        self._settings = Settings()
        self.bank = Bank(self._settings)
        self.step(warm, 1024)

    def step(self, actions: Stream, size: int) -> None:
        """Score and learn decoded actions in batches."""
        features = self._hasher.features
        step = self.bank.step
        for i in range(0, len(actions), size):
            part = actions[i : i + size]
            step([agent for agent, _ in part], [features(**action) for _, action in part])

    def kernel(self, actions: Stream) -> Callable[[], object]:
        """Return a call of nothing but the compiled pass on prepared columns."""
        prepared = self._prepare(actions)
        rows = np.array([self.bank.row(agent) for agent, _ in actions], np.int64)
        n = len(actions)
        batch = columns(rows, prepared, np.ones(n, np.bool_), np.empty((n, 0)))
        results = np.zeros(n, self.bank._output)
        bank, rules = self.bank, self._settings.rules()
        return lambda: scoring.run(
            bank._rows, bank._fleet, batch, rules, shipped_prior(), results, scoring.SCORE, 0
        )

    def _prepare(self, actions: Stream) -> list[Features]:
        return [self._hasher.features(**action) for _, action in actions]


class River:
    """One HalfSpaceTrees an agent on prepared numbers."""

    def __init__(self, warm: Stream) -> None:
        self._hasher = Hasher(1)
        self._models = {
            agent: detector_by_name("river.anomaly.HalfSpaceTrees", FOREST) for agent in range(1, AGENTS + 1)
        }
        self.run(self.prepare(warm))

    def prepare(self, actions: Stream) -> list[tuple[Any, dict[str, float]]]:
        """Return (forest, numbers in [0, 1]) pairs."""
        features = self._hasher.features
        return [(self._models[agent], numeric_features(features(**action))) for agent, action in actions]

    def run(self, prepared: list[tuple[Any, dict[str, float]]]) -> None:
        """Score, then learn, each action."""
        for model, x in prepared:
            model.score_one(x)
            model.learn_one(x)

    def bytes_per_agent(self) -> int:
        """Return the memory of one forest, by River's own measure."""
        return int(statistics.median(model._raw_memory_usage for model in list(self._models.values())[:3]))


def per_s(work: Callable[[], object], count: int) -> float:
    """Return actions per second of processor time of one run: what a core does, whatever else runs beside."""
    start = time.thread_time()
    work()
    return count / (time.thread_time() - start)


def measure(seed: int, turns: int) -> dict[str, Any]:
    """Return all numbers; about half a minute."""
    warm = stream(seed, WARM_ACTIONS, 1.7e9)
    later = stream(seed + 1, ACTIONS, warm[-1][1]["ts_s"] + 1.0)
    ours = Ours(warm)
    river = River(warm[: RIVER_ACTIONS * 8])
    prepared = river.prepare(later[:RIVER_ACTIONS])
    kernel = ours.kernel(later)
    kernel()
    runs: dict[str, list[float]] = {"river": [], "kernel": [], **{str(size): [] for size in BATCHES}}
    for _ in range(turns):
        runs["river"].append(per_s(lambda: river.run(prepared), len(prepared)))
        for size in BATCHES:
            part = later if size > 1 else later[: ACTIONS // 4]
            runs[str(size)].append(per_s(lambda part=part, size=size: ours.step(part, size), len(part)))  # type: ignore[misc]
        runs["kernel"].append(per_s(kernel, len(later)))
    median = {name: statistics.median(values) for name, values in runs.items()}
    ratio = {
        name: statistics.median(a / b for a, b in zip(values, runs["river"], strict=True))
        for name, values in runs.items()
    }
    return {
        "ratio_to_river_hst": round(ratio["256"], 2),
        "per_s": round(median["256"]),
        "kernel_per_s": round(median["kernel"]),
        "river_per_s": round(median["river"]),
        "bytes_per_agent": ours.bank.bytes_per_agent,
        "river_bytes_per_agent": river.bytes_per_agent(),
        "batches": [
            {
                "size": size,
                "per_s": round(median[str(size)]),
                "ratio_to_river_hst": round(ratio[str(size)], 2),
                "spread_per_s": [round(min(runs[str(size)])), round(max(runs[str(size)]))],
            }
            for size in BATCHES
        ],
        "actions": len(later),
        "agents": AGENTS,
        "arguments_per_action": 3,
        "turns": turns,
        "seed": seed,
        "machine": describe(["numpy", "numba", "river", "xxhash"]),
    }


def main() -> None:
    """Run the benchmark and print its numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--turns", type=int, default=9, help="turns that the medians are taken over")
    options = parser.parse_args()
    found = measure(options.seed, options.turns)
    if options.json:
        print(json.dumps(found))
        return
    print(
        f"whole step, batch 256: {found['per_s']:,}/s = {found['ratio_to_river_hst']} x River's HalfSpaceTrees"
    )
    print(f"kernel alone:          {found['kernel_per_s']:,}/s")
    print(
        f"memory an agent:       {found['bytes_per_agent']:,} B (River: {found['river_bytes_per_agent']:,} B)"
    )
    for row in found["batches"]:
        print(f"  batch {row['size']:>5}: {row['per_s']:>9,}/s  ({row['ratio_to_river_hst']} x)")


if __name__ == "__main__":
    main()
