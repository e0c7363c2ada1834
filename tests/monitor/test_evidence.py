"""What the flagged actions of one session add up to."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.evidence import MAX_REASONS, MAX_SESSIONS, Evidence, Flagged
from monitor.log.checkpoint import decode_state, encode_state

TEN, THOUSAND = math.log(10), math.log(1000)


def flagged(
    reason: str = "x", nats: float = TEN, *, agent: str = "a", session: str | None = "s", ts_s: float = 0.0
) -> Flagged:
    """An action that is so many nats below its threshold."""
    return Flagged(agent, session, ts_s, 1e-3 * math.exp(-nats), 1e-3, reason)


def test_evidence_is_how_far_an_action_lies_below_its_threshold() -> None:
    assert flagged(nats=THOUSAND).nats == pytest.approx(THOUSAND)
    assert Flagged("a", "s", 0.0, 0.5, 1e-3, "x").nats == 0.0
    assert math.isfinite(Flagged("a", "s", 0.0, 0.0, 1e-3, "x").nats)


def test_different_reasons_add_up() -> None:
    evidence = Evidence(100.0)
    evidence.add(flagged("x", TEN))
    assert evidence.add(flagged("y", THOUSAND)) == pytest.approx(TEN + THOUSAND)


def test_the_same_reason_counts_less_each_time() -> None:
    evidence = Evidence(100.0)
    totals = [evidence.add(flagged("x", TEN)) for _ in range(10)]
    assert totals[:3] == pytest.approx([TEN, TEN * 3 / 2, TEN * 11 / 6])
    assert totals[-1] < 3 * TEN


@pytest.mark.parametrize(
    "other", [flagged("y", agent="b"), flagged("y", session="t"), flagged("y", ts_s=100.1)], ids=repr
)
def test_another_agent_session_or_time_begins_anew(other: Flagged) -> None:
    evidence = Evidence(100.0)
    evidence.add(flagged())
    assert evidence.add(other) == pytest.approx(TEN)


def test_a_session_is_remembered_as_long_as_it_is_flagged() -> None:
    evidence = Evidence(100.0)
    for number in range(5):
        total = evidence.add(flagged(str(number), ts_s=number * 99.0))
    assert total == pytest.approx(5 * TEN)


def test_actions_without_a_session_stand_alone() -> None:
    evidence = Evidence(100.0)
    for reason in "xyz":
        assert evidence.add(flagged(reason, session=None)) == pytest.approx(TEN)
    assert evidence.dump() == []


def test_memory_is_bounded() -> None:
    evidence = Evidence(100.0)
    evidence.add(flagged(session="first"))
    for number in range(MAX_REASONS + 5):
        total = evidence.add(flagged(str(number)))
    assert total == pytest.approx(MAX_REASONS * TEN)
    for number in range(MAX_SESSIONS):
        evidence.add(flagged(session=str(number)))
    assert len(evidence.dump()) == MAX_SESSIONS
    assert evidence.add(flagged("y", session="first")) == pytest.approx(TEN), (
        "flagged longest ago, so forgotten"
    )


@given(st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), st.floats(0, 20), st.floats(0, 60)), max_size=30))
def test_restored_evidence_goes_on_as_the_first_would_have(steps: list[tuple[str, float, float]]) -> None:
    first, second, ts_s = Evidence(100.0), Evidence(100.0), 0.0
    for number, (reason, nats, passed_s) in enumerate(steps):
        ts_s += passed_s
        if number == len(steps) // 2:
            second.restore(decode_state(encode_state(first.dump())))
        total = first.add(flagged(reason, nats, ts_s=ts_s))
        if number >= len(steps) // 2:
            assert second.add(flagged(reason, nats, ts_s=ts_s)) == total


def test_a_restored_agent_begins_anew_and_others_keep_what_they_have() -> None:
    evidence = Evidence(100.0)
    evidence.add(flagged("x", TEN))
    evidence.add(flagged("x", TEN, agent="b"))
    evidence.forget("a")
    assert evidence.add(flagged("y", TEN)) == pytest.approx(TEN)
    assert evidence.add(flagged("y", TEN, agent="b")) == pytest.approx(2 * TEN)
