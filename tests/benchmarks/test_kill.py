from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import kill_peers
from benchmarks.kill import latencies_ms, measure, measure_in_flight
from tests.killswitch.conftest import Server

MS = 1_000_000


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "store")
    yield server
    server.close()


def test_each_time_belongs_to_the_round_that_began_last_before_it() -> None:
    started_ns = [10 * MS, 20 * MS]
    found, missed = latencies_ms(started_ns, [[11 * MS, 22 * MS], [13 * MS, 14 * MS, 25 * MS]])
    assert (sorted(found), missed) == ([1.0, 2.0, 3.0, 5.0], 0)


def test_a_point_that_saw_nothing_is_counted_and_moves_no_other_time() -> None:
    assert latencies_ms([10 * MS, 20 * MS], [[21 * MS], []]) == ([1.0], 3)


def test_what_was_seen_before_the_first_round_belongs_to_none() -> None:
    assert latencies_ms([10 * MS], [[9 * MS, 11 * MS]]) == ([1.0], 0)


@pytest.mark.redis
def test_every_point_is_measured_in_a_process_of_its_own(own: Server) -> None:
    found = measure(own.url, points=2, rounds=3)
    assert (found["missed"], found["floor_missed"], found["processes"]) == (0, 0, 2)
    assert 0 < found["p50_ms"] <= found["max_ms"]


@pytest.mark.redis
def test_a_running_task_is_cancelled_in_every_round(own: Server) -> None:
    assert measure_in_flight(own.url, rounds=2)["missed"] == 0


def test_without_a_package_index_the_peers_are_skipped_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_peers, "HOME", tmp_path / "peers")
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
        "PIP_CACHE_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    found = kill_peers.measure("redis://127.0.0.1:1", (0,), 1, lambda text: print(text, file=sys.stderr))
    assert "pip" in found["skipped"]
    assert kill_peers.ratios(found, {"p50_ms": 1.0}, {"p50_ms": 1.0}) == {}
