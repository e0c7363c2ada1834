"""A bank with little memory and a store is a bank with enough memory."""

from __future__ import annotations

import functools
import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import Bank, Features, MemorySpill, Scores, Settings
from tests.detectors.streams import HASHER, benign, hijacked, numbers

QUICK = Settings(min_actions=40, fleet_min_actions=200, alerts_per_agent_day=20.0)
AGENTS = 8
ACTIONS = 1200


@functools.cache
def stream() -> tuple[list[int], list[Features]]:
    agents, features = numbers(benign(3, AGENTS, ACTIONS))
    for i in range(700, ACTIONS, 90):  # some are flagged, wait for a verdict, and teach late
        features[i] = HASHER.features(**hijacked(features[i].ts_s, f"hijacked-{i}"))
    return agents, features


def run(bank: Bank, cuts: list[int], verdicts: list[int]) -> list[bytes]:
    """Take the stream cut at `cuts`; after each part the actions named in `verdicts` that it holds are dismissed."""
    agents, features = stream()
    found: list[bytes] = []
    edges = [0, *sorted(cuts), ACTIONS]
    for start, end in itertools.pairwise(edges):
        found.append(fields(bank.step(agents[start:end], features[start:end])))
        taught = [i for i in verdicts if start <= i < end]
        for i in taught:  # by then most of them have given way to others
            bank.learn([agents[i - 9], agents[i]], [features[i - 9], features[i]], 0.25 if i % 2 else 1.0)
    return [b"".join(part) for part in zip(*found, strict=True)]


def fields(scores: Scores) -> list[bytes]:
    return [np.ascontiguousarray(values).tobytes() for values in scores]


@settings(max_examples=25, deadline=None)
@given(
    max_agents=st.integers(1, AGENTS - 1),
    cuts=st.lists(st.integers(1, ACTIONS - 1), max_size=6),
    verdicts=st.lists(st.integers(700, ACTIONS - 1), max_size=5, unique=True),
)
def test_little_memory_with_a_store_gives_what_enough_memory_gives(
    max_agents: int, cuts: list[int], verdicts: list[int]
) -> None:
    enough, little = Bank(QUICK), Bank(QUICK, max_agents=max_agents, spill=MemorySpill(AGENTS))
    assert run(enough, cuts, verdicts) == run(little, cuts, verdicts)
    assert len(little) <= max_agents
    for agent in range(1, AGENTS + 1):
        assert agent in little
        assert little.calibration(agent) == enough.calibration(agent)
        assert little.export(agent) == enough.export(agent)


@settings(max_examples=10, deadline=None)
@given(
    max_agents=st.integers(1, 5),
    spilled=st.integers(0, 4),
    cuts=st.lists(st.integers(1, ACTIONS - 1), max_size=9),
)
def test_cutting_does_not_matter_when_agents_are_spilled_and_forgotten(
    max_agents: int, spilled: int, cuts: list[int]
) -> None:
    banks = [Bank(QUICK, max_agents=max_agents, spill=MemorySpill(spilled)) for _ in range(2)]
    assert run(banks[0], cuts, []) == run(banks[1], [], [])
    for agent in range(1, AGENTS + 1):
        assert (agent in banks[0]) == (agent in banks[1])


def test_something_is_flagged_in_that_stream() -> None:
    agents, features = stream()
    assert Bank(QUICK).step(agents, features).flagged[700:].sum() >= 3


def test_a_dumped_bank_goes_on_with_its_store() -> None:
    agents, features = stream()
    first = Bank(QUICK, max_agents=3, spill=MemorySpill(AGENTS))
    first.step(agents[:600], features[:600])
    kept = MemorySpill(AGENTS)
    kept._models = dict(first._residents._spill._models)  # type: ignore[union-attr]
    second = Bank.restore(QUICK, first.dump(), spill=kept)
    after = [bank.step(agents[600:], features[600:]) for bank in (first, second)]
    assert fields(after[0]) == fields(after[1])
