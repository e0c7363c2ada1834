"""The same action sent twice counts once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.intake.seen_ids import SeenIds


def test_an_id_is_new_once_for_each_agent() -> None:
    seen = SeenIds(100, seed=1)
    assert [seen.is_new("a", "1"), seen.is_new("a", "1"), seen.is_new("b", "1")] == [True, False, True]


@given(st.integers(2, 40), st.integers(0, 200))
def test_at_least_half_the_capacity_is_remembered_and_never_more_than_all(capacity: int, sent: int) -> None:
    seen = SeenIds(capacity, seed=1)
    for number in range(sent):
        assert seen.is_new("a", str(number))
    assert sum(len(part) // 8 for part in seen.dump()) <= capacity
    for number in range(max(0, sent - capacity // 2), sent):
        assert not seen.is_new("a", str(number))


def test_a_forgotten_id_is_new_again_in_either_generation() -> None:
    seen = SeenIds(4, seed=1)
    for name in ("old", "other", "young"):
        seen.is_new("a", name)
    seen.forget("a", "old")
    seen.forget("a", "young")
    assert [seen.is_new("a", name) for name in ("old", "other", "young")] == [True, False, True]


def test_a_restored_memory_goes_on_as_the_first_would_have() -> None:
    first, second = SeenIds(10, seed=1), SeenIds(10, seed=1)
    for number in range(17):
        first.is_new("a", str(number))
    second.restore(first.dump())
    again = [str(number) for number in range(25)]
    assert [second.is_new("a", name) for name in again] == [first.is_new("a", name) for name in again]


def test_another_seed_gives_other_keys() -> None:
    first, second = SeenIds(10, seed=1), SeenIds(10, seed=2)
    first.is_new("a", "1")
    second.is_new("a", "1")
    assert first.dump() != second.dump()
