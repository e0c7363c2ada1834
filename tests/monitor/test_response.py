"""The response policy: budgets, modes, evidence that adds up, and the guard against a broken detector."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config import Response
from monitor.core.evidence import Flagged
from monitor.core.response import Decision, ResponsePolicy

ALERT_P = 1e-3
KILL_P = 1e-5  # at the default budgets: a kill may be wrong a hundred times less often than an alert


def policy(**fields: Any) -> ResponsePolicy:
    return ResponsePolicy(Response(**{"mode": "enforce", **fields}))


def decide(
    by: ResponsePolicy,
    p: float,
    *,
    now_s: float = 0.0,
    agent: str = "a",
    session: str | None = None,
    ts_s: float = 0.0,
    may_kill: bool = True,
    is_stopped: bool = False,
    reason: str = "novelty of send_money",
) -> Decision:
    flagged = Flagged(agent, session, ts_s, p, ALERT_P, reason)
    return by.decide(flagged, may_kill=may_kill, is_stopped=is_stopped, now_s=now_s)


# -- budgets --------------------------------------------------------------------------------------------------------


@given(st.floats(-15, -3.0001), st.floats(0.001, 1.0))
def test_the_kill_threshold_is_the_budgets_share_of_the_alert_threshold(log_p: float, share: float) -> None:
    p = 10.0**log_p
    decision = decide(policy(false_alerts_per_agent_day=1.0, false_kills_per_agent_day=share), p)
    if not math.isclose(p, ALERT_P * share, rel_tol=1e-9):
        assert (decision.kill is not None) == (p < ALERT_P * share)


def test_equal_budgets_kill_on_every_alert() -> None:
    assert decide(policy(false_alerts_per_agent_day=0.1, false_kills_per_agent_day=0.1), ALERT_P).kill


def test_what_is_strange_but_not_enough_is_an_alert() -> None:
    decision = decide(policy(), ALERT_P / 2)
    assert (decision.wanted, decision.taken, decision.severity) == ("alert", "alert", "medium")
    assert decide(policy(), KILL_P * 5).severity == "high"


@pytest.mark.parametrize("kill", ["suspend", "revoke"])
def test_what_is_strange_enough_is_stopped_as_configured(kill: str) -> None:
    decision = decide(policy(kill=kill), KILL_P / 2)
    assert (decision.wanted, decision.taken, decision.kill, decision.severity) == (
        kill,
        kill,
        kill,
        "critical",
    )


# -- modes and brakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "taken"), [("observe", "none"), ("alert", "alert")])
def test_without_enforce_nobody_is_stopped_and_it_says_so(mode: str, taken: str) -> None:
    decision = decide(policy(mode=mode), 1e-12)
    assert (decision.wanted, decision.taken, decision.kill) == ("suspend", taken, None)
    assert mode in decision.why
    assert decide(policy(mode=mode), ALERT_P / 2).taken == taken


def test_a_model_that_recalibrates_stops_nobody() -> None:
    decision = decide(policy(), 1e-12, may_kill=False)
    assert (decision.wanted, decision.taken) == ("suspend", "alert")
    assert "recalibrated" in decision.why


def test_an_agent_that_is_stopped_is_not_stopped_again() -> None:
    by = policy(max_automatic_kills=1)
    assert decide(by, 1e-12, is_stopped=True).taken == "alert"
    assert decide(by, 1e-12).kill, "what stopped nobody must not count against the guard"


# -- evidence -------------------------------------------------------------------------------------------------------

HALF = math.sqrt(ALERT_P * KILL_P) / 1.01  # two of these reach the limit


def test_different_reasons_of_one_session_add_up() -> None:
    by = policy()
    assert decide(by, HALF, session="s").kill is None
    second = decide(by, HALF, session="s", reason="transition of send_money")
    assert second.kill == "suspend"
    assert "add up" in second.why


# -- the blast radius -----------------------------------------------------------------------------------------------

STEPS = st.lists(st.tuples(st.floats(0, 40), st.sampled_from([1e-12, ALERT_P / 2])), max_size=60)


@given(STEPS, st.integers(1, 4))
def test_there_are_never_more_kills_in_any_window_than_allowed(
    steps: list[tuple[float, float]], most: int
) -> None:
    by = policy(max_automatic_kills=most, automatic_kills_window_s=100.0)
    now_s, kills = 0.0, []
    for passed_s, p in steps:
        now_s += passed_s
        was_paused = by.is_paused(now_s)
        decision = decide(by, p, now_s=now_s)
        if decision.kill:
            assert not was_paused
            kills.append(now_s)
        elif decision.wanted == "suspend":
            assert was_paused
    for start_s in kills:
        assert sum(start_s <= at_s < start_s + 100.0 for at_s in kills) <= most


def test_the_guard_holds_back_says_so_once_and_lets_go_again() -> None:
    by = policy(max_automatic_kills=2, automatic_kills_window_s=100.0)
    taken = [decide(by, 1e-12, now_s=at_s) for at_s in (0.0, 10.0, 20.0, 30.0, 99.9, 100.0, 105.0)]
    assert [decision.taken for decision in taken] == [
        *["suspend"] * 2,
        *["alert"] * 3,
        "suspend",
        "alert",
    ]
    assert [decision.opens_pause for decision in taken] == [False, False, True, False, False, False, True]
    assert "2 automatic kills within 100 s" in taken[2].why
    assert by.is_paused(105.0)
    assert not by.is_paused(110.0)


@given(STEPS, STEPS)
def test_a_restored_policy_decides_as_the_first_would_have(
    before: list[tuple[float, float]], after: list[tuple[float, float]]
) -> None:
    first, now_s = policy(max_automatic_kills=2, automatic_kills_window_s=100.0), 0.0
    for passed_s, p in before:
        now_s += passed_s
        decide(first, p, now_s=now_s, session="s", ts_s=now_s)
    second = policy(max_automatic_kills=2, automatic_kills_window_s=100.0)
    second.restore(first.dump())
    for number, (passed_s, p) in enumerate(after):
        now_s += passed_s
        again: dict[str, Any] = {"now_s": now_s, "session": "s", "ts_s": now_s, "reason": str(number % 3)}
        assert decide(first, p, **again) == decide(second, p, **again)


def test_a_kill_that_is_withdrawn_does_not_count() -> None:
    by = policy(max_automatic_kills=1)
    decide(by, 1e-12, now_s=1.0)
    by.withdraw(0.5)
    assert by.is_paused(2.0)
    by.withdraw(1.0)
    by.withdraw(1.0)
    assert decide(by, 1e-12, now_s=2.0).kill
