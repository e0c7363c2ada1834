from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from killswitch.supervise.processes import can_walk

ROOT = Path(__file__).resolve().parents[2]


def test_it_measures_calls_threads_and_trees_and_says_on_what() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.inflight", "--json", "--rounds", "2"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=100,
    )
    (line,) = ran.stdout.splitlines()
    result = json.loads(line)
    names = {"asyncio_call", "asyncio_stream", "thread_wait", "thread_recv"}
    if can_walk():
        names |= {"tree_walk_all_frozen", "tree_walk_all_gone", "tree_walk_first_signal"}
    assert names <= set(result["stopped_after"])
    for took in result["stopped_after"].values():
        assert 0 < took["p50_ms"] <= took["p99_ms"] <= took["max_ms"] < 30_000
    assert ran.returncode == (1 if result["over_bar"] else 0)
    assert result["machine"]["cpu"]
