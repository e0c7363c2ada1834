"""The benchmark of agents that run away: the streams, what is counted of them, ours and the peer before them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NoReturn

import pytest

from benchmarks import runaway, runaway_peer
from benchmarks.peer_environment import NoPeers
from benchmarks.runaway_loops import loop_figures, numbered
from benchmarks.runaway_ours import Ours
from benchmarks.runaway_peer_inside import counting, profiles
from benchmarks.runaway_run import Alarms, Case, figures, run_fleet
from benchmarks.runaway_streams import DAY_S, SCENARIOS, START_S, Event, Life, Trouble, make_lives, merged
from tests.benchmarks.test_detect import write_stream

SEED, AGENTS = 1, 4
RHYTHMS = ["clockwork", "poller", "daily", "bursty"]


def past(days: int) -> tuple[list[Life], list[Event]]:
    lives = make_lives(SEED, AGENTS, days)
    return lives, list(merged(life.past() for life in lives))


def trouble(name: str, life: Life) -> Trouble:
    found = SCENARIOS[name](life)
    assert found is not None
    return found


class Scripted:
    """Alerts about every action from its `alerts_from`-th on, forks included; notes how many it was shown."""

    def __init__(self, alerts_from: int, taken: int = 0, shown: list[int] | None = None) -> None:
        self.alerts_from, self.taken = alerts_from, taken
        self.shown = [] if shown is None else shown

    def take(self, events: Sequence[Event]) -> list[str]:
        self.taken += len(events)
        self.shown.append(len(events))
        first = self.taken - len(events)
        return ["x" if first + at >= self.alerts_from else "" for at in range(len(events))]

    def fork(self) -> Scripted:
        return Scripted(self.alerts_from, self.taken, self.shown)


def event(number: int, agent: str = "a", tool: str = "t") -> Event:
    return Event(float(number), {"agent_id": agent, "session_id": "s", "tool": tool, "args": {}})


# -- the streams ----------------------------------------------------------------------------------------------------


def test_equal_seeds_make_equal_streams_in_the_order_of_time() -> None:
    lives, events = past(2)
    assert events == past(2)[1]
    assert [life.kind for life in lives] == RHYTHMS
    assert all(a.ts_s <= b.ts_s for a, b in pairwise(events))
    assert not any(event.number for event in events)


def test_honest_work_goes_on_where_the_past_ends() -> None:
    lives, events = past(2)
    for life in lives:
        end_s = max(event.ts_s for event in events if event.agent == life.name)
        assert START_S + 2 * DAY_S <= end_s < life.next_day[0].ts_s
        assert life.next_day[-1].ts_s >= end_s + DAY_S


def test_clockwork_never_varies_and_a_poller_never_calls_anything_else() -> None:
    (clockwork, poller, *_), events = past(1)
    times = [event.ts_s for event in events if event.agent == clockwork.name]
    assert len({b - a for a, b in pairwise(times)}) == 1
    calls = {
        (event.action["tool"], str(event.action["args"])) for event in events if event.agent == poller.name
    }
    assert len(calls) == 1


def test_a_burst_is_600_times_the_pace_and_a_ramp_doubles_every_forty_minutes() -> None:
    (life, *_), events = past(1)
    gap_s = events[-1].ts_s and life.next_day[1].ts_s - life.next_day[0].ts_s
    burst = list(islice(trouble("burst", life).events, 3))
    assert burst[1].since_s == pytest.approx(gap_s / 600)
    times = [event.since_s for event in trouble("ramp", life).events]
    counts = [sum(2400 * n <= since_s < 2400 * (n + 1) for since_s in times) for n in range(7)]
    assert all(b / a == pytest.approx(2.0, abs=0.1) for a, b in pairwise(counts))


def test_only_who_keeps_hours_wakes_at_an_odd_one_and_a_poller_has_no_loop() -> None:
    lives, _ = past(2)
    assert [life.kind for life in lives if SCENARIOS["odd_hour"](life)] == ["daily"]
    assert [life.kind for life in lives if SCENARIOS["loop"](life)] == ["clockwork", "daily", "bursty"]
    daily = lives[2]
    woken = next(event for event in trouble("odd_hour", daily).events if event.number)
    assert daily.opens_s == pytest.approx((trouble("odd_hour", daily).control_s - START_S) % DAY_S, abs=4000)
    apart_s = (woken.ts_s - START_S - daily.opens_s) % DAY_S
    assert apart_s == pytest.approx(16 * 3600)  # eight hours after it has closed, eight before it opens


# -- what is counted ------------------------------------------------------------------------------------------------


def test_alerts_on_successive_actions_of_one_agent_are_one() -> None:
    alarms = Alarms()
    for number, kind in enumerate(["", "x", "x", "", "x"]):
        alarms.note(event(number), "daily", kind)
        alarms.note(event(number, agent="b"), "daily", "")
    assert (alarms.actions, alarms.alarmed, alarms.alerts) == (10, 3, {"daily/x": 2})


def test_who_alerts_about_everything_is_told_by_the_control() -> None:
    honest, cases = run_fleet(Scripted(0), make_lives(SEED, AGENTS, 1))
    assert honest.actions == honest.alarmed > 0
    for case in [case for found in cases.values() for case in found]:
        assert case == Case(case.rhythm, "x", 1, 0.0, True)


def test_who_never_alerts_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(SCENARIOS, "ramp")  # a million actions
    found = figures(lambda lives: Scripted(10**9), [SEED], AGENTS, 1, print)
    assert found["honest"]["alerts"] == 0
    burst = found["scenarios"]["burst"]
    assert (burst["agents"], burst["detected"], burst["actions_median"], burst["kinds"]) == (4, 0, None, {})


def test_a_scenario_ends_with_the_first_alert_and_the_next_begins_where_the_past_ended() -> None:
    honest = sum(1 for _ in past(1)[1])
    watch = Scripted(honest + 10)
    _, cases = run_fleet(watch, make_lives(SEED, AGENTS, 1))
    assert all(0 < case.number <= 11 for name in ("burst", "ramp") for case in cases[name])
    assert watch.taken == honest


# -- ours -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    return figures(lambda lives: Ours(), [SEED], AGENTS, 18, print)


@pytest.mark.parametrize(
    ("scenario", "kinds"),
    [
        ("burst", {"rate", "loop"}),  # a loop: of those who always call the same
        ("short_burst", {"rate", "loop"}),
        ("ramp", {"rate", "loop"}),
        ("loop", {"loop"}),
        ("odd_hour", {"hour"}),
    ],
)
def test_we_tell_of_every_agent_that_runs_away_and_say_how(
    ours: dict[str, Any], scenario: str, kinds: set[str]
) -> None:
    found = ours["scenarios"][scenario]
    assert found["detected"] == found["agents"] > found["control_alerted"] == 0
    assert found["kinds"].keys() <= kinds


def test_we_tell_of_a_burst_within_seconds_and_of_a_loop_at_its_tenth_call(ours: dict[str, Any]) -> None:
    assert ours["scenarios"]["burst"]["seconds_max"] < 15
    assert ours["scenarios"]["loop"]["actions_median"] == 10


def test_of_honest_work_we_tell_of_nothing_but_a_pollers_first_days(ours: dict[str, Any]) -> None:
    assert ours["honest"]["alerts_by_rhythm"].keys() == {"poller/loop"}
    assert ours["honest"]["alerts_per_agent_day"] < 0.3


# -- real loops -----------------------------------------------------------------------------------------------------


def stream_of(tools: str) -> list[Event]:
    return numbered((e.ts_s, e.action) for e in (event(n, tool=tool) for n, tool in enumerate(tools)))


def test_calls_are_numbered_within_runs_of_one_session() -> None:
    assert [event.number for event in stream_of("aaabba")] == [1, 2, 3, 1, 2, 1]
    other = [event(number, agent="ab"[number % 2]) for number in range(4)]
    assert [e.number for e in numbered((e.ts_s, e.action) for e in other)] == [1, 1, 2, 2]


def test_runs_are_counted_by_length_and_by_the_call_that_was_alerted() -> None:
    found = loop_figures(Scripted(8), stream_of("b" * 3 + "a" * 12 + "c"))
    assert found["runs"]["10"] == {"sessions": 1, "alerted": 1, "calls_median": 6, "kinds": {"x": 1}}
    assert found["runs"]["15"]["sessions"] == 0
    assert (found["other_actions"], found["other_actions_alerted"]) == (4, 1)


@pytest.mark.parametrize("calls", [10, 15])
def test_we_tell_of_a_real_loop_at_the_call_that_is_configured(calls: int) -> None:
    found = loop_figures(Ours(f"[detection]\nloop_calls = {calls}"), stream_of("a" * 19))
    assert found["runs"]["15"] == {"sessions": 1, "alerted": 1, "calls_median": calls, "kinds": {"loop": 1}}


# -- the command ----------------------------------------------------------------------------------------------------


def arguments(*more: str) -> list[str]:
    return ["--seeds", str(SEED), "--agents", str(AGENTS), "--days", "1", *more]


def test_one_object_comes_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = write_stream(tmp_path, rounds=20)
    assert runaway.main(arguments("--no-peer", "--stream", str(stream), "--json")) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["ours"]["scenarios"].keys() == SCENARIOS.keys()
    assert result["ours"]["loops"]["actions"] == 104
    assert (result["peers"], result["fleets"]) == ({}, {"seeds": [1], "agents": 4, "days": 1})


def test_without_json_there_is_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runaway, "peer", lambda *_: {"skipped": "no index"})
    assert runaway.main(arguments()) == 0
    out = capsys.readouterr().out
    assert "burst" in out
    assert "agt_rogue: skipped, no index" in out


def test_a_stream_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runaway.main(["--stream", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("runaway: ")


# -- the peer -------------------------------------------------------------------------------------------------------


def test_a_peer_that_is_not_to_be_had_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> NoReturn:
        raise NoPeers("no package index")

    monkeypatch.setattr(runaway, "run_peer", nobody)
    assert runaway.peer([SEED], AGENTS, 1, []) == {"skipped": "no package index"}


def test_the_peer_knows_beforehand_which_tools_an_agent_of_a_recording_uses() -> None:
    assert profiles(stream_of("aab")) == {"a": {"a", "b"}}


def test_the_peer_is_told_no_arguments() -> None:
    told = runaway_peer._plain(stream_of("a")[0])
    assert told == (0.0, {"agent_id": "a", "session_id": "s", "tool": "a"}, 1)


def test_the_peers_entropy_is_counted_along_as_it_counts_it() -> None:
    class Scorer:
        min_actions = 4

    scorer = counting(Scorer)()
    found = []
    for action in "aabc":
        scorer.record("agent", action)
        found.append(scorer.entropy("agent"))
    assert found == [None, None, None, pytest.approx(1.5)]
    assert scorer.entropy("another") is None


@pytest.mark.skipif(
    not (runaway_peer.ENVIRONMENT.home / "installed").exists(), reason="the peer is not installed"
)
def test_an_installed_peer_sees_the_same_streams() -> None:
    lives, events = past(1)
    theirs = runaway_peer.run_peer([SEED], AGENTS, 1, stream_of("a" * 30), print)
    assert theirs["honest"]["actions"] == len(events) + sum(len(life.next_day) for life in lives)
    assert theirs["scenarios"].keys() == SCENARIOS.keys()
    assert theirs["loops"]["runs"]["20"]["sessions"] == 1
    assert theirs["note"].startswith(runaway_peer.PACKAGE)
