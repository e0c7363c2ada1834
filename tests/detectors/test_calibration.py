"""What the p-values promise: on normal traffic they hold, on attacks they are orders of magnitude lower."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detectors import RUNAWAY, Bank, Features, Scores, Settings
from detectors.layout import RHYTHM, UNIT
from tests.detectors.streams import DAY_S, HASHER, benign, hijacked, numbers, steps

AGENTS = 20
BUDGET = 4.0


@pytest.fixture(scope="module")
def fleet() -> tuple[Bank, list[Scores], list[int], list[Features]]:
    """Sixty thousand actions of twenty agents in five days, fixed seed; nobody gives a verdict on any alert.

    The alert budget is generous so that there are enough alerts to count.
    """
    agents, features = numbers(benign(11, AGENTS, 60_000))
    bank = Bank(Settings(alerts_per_agent_day=BUDGET))
    return bank, steps(bank, agents, features, 1024), agents, features


def together(scores: list[Scores], field: str) -> np.ndarray[Any, Any]:
    return np.concatenate([getattr(s, field) for s in scores])


def assert_promise_kept(scores: list[Scores], *, at_least: float) -> None:
    """Claim: over a stationary stream alerts / promised lies in [1/2, 3].

    These agents are all alike, which is the worst case: that an agent never reached as much halves its p-values.

    Promised is the sum of the thresholds, which is the budget for each full day that an agent is calibrated.
    """
    promised = together(scores, "threshold_p")[together(scores, "state") == 2].sum()
    realised = together(scores, "flagged").sum()
    assert promised > at_least
    assert promised / 2 <= realised <= promised * 3


def test_alerts_keep_the_promised_rate_though_nobody_judges_them(
    fleet: tuple[Bank, list[Scores], list[int], list[Features]],
) -> None:
    assert_promise_kept(fleet[1], at_least=300)


@pytest.mark.parametrize(("weight", "after_s"), [(0.25, DAY_S), (1.0, 3600.0)])
def test_alerts_keep_the_promised_rate_with_late_lessons(
    fleet: tuple[Bank, list[Scores], list[int], list[Features]], weight: float, after_s: float
) -> None:
    """Unjudged alerts teach weakly after a day; or an analyst dismisses each within the hour."""
    _, _, agents, features = fleet
    bank = Bank(Settings(alerts_per_agent_day=0.5))
    scores: list[Scores] = []
    waiting: list[tuple[int, Features]] = []
    for i in range(0, len(agents), 256):
        scores.append(bank.step(agents[i : i + 256], features[i : i + 256]))
        now_s = features[min(i + 255, len(features) - 1)].ts_s
        waiting += [(agents[i + k], features[i + k]) for k in np.flatnonzero(scores[-1].flagged)]
        while waiting and waiting[0][1].ts_s < now_s - after_s:
            agent, action = waiting.pop(0)
            bank.learn([agent], [action], weight)
    assert_promise_kept(scores, at_least=40)


@pytest.mark.parametrize(("level", "most"), [(0.1, 2.0), (0.03, 2.0), (0.01, 2.0), (0.001, 15.0)])
def test_p_values_of_benign_actions_are_not_too_small(
    fleet: tuple[Bank, list[Scores], list[int], list[Features]], level: float, most: float
) -> None:
    """The last level is far beyond the threshold; what is flagged is not learned, so values are 11 times too small."""
    p = together(fleet[1], "p")
    p = p[~np.isnan(p)]
    assert len(p) > 50_000
    assert level / 3 <= (p <= level).mean() <= most * level


def test_p_values_are_probabilities(fleet: tuple[Bank, list[Scores], list[int], list[Features]]) -> None:
    p = together(fleet[1], "p")
    signal_p = together(fleet[1], "signal_p")
    assert np.nanmin(p) > 0
    assert np.nanmax(p) <= 1
    assert np.nanmin(signal_p) > 0
    assert np.nanmax(signal_p) <= 1


def test_a_hijacked_agent_is_orders_of_magnitude_below_normal(
    fleet: tuple[Bank, list[Scores], list[int], list[Features]],
) -> None:
    shared, scores, agents, features = fleet
    bank = Bank.restore(shared.settings, shared.dump())
    normal = together(scores, "p")
    for agent in range(1, AGENTS + 1):
        last = max(f.ts_s for a, f in zip(agents, features, strict=True) if a == agent)
        action = HASHER.features(**hijacked(last + 2.0, "hijacked"))
        found = bank.step([agent], [action], teach=[False])
        assert found.flagged[0]
        assert found.p[0] < np.nanquantile(normal, 0.01) / 100


def steady(bank: Bank, gaps_s: list[float], agents: int = 10) -> float:
    """Let agents act with the given gaps, repeated; return the time at the end."""
    now_s = 1e9
    for gap_s in gaps_s:
        now_s += gap_s
        actions = [poll(now_s, agent) for agent in range(agents)]
        bank.step(list(range(agents)), actions)
    return now_s


def poll(ts_s: float, agent: int) -> Features:
    return HASHER.features(
        tool="poll", args={"n": 1}, ts_s=ts_s, session=str(agent), version=None, provenance=None
    )


def test_a_burst_of_600_times_the_rate_after_a_constant_rate_is_told_of_once() -> None:
    """AGT's detector gives such a burst a score of 0: the standard deviation before it is 0."""
    bank = Bank(Settings())
    now_s = steady(bank, [10.0] * 1200)
    burst = [poll(now_s + (i + 1) / 60, 1) for i in range(200)]
    scores = bank.step([1] * 200, burst)
    assert [RUNAWAY[code] for code in scores.runaway if code] == ["haste"]
    assert np.flatnonzero(scores.runaway)[0] < 60  # within the first second
    assert not scores.flagged.any()


def test_a_slow_ramp_does_not_carry_its_own_baseline_along() -> None:
    bank = Bank(Settings())
    now_s = steady(bank, [10.0] * 4000)
    told = []
    for i in range(20_000):  # twice as fast every 40 minutes
        now_s += 10.0 / (1.0 + i / 50)
        told.append(bank.step([1], [poll(now_s, 1)]).runaway[0])
        if any(told):
            break
    assert [RUNAWAY[code] for code in told if code] == ["haste"]


def test_an_agent_that_wakes_at_an_odd_hour_is_told_of_and_one_that_wakes_at_any_hour_is_not() -> None:
    for hours, expected in (((9, 9, 9), ["odd_hour"]), ((9, 15, 3), [])):
        bank = Bank(Settings())
        start_s = 86_400.0 * 10_000
        for day in range(60):
            for number in range(12):
                hour = hours[day % 3]
                bank.step([1], [poll(start_s + 86_400.0 * day + 3600.0 * hour + 10.0 * number, 1)])
        woken = bank.step([1], [poll(start_s + 86_400.0 * 60 + 3600.0 * 3, 1)])
        assert [RUNAWAY[code] for code in woken.runaway if code] == expected


def test_only_haste_is_strange_however_long_an_agent_rests() -> None:
    bank = Bank(Settings())
    now_s = steady(bank, [0.5, 0.5, 0.5, 900.0] * 200)
    p = {
        gap_s: float(bank.step([1], [poll(now_s + gap_s, 1)], teach=[False]).signal_p[0, RHYTHM])
        for gap_s in (90_000.0,)
    }
    now_s += 90_000.0
    p[0.5] = float(bank.step([1], [poll(now_s + 0.5, 1)], teach=[False]).signal_p[0, RHYTHM])
    p[0.01] = float(bank.step([1], [poll(now_s + 0.51, 1)], teach=[False]).signal_p[0, RHYTHM])
    assert p[90_000.0] == 1.0
    assert p[0.01] < p[0.5] / 10


def test_the_tail_is_not_followed_beyond_what_the_fleet_has_seen() -> None:
    """With 1,000 scores nobody knows what one in a hundred million looks like."""
    bank = Bank(Settings())
    now_s = steady(bank, [10.0] * 500)
    odd = HASHER.features(
        tool="wipe", args={"disk": "sda"}, ts_s=now_s + 1.0, session="1", version=None, provenance=None
    )
    scores = bank.step([1], [odd])
    seen = float(bank.dump()["fleet.fused"][:, 0].max()) / UNIT
    assert 1 / (2 * 1000 * (seen + 1)) <= scores.p[0] <= 0.01


def test_a_session_in_which_something_was_flagged_teaches_nothing_until_it_is_dismissed() -> None:
    bank = Bank(Settings())
    now_s = steady(bank, [10.0] * 600)
    odd = HASHER.features(
        tool="wipe", args={"disk": "sda"}, ts_s=now_s + 0.01, session="1", version=None, provenance=None
    )
    assert bank.step([1], [odd]).flagged[0]
    learned = bank.calibration(1).seen
    bank.step([1] * 20, [poll(now_s + 10.0 * (i + 1), 1) for i in range(20)])
    assert bank.calibration(1).seen == learned
    bank.learn([1], [odd], 1.0)
    bank.step([1], [poll(now_s + 1000.0, 1)])
    assert bank.calibration(1).seen == learned + 2


def test_an_agents_own_history_only_makes_it_harder_to_flag(
    fleet: tuple[Bank, list[Scores], list[int], list[Features]],
) -> None:
    shared, _, agents, features = fleet
    bank = Bank.restore(shared.settings, shared.dump())
    last = max(f.ts_s for a, f in zip(agents, features, strict=True) if a == 5)
    strange = HASHER.features(**hijacked(last + 2.0, "odd"))
    before = bank.step([5], [strange])
    bank.learn([5], [strange], 1.0)
    other = HASHER.features(
        **(hijacked(last + 2.0, "odd") | {"tool": "wipe_disk", "args": {"of": "everything"}})
    )
    after = bank.step([5], [other])
    assert after.p[0] > before.p[0]  # a dismissed oddity of this size is on its record now
