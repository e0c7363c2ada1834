"""Who has which row, who gives way, and that room for all costs nothing before it is used."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from detectors import MemorySpill
from detectors.layout import row_dtype
from detectors.residents import Residents, packed

DTYPE = row_dtype(0)


def residents(max_agents: int, spilled: int | None = None) -> Residents:
    return Residents(DTYPE, max_agents, None if spilled is None else MemorySpill(spilled))


def touch(kept: Residents, *agents: int) -> None:
    for agent in agents:
        kept.rows[kept.row(agent)]["acted"] += 1
        kept.rows_of([agent], 0)


def acted(kept: Residents, agent: int) -> int | None:
    row = kept.look(agent)
    return None if row is None else int(row["acted"])


def test_rows_that_nobody_has_cost_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = residents(500_000)
    kept.row(1)
    assert kept.rows.nbytes > 1.9e9
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_row_is_blank_when_it_is_given_out_also_the_second_time() -> None:
    kept = residents(1)
    for agent in (1, 2):
        row = kept.rows[kept.row(agent)]
        assert np.isnan(row["last_ts_s"])
        assert row["acted"] == 0
        row["last_ts_s"], row["acted"] = 5.0, 7


def test_the_idle_longest_gives_way_and_comes_back_as_it_was() -> None:
    kept = residents(3, spilled=10)
    touch(kept, 1, 2, 3, 1, 4)
    assert [kept.knows(agent) for agent in (1, 2, 3, 4, 5)] == [True, True, True, True, False]
    model = packed(kept.look(2))
    touch(kept, 5)
    assert packed(kept.rows[kept.row(2)]) == model
    assert [acted(kept, agent) for agent in (1, 2, 3, 4, 5)] == [2, 1, 1, 1, 1]


def test_without_a_store_who_gives_way_is_forgotten() -> None:
    kept = residents(2)
    touch(kept, 1, 2, 3)
    assert not kept.knows(1)
    assert acted(kept, 1) is None
    touch(kept, 1)
    assert acted(kept, 1) == 1


def test_an_agent_that_returns_is_not_pushed_out_by_the_one_that_makes_room_for_it() -> None:
    kept = residents(1, spilled=1)
    touch(kept, 1, 2, 1, 2, 1)
    assert (acted(kept, 1), acted(kept, 2)) == (3, 2)


def test_looking_moves_nothing() -> None:
    kept = residents(2, spilled=4)
    touch(kept, 1, 2, 3)
    clock, before = kept.clock, {name: table.copy() for name, table in kept.dump().items()}
    assert acted(kept, 1) == 1
    assert kept.clock == clock
    assert all((table == before[name]).all() for name, table in kept.dump().items())


def test_a_large_fleet_gives_way_in_passes_of_bounded_size() -> None:
    kept = residents(200_000, spilled=5000)
    for agent in range(200_001):
        kept.row(agent)
    assert len(kept) == 200_001 - 512
    assert [kept.knows(agent) for agent in (0, 511, 512)] == [True, True, True]
    assert kept._row_of.keys().isdisjoint(range(512))


def test_equal_states_have_equal_dumps_wherever_the_rows_lie() -> None:
    first, second = residents(4, spilled=9), residents(4, spilled=9)
    touch(first, 1, 2, 3, 4, 5)
    second.restore(first.dump(), first.clock)
    for kept in (first, second):
        kept._spill = MemorySpill(9)
        touch(kept, 7, 3, 8)
    dumps = [kept.dump() for kept in (first, second)]
    assert all(np.array_equal(dumps[0][name], dumps[1][name]) for name in dumps[0])
    assert first.clock == second.clock


def test_a_spilled_model_of_another_layout_is_one_forgotten() -> None:
    spill = MemorySpill(4)
    spill.put([(1, b"\xff\xff" + bytes(DTYPE.itemsize)), (2, b"short")])
    kept = Residents(DTYPE, 4, spill)
    assert kept.look(1) is None
    touch(kept, 1, 2)
    assert [acted(kept, agent) for agent in (1, 2)] == [1, 1]


def test_a_dump_with_more_agents_than_there_is_room_for_is_refused() -> None:
    kept = residents(4)
    touch(kept, 1, 2)
    with pytest.raises(ValueError, match="dump"):
        residents(1).restore(kept.dump(), kept.clock)


def test_a_loaded_model_replaces_the_spilled_one() -> None:
    kept = residents(1, spilled=3)
    touch(kept, 1, 1)
    model = packed(kept.rows[kept.row(1)])
    touch(kept, 1, 2)
    kept.load(1, model)
    assert acted(kept, 1) == 2
    assert len(kept) == 1
