"""The brake on guessing: it slows whoever guesses, and nobody else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.access.throttle import (
    FORGET_AFTER_S,
    FREE_FAILURES,
    MAX_DELAY_S,
    Budget,
    Throttle,
    delay_s,
    network,
)

ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8:0:1::1", "unknown"])


def guess_until_slowed(throttle: Throttle, address: str, now_s: float = 0.0) -> None:
    for _ in range(FREE_FAILURES + 1):
        throttle.failed(address, "", now_s)


def test_a_few_failures_are_free_and_then_each_doubles_the_wait() -> None:
    throttle, waits, now_s = Throttle(), [], 0.0
    for _ in range(14):
        throttle.failed("10.0.0.1", "", now_s)
        waits.append(throttle.wait_s("10.0.0.1", "", now_s))
        now_s += waits[-1]
    assert waits[:FREE_FAILURES] == [0.0] * FREE_FAILURES
    assert waits[FREE_FAILURES : FREE_FAILURES + 4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == MAX_DELAY_S


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_wait_never_shrinks_as_failures_grow_and_is_bounded(one: int, other: int) -> None:
    assert delay_s(min(one, other)) <= delay_s(max(one, other)) <= MAX_DELAY_S


@given(st.lists(st.tuples(ADDRESSES, st.floats(0, 100)), max_size=60), ADDRESSES)
def test_failures_elsewhere_delay_nobody(failures: list[tuple[str, float]], mine: str) -> None:
    throttle = Throttle()
    for address, now_s in sorted(failures, key=lambda failure: failure[1]):
        if network(address) != network(mine):
            throttle.failed(address, "", now_s)
    assert throttle.wait_s(mine, "", 100.0) == 0.0


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.text(max_size=5)), max_size=200))
def test_memory_is_bounded_whatever_comes(failures: list[tuple[int, str]]) -> None:
    throttle = Throttle(max_tracked=16)
    for number, token_id in failures:
        throttle.failed(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", token_id, 1.0)
        throttle.worked(str(number), token_id)
    assert throttle.tracked <= 16
    assert len(throttle._worked) <= 16


def test_a_token_that_has_worked_is_not_kept_out_by_its_neighbours() -> None:
    throttle = Throttle()
    throttle.worked("10.0.0.1", "alices")
    guess_until_slowed(throttle, "10.0.0.1")
    assert throttle.wait_s("10.0.0.1", "", 0.0) > 0
    assert throttle.wait_s("10.0.0.1", "bobs", 0.0) > 0
    assert throttle.wait_s("10.0.0.1", "alices", 0.0) == 0.0


def test_guessing_at_a_token_that_has_worked_is_slowed_too() -> None:
    throttle = Throttle()
    throttle.worked("10.0.0.1", "alices")
    for _ in range(FREE_FAILURES + 1):
        throttle.failed("10.0.0.1", "alices", 0.0)
    assert throttle.wait_s("10.0.0.1", "alices", 0.0) > 0
    assert throttle.wait_s("10.0.0.1", "", 0.0) == 0.0


def test_guessing_ids_at_random_finds_no_fresh_start() -> None:
    throttle = Throttle()
    for number in range(FREE_FAILURES + 1):
        throttle.failed("10.0.0.1", f"id{number}", 0.0)
    assert throttle.wait_s("10.0.0.1", "another", 0.0) > 0


def test_the_past_is_forgotten() -> None:
    throttle = Throttle()
    guess_until_slowed(throttle, "10.0.0.1")
    throttle.failed("10.0.0.1", "", FORGET_AFTER_S)
    assert throttle.wait_s("10.0.0.1", "", FORGET_AFTER_S) == 0.0


def test_a_network_of_ipv6_and_a_mapped_address_count_as_one() -> None:
    assert network("2001:db8::1") == network("2001:db8::ffff:1") != network("2001:db8:0:1::1")
    assert network("::ffff:10.0.0.1") == network("10.0.0.1")
    assert network("fe80::1%eth0") == network("fe80::2")
    assert network("x" * 10_000) == "x" * 64


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1_000)), max_size=300))
def test_a_budget_is_never_overdrawn(events: list[tuple[str, float]]) -> None:
    budget, taken = Budget(per_key=5, in_all=8, refill_s=10.0), []
    for key, now_s in sorted(events, key=lambda event: event[1]):
        if budget.take(key, now_s):
            taken.append((key, now_s))
    for start in range(len(taken)):
        since_s = taken[start][1]
        for end in range(start, len(taken)):
            length_s = taken[end][1] - since_s
            window = taken[start : end + 1]
            assert len(window) <= 8 + length_s / 10.0 + 1e-6
            for key in "abc":
                assert sum(one == key for one, _ in window) <= 5 + length_s / 10.0 + 1e-6
    assert budget.take_left_out() == len(events) - len(taken)
    assert budget.take_left_out() == 0


def test_a_budget_forgets_keys_beyond_its_bound() -> None:
    budget = Budget(per_key=1, in_all=10**6, refill_s=10.0, max_keys=10)
    assert all(budget.take(str(number), 0.0) for number in range(100))
    assert len(budget._spent) == 10
