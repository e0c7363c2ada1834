"""The figures of the detection benchmark, on cases that can be counted by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.detect_figures import (
    RATES,
    Floats,
    auroc,
    average_precision,
    by_goal,
    delay,
    figures,
    intervals,
    judge,
    rate_needed,
    threshold,
)
from benchmarks.labelled import Label


def labels(*codes: str) -> list[Label]:
    """``a1!`` is an attack action in session 1 of agent a that does the goal, ``a1+`` one that prepares it."""
    return [
        Label(c[0], c[1], c[-1] in "!+", c[0].upper() if c[-1] in "!+" else None, c[-1] == "!") for c in codes
    ]


def floats(*values: float) -> Floats:
    return np.array(values, np.float64)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 9.0), (0.09, 9.0), (0.1, 8.0), (0.25, 7.0)])
def test_a_threshold_lets_so_many_benign_scores_be_above_it(rate: float, expected: float) -> None:
    assert threshold(floats(*range(10)), rate) == expected


@given(st.lists(st.integers(0, 5), min_size=1), st.floats(0.0, 0.99))
def test_a_threshold_never_allows_more_than_its_rate_and_is_the_lowest_that_does_not(
    scores: list[int], rate: float
) -> None:
    benign = floats(*scores)
    allowed = math.floor(rate * len(benign) + 1e-9)
    limit = threshold(benign, rate)
    assert (benign > limit).sum() <= allowed
    lower = benign[benign < limit]
    assert not len(lower) or (benign > lower.max()).sum() > allowed


def test_nothing_is_above_a_threshold_without_benign_scores() -> None:
    assert not (floats(1e9) > threshold(floats(), 0.1)).any()


@given(
    st.lists(st.integers(0, 5), min_size=1),
    st.lists(st.integers(0, 5), min_size=1),
)
def test_auroc_is_the_share_of_pairs_in_the_right_order(benign: list[int], attacks: list[int]) -> None:
    pairs = [(a > b) + (a == b) / 2 for a in attacks for b in benign]
    assert auroc(floats(*benign), floats(*attacks)) == pytest.approx(sum(pairs) / len(pairs), abs=1e-4)


def test_average_precision_counts_equal_scores_together() -> None:
    assert average_precision(floats(1.0, 3.0), floats(4.0, 2.0)) == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)
    assert average_precision(floats(1.0, 1.0), floats(1.0, 1.0)) == 0.5


@given(
    st.lists(st.integers(0, 5), min_size=1),
    st.lists(st.integers(0, 5), min_size=1),
)
def test_average_precision_is_the_area_under_the_steps(benign: list[int], attacks: list[int]) -> None:
    limits = [math.inf, *sorted(set(attacks), reverse=True)]
    area = 0.0
    for higher, limit in pairwise(limits):
        found, false = sum(a >= limit for a in attacks), sum(b >= limit for b in benign)
        area += (found - sum(a >= higher for a in attacks)) / len(attacks) * found / (found + false)
    assert average_precision(floats(*benign), floats(*attacks)) == pytest.approx(area, abs=1e-4)


def test_a_session_is_found_by_its_strangest_attack_action() -> None:
    judgement = judge(labels("a1", "a1+", "a1!", "a1", "b2!", "b3"))
    found = figures(floats(2.0, 1.0, 5.0, 99.0, 1.0, 0.0), judgement)
    assert found["sessions_1e3"] == 0.5
    assert found["actions_1e3"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["goal_1e3"] == 0.5
    assert found["delay_1e3"] == 1


def test_what_a_hijacked_session_does_after_its_attack_counts_neither_way() -> None:
    judgement = judge(labels("a1", "a1!", "a1", "a2"))
    assert judgement.benign.tolist() == [True, False, False, True]


def test_figures_without_an_attack_or_a_benign_action_are_unknown() -> None:
    quiet = figures(floats(1.0, 2.0), judge(labels("a1", "a1")))
    assert set(quiet.values()) == {None}
    hopeless = figures(floats(1.0), judge(labels("a1!")))
    assert (hopeless["auroc"], hopeless["sessions_1e3"], hopeless["delay_1e3"]) == (None, 0.0, None)


def test_delay_counts_the_attack_actions_before_the_first_alert() -> None:
    judgement = judge(labels("a1!", "a1!", "a1!", "b2!", "b3!"))
    assert delay(floats(0.0, 0.0, 5.0, 5.0, 0.0), judgement, 1.0) == 1.0


def test_intervals_hold_the_recall_and_repeat() -> None:
    codes = [code for agent in "abcdefgh" for code in (f"{agent}1",) * 40 + (f"{agent}2!",)]
    scores = np.random.default_rng(1).normal(size=len(codes)) + floats(*(3.0 * (c[-1] == "!") for c in codes))
    judgement = judge(labels(*codes))
    found = intervals(scores, judgement)
    for name in RATES:
        interval, recall = found[f"sessions_{name}_interval"], figures(scores, judgement)[f"sessions_{name}"]
        assert interval is not None
        assert recall is not None
        assert 0.0 <= interval[0] <= recall <= interval[1] <= 1.0
        assert interval[0] < interval[1]
    assert intervals(scores, judgement) == found


def test_without_an_attack_there_is_no_interval() -> None:
    assert set(intervals(floats(1.0), judge(labels("a1"))).values()) == {None}


def test_the_rate_needed_is_the_share_of_benign_scores_that_would_be_alerted_too() -> None:
    benign = floats(0.0, 1.0, 2.0, 3.0)
    assert rate_needed(benign, floats(9.0, 3.0, 1.5, -1.0)).tolist() == [0.0, 0.25, 0.5, 1.0]


@given(st.lists(st.integers(0, 9), min_size=1), st.integers(0, 9))
def test_at_the_rate_needed_a_score_is_above_the_threshold_and_below_it_is_not(
    scores: list[int], score: int
) -> None:
    benign = floats(*scores)
    needed = float(rate_needed(benign, floats(score))[0])
    if needed < 1.0:
        assert score > threshold(benign, needed)
    if needed > 0.0:
        assert score <= threshold(benign, needed - 1 / len(benign))


def test_each_goal_has_its_row() -> None:
    codes = ["a1"] * 1000 + ["a1!", "a2!", "b3+", "b3!"]
    scores = floats(*range(1000), 998.5, 2000.0, 0.0, 2000.0)
    goals = [(code[0], code[0].upper() if len(code) > 2 else None) for code in codes]
    rows = by_goal(scores, judge(labels(*codes)), goals)
    assert rows == [
        {
            "suite": "a",
            "attack": "A",
            "sessions": 2,
            "found_1e3": 2,
            "found_1e4": 1,
            "median_rate_needed": 0.0005,
        },
        {
            "suite": "b",
            "attack": "B",
            "sessions": 1,
            "found_1e3": 1,
            "found_1e4": 1,
            "median_rate_needed": 0.0,
        },
    ]
