"""Models of idle agents on disk: what a checkpoint names is there after anything, and damage is one agent forgotten."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import MemorySpill, Spill
from monitor.log.checkpoint import decode_state, encode_state, read_checkpoint
from monitor.log.spill import PAGE_BYTES, SpillFile

MODEL_BYTES = 3906
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True)),
        st.tuples(st.just("take"), st.integers(1, 12)),
        st.tuples(
            st.sampled_from(("checkpoint", "failed checkpoint", "crash", "crash unsettled")), st.none()
        ),
    ),
    max_size=60,
)


def model(agent: int, turn: int = 0) -> bytes:
    return random.Random(agent * 1000 + turn).randbytes(MODEL_BYTES)


def opened(directory: Path, max_agents: int = 100, dumped: dict[str, Any] | None = None) -> SpillFile:
    directory.mkdir(exist_ok=True)
    spill = SpillFile(directory, max_agents)
    if dumped is not None:
        spill.restore(decode_state(encode_state(dumped)))
    return spill


def filled(directory: Path, *agents: int) -> SpillFile:
    spill = opened(directory)
    spill.put([(agent, model(agent)) for agent in agents])
    return spill


def only_file(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


# -- what every store does ------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Spill:
    return MemorySpill(3) if request.param == "memory" else SpillFile(tmp_path, 3)


def test_a_model_comes_back_once_as_it_went(store: Spill) -> None:
    store.put([(1, model(1)), (2**64 - 1, model(2))])
    assert 2**64 - 1 in store
    assert store.peek(1) == store.peek(1) == store.take(1) == model(1)
    assert store.take(1) is store.peek(1) is None
    assert store.take(2**64 - 1) == model(2)
    assert 2**64 - 1 not in store


def test_beyond_the_limit_what_has_lain_longest_is_forgotten(store: Spill) -> None:
    for agent in (1, 2, 3):
        store.put([(agent, model(agent))])
    assert store.take(1) == model(1)
    store.put([(1, model(1, 1)), (4, model(4)), (5, model(5))])
    assert [agent in store for agent in (1, 2, 3, 4, 5)] == [True, False, False, True, True]
    store.put([(agent, model(agent)) for agent in range(10, 20)])
    assert [agent for agent in range(20) if agent in store] == [17, 18, 19]


def test_a_limit_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    for store in (MemorySpill(0), SpillFile(tmp_path, 0)):
        store.put([(1, model(1))])
        assert store.take(1) is None
        assert len(store) == 0
    assert list(tmp_path.iterdir()) == []


# -- checkpoints ----------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(operations=OPERATIONS, max_agents=st.integers(1, 8))
def test_after_a_crash_it_holds_what_it_held_at_the_last_durable_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, Any]], max_agents: int
) -> None:
    directory = tmp_path_factory.mktemp("spill")
    spill, memory = opened(directory, max_agents), MemorySpill(max_agents)
    durable, expected = spill.dump(), dict[int, bytes]()
    for turn, (kind, what) in enumerate(operations):
        match kind:
            case "put":
                models = [(agent, model(agent, turn)) for agent in what if agent not in memory]
                spill.put(models)
                memory.put(models)
            case "take":
                assert spill.take(what) == memory.take(what)
            case "checkpoint":
                durable, expected = decode_state(encode_state(spill.dump())), dict(memory._models)
                spill.sync()
                spill.settle(durable)
            case "failed checkpoint":
                spill.dump()
            case _:
                if kind == "crash unsettled":
                    durable, expected = decode_state(encode_state(spill.dump())), dict(memory._models)
                    spill.put([(50 + turn, model(50))])
                spill.close()
                spill, memory._models = opened(directory, max_agents, durable), dict(expected)
        assert list(spill._slot_of) == list(memory._models), "who goes first is part of it"
    assert {agent: spill.peek(agent) for agent in spill._slot_of} == memory._models
    spill.close()


def test_the_file_does_not_grow_with_the_traffic(tmp_path: Path) -> None:
    spill, largest = opened(tmp_path, 20), 0
    for turn in range(60):
        for agent in random.Random(turn).sample(range(40), 15):
            if spill.take(agent) is None:
                spill.put([(agent, model(agent))])
        if turn % 3 == 0:
            dumped = spill.dump()
            spill.settle(dumped)
        largest = max(largest, only_file(tmp_path).stat().st_size)
    assert largest <= 3 * 20 * PAGE_BYTES


def test_nothing_is_made_before_there_is_something_to_keep(tmp_path: Path) -> None:
    spill = opened(tmp_path)
    spill.settle(spill.dump())
    spill.sync()
    again = opened(tmp_path, dumped=spill.dump())
    assert (len(again), list(tmp_path.iterdir())) == (0, [])


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    assert only_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_checkpoint_put_aside_and_taken_up_later_finds_its_own_models(tmp_path: Path) -> None:
    first = filled(tmp_path, 1, 2)
    aside = first.dump()
    first.close()
    other = opened(tmp_path)  # under another configuration: the log is replayed from its start
    other.put([(1, model(1, 7)), (2, model(2, 7))])
    other.close()
    again = opened(tmp_path, dumped=aside)
    assert [again.peek(agent) for agent in (1, 2)] == [model(1), model(2)]
    again.settle(again.dump())
    assert only_file(tmp_path).name == aside["file"]


def test_old_files_go_when_a_checkpoint_is_durable_that_does_not_need_them(tmp_path: Path) -> None:
    filled(tmp_path, 1, 2).close()
    anew = filled(tmp_path, 3)
    assert len(list(tmp_path.iterdir())) == 2
    anew.settle(anew.dump())
    assert only_file(tmp_path).name == anew.dump()["file"]
    assert anew.take(3) == model(3)


def test_a_smaller_limit_forgets_the_oldest_with_the_next(tmp_path: Path) -> None:
    first = filled(tmp_path, *range(1, 9))
    dumped = first.dump()
    first.close()
    again = opened(tmp_path, 3, dumped)
    again.put([(9, model(9))])
    assert [agent for agent in range(12) if agent in again] == [7, 8, 9]


def test_models_of_several_pages_and_of_another_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spill = opened(tmp_path)
    large = random.Random(1).randbytes(PAGE_BYTES + 1)
    spill.put([(1, large), (2, large[::-1])])
    spill.put([(3, b"small")])
    again = opened(tmp_path, dumped=spill.dump())
    assert [again.take(agent) for agent in (1, 2, 3)] == [large, large[::-1], None]
    assert "does not fit" in caplog.text


# -- damage ---------------------------------------------------------------------------------------------------------


def assert_forgotten_not_wrong(spill: SpillFile, agents: range) -> list[int]:
    """Every model is there whole or not at all; returns whose are there."""
    found = {agent: spill.take(agent) for agent in agents}
    assert all(bytes_ in (None, model(agent)) for agent, bytes_ in found.items())
    spill.put([(agent, model(agent, 1)) for agent in agents])
    assert all(spill.take(agent) == model(agent, 1) for agent in agents), "and it goes on"
    return [agent for agent, bytes_ in found.items() if bytes_ is not None]


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, 4 * PAGE_BYTES))
def test_a_file_cut_anywhere_forgets_what_was_cut_off(
    tmp_path_factory: pytest.TempPathFactory, length: int
) -> None:
    directory = tmp_path_factory.mktemp("spill")
    spill = filled(directory, 1, 2, 3, 4)
    dumped = spill.dump()
    spill.close()
    os.truncate(only_file(directory), length)
    there = assert_forgotten_not_wrong(opened(directory, dumped=dumped), range(1, 5))
    assert there == list(range(1, 1 + length // PAGE_BYTES))


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 4 * PAGE_BYTES - 1), xor=st.integers(1, 255))
def test_a_flipped_byte_costs_one_agent_its_model_at_most(
    tmp_path_factory: pytest.TempPathFactory, at: int, xor: int
) -> None:
    directory = tmp_path_factory.mktemp("spill")
    spill = filled(directory, 1, 2, 3, 4)
    path = only_file(directory)
    content = bytearray(path.read_bytes())
    content[at] ^= xor
    path.write_bytes(content)
    there = assert_forgotten_not_wrong(spill, range(1, 5))
    is_padding = at % PAGE_BYTES >= 16 + MODEL_BYTES
    assert there == [agent for agent in range(1, 5) if is_padding or agent != 1 + at // PAGE_BYTES]


def test_damage_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spill = filled(tmp_path, 1, 2, 3)
    dumped = spill.dump()
    path = only_file(tmp_path)
    path.write_bytes(b"x" + path.read_bytes()[1 : 2 * PAGE_BYTES])
    with caplog.at_level(logging.WARNING):
        again = opened(tmp_path, dumped=dumped)
        assert [again.take(agent) for agent in (1, 2, 3)] == [None, model(2), None]
    assert "1 idle agents are forgotten" in caplog.text
    assert "agent 0000000000000001 is forgotten, its spilled model is damaged" in caplog.text


def test_a_file_that_is_gone_or_cannot_be_read_is_told_and_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spill = filled(tmp_path, 1, 2)
    dumped = spill.dump()
    only_file(tmp_path).unlink()
    again = opened(tmp_path, dumped=dumped)
    assert "2 idle agents are forgotten" in caplog.text
    assert_forgotten_not_wrong(again, range(1, 3))
    again.put([(3, model(3))])
    os.close(again._handle)
    assert again.take(3) is None
    again._handle = -1
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize("writes", [0, 2])
def test_what_a_full_disk_does_not_take_is_forgotten_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    spill, pwrite, left = opened(tmp_path), os.pwrite, [writes]

    def full(handle: int, data: bytes, offset: int) -> int:
        left[0] -= 1
        return pwrite(handle, data, offset) if left[0] >= 0 else pwrite(handle, data[:100], offset)

    monkeypatch.setattr(os, "pwrite", full)
    spill.put([(agent, model(agent)) for agent in range(1, 5)])
    assert f"{4 - writes} idle agents are forgotten" in caplog.text
    monkeypatch.undo()
    assert assert_forgotten_not_wrong(spill, range(1, 5)) == list(range(1, 1 + writes))


# -- kill -9 --------------------------------------------------------------------------------------------------------

CHILD = """
import hashlib, random, sys
from pathlib import Path
from monitor.log.checkpoint import Checkpoint, write_checkpoint
from monitor.log.spill import SpillFile
from monitor.state_dir import write_private
directory, lots = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
spill, models, turn = SpillFile(directory / "spill", 40), {}, 0
while True:
    turn += 1
    for agent in lots.sample(range(80), 20):
        if agent in models:
            assert spill.take(agent) == models.pop(agent)
        else:
            models[agent] = lots.randbytes(3906)
            spill.put([(agent, models[agent])])
            models = {agent: model for agent, model in models.items() if agent in spill}
    if turn % 3 == 0:
        state = {"spill": spill.dump(), "models": dict(models)}
        spill.sync()
        write_checkpoint(directory / "checkpoint", Checkpoint(turn, "", state))
        spill.settle(state["spill"])
"""


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_instant_every_model_of_the_checkpoint_is_there(tmp_path: Path, seed: int) -> None:
    (tmp_path / "spill").mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), str(seed)], stderr=subprocess.PIPE, cwd=Path.cwd()
    )
    while not (tmp_path / "checkpoint").exists():
        assert child.poll() is None, child.stderr and child.stderr.read()
        time.sleep(0.01)
    time.sleep(random.Random(seed).uniform(0.05, 0.4))
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    found = read_checkpoint(tmp_path / "checkpoint", "")
    assert not isinstance(found, str)
    spill = SpillFile(tmp_path / "spill", 40)
    spill.restore(found.state["spill"])
    assert {agent: spill.peek(agent) for agent in range(80) if agent in spill} == found.state["models"]
