"""What a fleet costs: the models of many agents in one process, and those of idle agents on disk.

Every agent of the fleet acts a few times; then all take turns at random, so that nearly each action finds its model
outside the processor's caches, beside 32 agents whose models stay in them, in the same process, in turns. Idle agents
go to a real file and come back. River's HalfSpaceTrees, one forest an agent, is weighed in the same run.

    python -m benchmarks.agents --json --agents 1000000

A million agents need 4.5 GB of memory, and 0.2 GB on disk for a minute.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from benchmarks.score import RIVER_ACTIONS, River, per_s, stream
from detectors import Bank, Features, Hasher, Settings
from monitor.log.spill import SpillFile

AGENTS = 100_000
MOST_AGENTS = 4_000_000
FEW = 32
EACH = 4
"""How often every agent acts before anything is timed."""
BATCH = 256
TIMED_ACTIONS = 32_768
SAMPLE = 2_000
MOST_SPILLED = 50_000
POOL = 8_192
CLOCK = (
    "actions: processor time of `Bank.step` in batches of 256, from an action's features to its scores, with learning; "
    "features are made before. export, load: processor time of one call. spill: wall clock of `Bank.row` for agents "
    "that are not in memory, to and from the system's cache; `sync_s` is the fsync after it"
)

Work = list[tuple[list[int], list[Features]]]


class Actions:
    """Batches of actions of whatever agents: the features of a synthetic stream again and again, at later times."""

    def __init__(self, seed: int) -> None:
        hasher = Hasher(1)
        self._pool = [hasher.features(**action) for _, action in stream(seed, POOL, 0.0)]
        self._at = 0

    def batches(self, agents: Sequence[int], size: int = BATCH) -> Iterator[tuple[list[int], list[Features]]]:
        """Yield one action an agent, in order, a millisecond apart."""
        for start in range(0, len(agents), size):
            part = list(agents[start : start + size])
            features = []
            for _ in part:
                self._at += 1
                features.append(self._pool[self._at % POOL]._replace(ts_s=1.7e9 + self._at / 1000))
            yield part, features


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM; where the system does not tell, the most that ever was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return pages * resource.getpagesize()


def fill(bank: Bank, agents: int, actions: Actions, rng: np.random.Generator) -> float:
    """Let every agent act `EACH` times, in another order each time; return the longest batch of new agents, in ms."""
    longest_s = 0.0
    for turn in range(EACH):
        for part, features in actions.batches((rng.permutation(agents) + 1).tolist()):
            start = time.perf_counter()
            bank.step(part, features)
            if turn == 0:
                longest_s = max(longest_s, time.perf_counter() - start)
    return longest_s * 1000


def pace(banks: dict[str, Bank], actions: Actions, rng: np.random.Generator, turns: int) -> dict[str, Any]:
    """Return actions a second of each bank whose agents take turns at random, and the ratio within each turn."""
    runs: dict[str, list[float]] = {name: [] for name in banks}
    for _ in range(turns):
        for name, bank in banks.items():
            work = list(actions.batches((rng.integers(0, len(bank), TIMED_ACTIONS) + 1).tolist()))
            runs[name].append(per_s(lambda bank=bank, work=work: _step(bank, work), TIMED_ACTIONS))  # type: ignore[misc]
    found = {
        f"{name}_per_s": {
            "median": round(statistics.median(of)),
            "spread": [round(min(of)), round(max(of))],
        }
        for name, of in runs.items()
    }
    ratios = [large / few for large, few in zip(runs["fleet"], runs["few"], strict=True)]
    return {**found, "fleet_to_few": round(statistics.median(ratios), 3)}


def _step(bank: Bank, work: Work) -> None:
    for agents, features in work:
        bank.step(agents, features)


def moving(bank: Bank, lots: random.Random) -> dict[str, Any]:
    """Return what one model costs to be taken out as bytes and put back."""
    chosen = [lots.randrange(len(bank)) + 1 for _ in range(min(SAMPLE, len(bank)))]
    models: list[bytes] = []
    exported = per_s(lambda: models.extend(bank.export(agent) for agent in chosen), len(chosen))

    def load() -> None:
        for agent, model in zip(chosen, models, strict=True):
            bank.load(agent, model)

    loaded = per_s(load, len(chosen))
    return {
        "export_us": round(1e6 / exported, 2),
        "load_us": round(1e6 / loaded, 2),
        "export_bytes": len(models[0]),
    }


def spilling(bank: Bank, directory: Path, lots: random.Random) -> dict[str, Any]:
    """Return how fast agents go out to disk and come back, and whether they came back as they were."""
    count = max(1, min(len(bank) // 2, MOST_SPILLED))
    spill = SpillFile(directory, 2 * count)
    small = Bank(bank.settings, max_agents=count, spill=spill)
    for agent in range(1, count + 1):
        small.load(agent, bank.export(agent))
    out_s = _seconds(lambda: [small.row(agent) for agent in range(count + 1, 2 * count + 1)])
    sync_s = _seconds(spill.sync)
    on_disk = sum(path.stat().st_blocks * 512 for path in directory.iterdir())
    went_out = len(spill)
    there = [agent for agent in range(1, count + 1) if agent in spill]
    lots.shuffle(there)
    returning = Bank(bank.settings, max_agents=count, spill=spill)
    in_s = _seconds(lambda: [returning.row(agent) for agent in there])
    same = all(returning.export(agent) == bank.export(agent) for agent in there)
    spill.close()
    return {
        "agents": went_out,
        "out_per_s": round(went_out / out_s),
        "in_per_s": round(len(there) / in_s),
        "sync_s": round(sync_s, 3),
        "bytes_on_disk": on_disk,
        "bytes_on_disk_per_agent": round(on_disk / went_out),
        "same_when_back": same,
    }


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(seed: int, agents: int, turns: int) -> dict[str, Any]:
    """Return all numbers; ten seconds for a few agents, a minute and a half and 4.5 GB of memory for a million."""
    rng, lots, actions = np.random.default_rng(seed), random.Random(seed), Actions(seed)
    few = Bank(Settings(), max_agents=FEW)
    for _ in range(POOL // FEW // EACH):
        fill(few, FEW, actions, rng)
    before = resident_bytes()
    fleet = Bank(Settings(), max_agents=agents)
    longest_ms = fill(fleet, agents, actions, rng)
    after = resident_bytes()
    river = River(stream(seed, RIVER_ACTIONS * 8, 1.7e9)).bytes_per_agent()
    with tempfile.TemporaryDirectory() as directory:
        return {
            "agents": len(fleet),
            "bytes_per_agent": fleet.bytes_per_agent,
            "resident_bytes_per_agent": round((after - before) / agents),
            "resident_bytes_before": before,
            "resident_bytes_after": after,
            "river_bytes_per_agent": river,
            "river_to_ours": round(river / fleet.bytes_per_agent),
            "few": FEW,
            **pace({"few": few, "fleet": fleet}, actions, rng, turns),
            "longest_batch_of_new_agents_ms": round(longest_ms, 1),
            **moving(fleet, lots),
            "spill": spilling(fleet, Path(directory), lots),
            "batch": BATCH,
            "actions_per_agent_before": EACH,
            "timed_actions": TIMED_ACTIONS,
            "turns": turns,
            "seed": seed,
            "clock": CLOCK,
            "machine": describe(["numpy", "numba", "river"]),
        }


def main() -> None:
    """Run the benchmark and print its numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agents", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--agents", type=_agents, default=AGENTS, help=f"2 to {MOST_AGENTS:,}, 4.5 KB each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5, help="turns that the medians are taken over")
    options = parser.parse_args()
    found = measure(options.seed, options.agents, options.turns)
    if options.json:
        print(json.dumps(found))
        return
    spill = found["spill"]
    print(
        f"{found['agents']:,} agents in memory: {found['bytes_per_agent']:,} B a model "
        f"(River's forest: {found['river_bytes_per_agent']:,} B), {found['resident_bytes_per_agent']:,} B of RAM each"
    )
    print(
        f"taking turns at random: {found['fleet_per_s']['median']:,}/s, {found['fleet_to_few']} x that of {FEW} agents"
    )
    print(f"one model out and in:   {found['export_us']} us, {found['load_us']} us")
    print(
        f"to disk and back:       {spill['out_per_s']:,}/s out, {spill['in_per_s']:,}/s in, "
        f"{spill['bytes_on_disk_per_agent']:,} B an agent"
    )


def _agents(text: str) -> int:
    agents = int(text)
    if not 2 <= agents <= MOST_AGENTS:
        raise argparse.ArgumentTypeError(f"from 2 to {MOST_AGENTS:,}")
    return agents


if __name__ == "__main__":
    main()
