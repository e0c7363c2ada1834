"""What each agent did lately: bounded, and what it remembers is what happened."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.activity import MAX_KEPT_DOINGS, MAX_SCORES, MAX_SIGNALS, Activity
from monitor.core.alerts import Alert, ReasonText, ResponseTaken
from monitor.intake.action import Action
from monitor.intake.observation import Observation
from monitor.log.checkpoint import decode_state, encode_state
from tests.monitor.streams import observed

BLANK = observed(Action(id="x", ts=0.0, agent_id="a", tool="t"))[0]


def seen(agent: str = "a", ts: float = 0.0, **fields: Any) -> Observation:
    return msgspec.structs.replace(BLANK, agent_id=agent, ts_s=ts, **fields)


def alert(number: int, agent: str = "a") -> Alert:
    return Alert(
        id=f"al-{number}",
        ts="2026-01-01T00:00:00.000Z",
        agent_id=agent,
        session_id=None,
        tool="t",
        action_id="x",
        action_seq=number,
        verdict="anomalous",
        severity="high",
        p=0.001,
        threshold_p=0.01,
        title="strange",
        reasons=(
            ReasonText("tool", "a", "b", 0.01, f"first {number}"),
            ReasonText("rate", "9", "1", 0.02, f"second {number}"),
        ),
        response=ResponseTaken("alert", "alert", "alert", "why"),
    )


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[Observation, float, float]]:
    """Actions of three agents with few or many sessions, their p-values, and our clock."""
    sessions = draw(st.sampled_from((2, 40, 5000)))
    count = draw(st.integers(1, 1500))
    rng = draw(st.randoms(use_true_random=False))
    return [
        (
            seen(
                f"agent-{rng.randrange(3)}",
                float(rng.randrange(1000)),
                tool=rng.choice("abc"),
                session_id=rng.choice((None, f"s-{rng.randrange(sessions)}")),
                on_behalf_of=rng.choice(((), ("alice",), ("alice", "planner"))),
                credential=rng.choice((None, "k1")),
            ),
            rng.choice((math.nan, rng.random())),
            float(number),
        )
        for number in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(stories())
def test_the_newest_scores_and_the_latest_doings_are_what_happened(
    story: list[tuple[Observation, float, float]],
) -> None:
    activity = Activity()
    scores: dict[str, deque[tuple[Any, ...]]] = {}
    doings: dict[str, dict[tuple[Any, ...], tuple[float, float]]] = {}
    for seq, (action, p, now_s) in enumerate(story, 1):
        activity.note(action, seq, p, 0.25, now_s)
        kept = scores.setdefault(action.agent_id, deque(maxlen=MAX_SCORES))
        if p == p:
            kept.append((seq, action.ts_s, action.tool, action.session_id, pytest.approx(p, rel=1e-6), 0.25))
        key = (action.tool, action.session_id, action.on_behalf_of, action.credential)
        doings.setdefault(action.agent_id, {})[key] = (action.ts_s, now_s)
    for agent, expected in scores.items():
        assert [tuple(score) for score in activity.scores(agent)] == list(expected)
        found = {tuple(doing[:4]): tuple(doing[4:]) for doing in activity.doings(agent)}
        assert found.items() <= doings[agent].items(), "nothing is made up, and the last time is right"
        latest = sorted(doings[agent], key=lambda key: doings[agent][key][1])[-MAX_KEPT_DOINGS:]
        assert set(latest) <= set(found)
        if len(doings[agent]) <= MAX_SCORES:
            assert len(found) == len(doings[agent])
    assert activity.bytes == sum(agent.bytes() for agent in activity._agents.values())


@settings(max_examples=30, deadline=None)
@given(stories(), st.integers(0, 1500))
def test_a_restored_activity_goes_on_as_if_nothing_had_happened(
    story: list[tuple[Observation, float, float]], cut: int
) -> None:
    through, before, after = Activity(), Activity(), Activity()
    for seq, (action, p, now_s) in enumerate(story):
        through.note(action, seq, p, 0.1, now_s)
        if seq == cut:
            after.restore(decode_state(encode_state(before.dump())))
        (before if seq < cut else after).note(action, seq, p, 0.1, now_s)
    if cut < len(story):
        assert after.bytes == through.bytes
        for agent in through.agents():
            assert after.scores(agent) == through.scores(agent)
            assert after.doings(agent) == through.doings(agent)
        assert after.dump() == through.dump()


@settings(max_examples=30, deadline=None)
@given(stories(), st.integers(2_000, 60_000))
def test_memory_stays_within_its_bound_whatever_comes(
    story: list[tuple[Observation, float, float]], most: int
) -> None:
    activity = Activity(max_bytes=most)
    for seq, (action, p, now_s) in enumerate(story):
        activity.note(action, seq, p, 0.1, now_s)
        assert activity.bytes <= most or len(activity) == 1
        assert activity.doings(action.agent_id), "whoever acts right now is never the one that makes room"


def test_a_fleet_larger_than_memory_keeps_the_agents_that_act() -> None:
    activity = Activity(max_bytes=100_000)
    for number in range(20_000):
        activity.note(seen(f"once-{number}"), number, 0.5, 0.1, float(number))
        activity.note(seen("busy"), number, 0.5, 0.1, float(number))
    assert len(activity.scores("busy")) == MAX_SCORES
    assert 20 < len(activity) < 200
    assert "once-19999" in activity.agents()
    assert "once-0" not in activity.agents()


def test_while_the_model_is_calibrating_there_is_no_score_but_something_was_done() -> None:
    activity = Activity()
    activity.note(seen(session_id="s", ts=5.0), 1, math.nan, 0.1, 7.0)
    assert activity.scores("a") == []
    (doing,) = activity.doings("a")
    assert (doing.tool, doing.session_id, doing.last_ts, doing.at_s) == ("t", "s", 5.0, 7.0)


def test_the_smallest_p_values_are_still_numbers() -> None:
    activity = Activity()
    activity.note(seen(), 1, 1e-300, 1e-9, 0.0)
    (score,) = activity.scores("a")
    assert 0.0 <= score.p < 1e-30


def test_the_reasons_of_the_newest_alerts_are_kept_and_survive_a_checkpoint() -> None:
    first, second = Activity(), Activity()
    first.note(seen(), 1, 0.5, 0.1, 0.0)
    for number in range(MAX_SIGNALS):
        first.note_alert(alert(number))
    signals = first.signals("a")
    assert len(signals) == MAX_SIGNALS
    assert (signals[0].alert_id, signals[0].sentence) == (
        f"al-{MAX_SIGNALS - 1}",
        f"second {MAX_SIGNALS - 1}",
    )
    second.restore(decode_state(encode_state(first.dump())))
    assert second.signals("a") == signals
    assert second.bytes == first.bytes == sum(agent.bytes() for agent in first._agents.values())


def test_nothing_is_known_of_strangers() -> None:
    activity = Activity()
    activity.note_alert(alert(1, "stranger"))
    assert (activity.scores("stranger"), activity.doings("stranger"), activity.signals("stranger")) == (
        [],
        [],
        [],
    )
    assert activity.bytes == 0
