"""The benchmark of many agents: one real run with few of them, and what it must not get wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.agents import Actions, resident_bytes


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.agents", *arguments], capture_output=True, text=True, timeout=110
    )


def test_a_small_fleet_is_measured_whole() -> None:
    done = run("--agents", "300", "--turns", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["agents"] == 300
    assert found["bytes_per_agent"] <= 4096 < found["river_bytes_per_agent"]
    assert found["export_bytes"] == found["bytes_per_agent"] + 2
    assert found["fleet_per_s"]["median"] > 0 < found["few_per_s"]["median"]
    assert found["export_us"] > 0 < found["load_us"]
    assert "Bank.step" in found["clock"]
    spill = found["spill"]
    assert spill["same_when_back"] is True
    assert spill["agents"] >= 150
    assert spill["out_per_s"] > 0 < spill["in_per_s"]
    assert 4096 <= spill["bytes_on_disk_per_agent"] < 5000


@pytest.mark.parametrize("agents", ["1", "4000001", "many"])
def test_so_many_agents_are_not_measured(agents: str) -> None:
    done = run("--agents", agents)
    assert (done.returncode, done.stdout) == (2, "")


def test_every_action_is_later_than_the_one_before() -> None:
    actions = Actions(1)
    times = [f.ts_s for _ in range(2) for _, part in actions.batches(range(1, 6000)) for f in part]
    assert times == sorted(set(times))


def test_memory_in_use_is_told() -> None:
    assert resident_bytes() > 20e6
