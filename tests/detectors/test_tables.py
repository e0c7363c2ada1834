from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.layout import UNIT, WAYS
from detectors.tables import bump, bump_slot, combine, count, keep, kinds, knows, shrink

keys_32 = st.integers(1, 0xFFFFFFFF)


def table(sets: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((sets, WAYS), np.uint32), np.zeros((sets, WAYS), np.uint16)


@settings(deadline=None)  # the first call compiles
@given(st.lists(keys_32, max_size=200), st.integers(0, 7))
def test_counts_are_exact_while_no_set_is_full(keys: list[int], spare: int) -> None:
    names, counts = table(64 + spare)
    homes = Counter((key * len(names)) >> 32 for key in set(keys))
    for key in keys:
        bump(names, counts, key, UNIT, 60_000)
    for key, times in Counter(keys).items():
        if homes[(key * len(names)) >> 32] <= WAYS:
            assert count(names, counts, key) == times * UNIT


def test_one_odd_key_cannot_evict_what_was_seen_often() -> None:
    names, counts = table(1)
    for key in range(1, WAYS + 1):
        for _ in range(100):
            bump(names, counts, key, UNIT, 60_000)
    bump(names, counts, 99, UNIT, 60_000)
    assert all(count(names, counts, key) >= 50 * UNIT for key in range(1, WAYS + 1))
    assert count(names, counts, 99) == 0


def test_a_newcomer_that_persists_gets_in() -> None:
    names, counts = table(1)
    for key in range(1, WAYS + 1):
        for _ in range(100):
            bump(names, counts, key, UNIT, 60_000)
    for _ in range(60):
        bump(names, counts, 99, UNIT, 60_000)
    assert count(names, counts, 99) > 0


def test_a_full_count_halves_the_table_and_keeps_proportions() -> None:
    names, counts = table(8)
    for _ in range(2000):
        bump(names, counts, 7, UNIT, 60_000)
    for _ in range(15_001):
        bump(names, counts, 11, UNIT, 60_000)
    assert count(names, counts, 11) == 30_002
    assert count(names, counts, 7) == 4000


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(keys_32, st.integers(0, 2)), max_size=150))
def test_kinds_sum_over_the_outcomes_of_one_context(seen: list[tuple[int, int]]) -> None:
    names = np.zeros((256, WAYS), np.uint32)
    counts = np.zeros((256, WAYS, 3), np.uint16)
    for key, outcome in seen:
        bump_slot(names, counts, key, outcome, UNIT, 60_000)
    tally = Counter(seen)
    homes = Counter((key * 256) >> 32 for key in {key for key, _ in seen})
    for key, outcome in tally:
        if homes[(key * 256) >> 32] <= WAYS:
            part, whole = kinds(names, counts, key, outcome)
            assert part == tally[key, outcome] * UNIT
            assert whole == sum(n for (other, _), n in tally.items() if other == key) * UNIT


@settings(deadline=None)  # the first call compiles
@given(st.lists(keys_32, min_size=1, max_size=100))
def test_the_latest_eight_values_of_a_set_are_known(keys: list[int]) -> None:
    values = np.zeros((1, WAYS), np.uint32)
    for key in keys:
        keep(values, key)
    latest = list(dict.fromkeys(reversed(keys)))[:WAYS]
    assert [int(value) for value in values[0] if value] == latest
    assert all(knows(values, key) for key in latest)


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
def test_fingerprints_are_nonzero_32_bit_numbers(left: int, right: int) -> None:
    assert 1 <= combine(left, right) <= 0xFFFFFFFF


@pytest.mark.parametrize("make", [lambda i: (i, 5), lambda i: (5, i), lambda i: (i % 256, i // 256)])
def test_fingerprints_of_small_numbers_fill_the_sets_evenly(make: object) -> None:
    homes = Counter((combine(*make(i)) * 256) >> 32 for i in range(65_536))  # type: ignore[operator]
    assert len(homes) == 256
    assert max(homes.values()) < 256 + 6 * 16  # six standard deviations


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 65_535), min_size=1, max_size=64), st.integers(0, 16))
def test_shrink_divides_by_a_power_of_two(counts: list[int], bits: int) -> None:
    array = np.array(counts, np.uint16)
    shrink(array, bits)
    assert array.tolist() == [n >> bits for n in counts]
