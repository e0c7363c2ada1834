"""A back-test comes to what the policy would have come to, and says so in numbers that mean what they say."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from killswitch import Change, Target
from killswitch.revocations import Request
from killswitch.revocations import apply as applied
from killswitch.storage.codec import encode_change
from monitor.config import Config, parse_config
from monitor.core import backtest as backtest_module
from monitor.core import findings as findings_module
from monitor.core import tally as tally_module
from monitor.core.alerts import alert_id, change_id
from monitor.core.backtest import Backtest, Policy, Report, backtest
from monitor.core.findings import Finding
from monitor.core.minutes import Minute, Minutes
from monitor.core.pipeline import Pipeline
from monitor.demo.fleet import make_fleet, merged_history
from monitor.intake.action import action_from_fields
from monitor.intake.observation import Observation
from monitor.log.entries import Actions, Entry, Judgement, Transition, Withdrawal
from monitor.log.history import read_history
from tests.monitor.engines import Node, ingest
from tests.monitor.scripted import ScriptedPipeline
from tests.monitor.streams import ENFORCE, OBSERVER, PACE_S, START_S, WARM, config, habit, habits
from tests.monitor.streams import strange as strange_action

LATER_S = START_S + 1e6
"""Everything was received by then."""

END_S = START_S + WARM / 4 * PACE_S
"""When the warm-up is over."""

NEVER = 1e-9
"""A budget of false kills that no evidence is enough for."""


@pytest.fixture(autouse=True)
def scripted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is flagged is up to the test, unless it asks for the `real_pipeline`."""
    if "real_pipeline" not in request.fixturenames:
        monkeypatch.setattr(backtest_module, "Pipeline", ScriptedPipeline)


@pytest.fixture
def real_pipeline() -> None:
    """Leaves it in its place."""


def policy(*, min_actions: int = 40, **response: Any) -> Config:
    """One that kills whatever is flagged."""
    settings = {
        "mode": "enforce",
        "false_alerts_per_agent_day": 1.0,
        "false_kills_per_agent_day": 1.0,
        "evidence_window_s": 1.0,
        **response,
    }
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    return parse_config(
        f"[detection]\nmin_actions = {min_actions}\nfleet_min_actions = 200\n[response]\n{lines}"
    )


@functools.cache
def warm_up() -> tuple[Observation, ...]:
    return tuple(habits(WARM))


def strange(number: int, agent: str = "agent-0", *, at_s: float = 0.0) -> Observation:
    """Something no agent ever did, so long after the warm-up."""
    action = strange_action(number, agent)
    return OBSERVER.observe(msgspec.structs.replace(action, ts=END_S + at_s))


def received(*actions: Observation, at_s: float = LATER_S) -> Actions:
    return Actions(at_s, list(actions))


def history(*entries: Entry | Observation) -> Iterator[Entry]:
    """A warm-up, and what comes after it."""
    yield received(*warm_up())
    for entry in entries:
        yield received(entry) if isinstance(entry, Observation) else entry


def by_hand(
    kind: Any, agent: str = "agent-0", change: str = "by-hand", *, until_s: float = 9e9
) -> Transition:
    """What people, or under an automatic id the policy of then, did to a free or a stopped agent."""
    return Transition(LATER_S, encode_change(changed(kind, agent, change, until_s=until_s)))


def changed(kind: Any, agent: str, change: str, *, until_s: float = 9e9) -> Change:
    target, before = Target("agent", agent), None
    ends_s = until_s if kind in ("suspend", "expire") else None
    if kind in ("restore", "expire"):
        stop: Any = "suspend" if kind == "expire" else "revoke"
        first = applied(None, Request(stop, target, "why", "alice", change, ends_s), epoch=1, now_s=END_S)
        assert first is not None
        before = first.new
        ends_s = None
    request = Request(kind, target, "why", "alice", change if before is None else f"{kind}-{change}", ends_s)
    made = applied(before, request, epoch=2, now_s=END_S if before is None else 9.5e9)
    assert made is not None
    return made


def run(entries: Iterable[Entry], *policies: Config, examples: int = 5) -> Report:
    return backtest(entries, [Policy("policy", each) for each in policies], examples=examples)


def kills(report: Report) -> list[str]:
    """The alerts of the first policy's kills that are shown."""
    return [finding.alert_id for finding in report.policies[0].kills.examples]


def alert_of(action: Observation) -> str:
    return alert_id(action.agent_id, action.id)


# -- as it was live -------------------------------------------------------------------------------------------------


def told_of(entries: Iterable[Entry], under: Config) -> tuple[Backtest, list[Finding]]:
    test, told = Backtest(under, examples=0), []
    for step in Minutes(entries):
        told += test.take(step)
    return test, told


async def test_under_the_policy_of_then_it_comes_to_what_was_live(
    tmp_path: Path, real_pipeline: None
) -> None:
    under = config(f"{ENFORCE}suspend_s = 1e9\nmax_automatic_kills = 1000\n")
    wild = [[*habits(8, first=WARM + 8 * n), strange(n, f"agent-{n % 3}", at_s=2.0 * n)] for n in range(8)]
    answered = 0
    async with Node(tmp_path / "state", under) as node:
        await ingest(node, list(warm_up()))
        for batch in wild:
            await ingest(node, batch)
            await node.scored()
            for request in node.effects.requests[answered:]:  # as the store answers
                agent = request.target.removeprefix("agent:")
                await node.engine.note_change(changed("suspend", agent, request.change_id))
            answered = len(node.effects.requests)
        shown = [message["alert"] for message in node.effects.published if message["type"] == "alert"]
        requests = [request.change_id for request in node.effects.requests]
        entries = list(read_history(tmp_path / "state" / "log"))  # the engine holds the log
    test, told = told_of(entries, under)
    assert sum(isinstance(entry, Transition) for entry in entries) == len(requests) >= 1
    assert [change_id(found.alert_id) for found in told if found.outcome == "suspend"] == requests
    # That an agent went on although it was killed is news live; here it only did because the history goes on.
    live = [alert for alert in shown if alert["verdict"] != "attribution"]
    assert len(live) < len(shown)
    free = [alert for alert in live if alert["response"]["why"] != "the agent is already stopped"]
    assert [found.alert_id for found in told] == [alert["id"] for alert in free]
    assert [found.p.hex() for found in told if found.p] == [alert["p"].hex() for alert in free]
    assert test.tally.while_stopped == len(live) - len(free) > 0


FLEET = parse_config(
    '[response]\nmode = "enforce"\nmax_automatic_kills = 1000\nsuspend_s = 1e9\nfalse_kills_per_agent_day = 0.1'
)
NOW_S = 1_795_000_000.0


@functools.cache
def fleet_actions() -> tuple[Observation, ...]:
    """A day of twelve simulated agents, at the end of which four are hijacked, one after the other."""
    agents = make_fleet(18, 12)
    documents = merged_history(agents, NOW_S)
    for agent in agents[:4]:
        ts_s = documents[-1]["ts"]
        for call in itertools.islice(agent.hijacked(), 60):
            ts_s += call.gap_s
            documents.append({**call.action, "ts": ts_s})
    numbered = ({**document, "id": f"a-{number}"} for number, document in enumerate(documents))
    return tuple(OBSERVER.observe(action_from_fields(document)) for document in numbered)


def test_on_a_simulated_fleet_it_comes_to_what_the_pipeline_does(real_pipeline: None) -> None:
    actions, pipeline = fleet_actions(), Pipeline(FLEET)
    live = [
        pipeline.step(list(group), (minute + 1) * 60.0)
        for minute, group in itertools.groupby(actions, lambda action: int(action.ts_s // 60))
    ]
    requests = [request for outcomes in live for request in outcomes.requests]
    p = [each for outcomes in live for each in outcomes.p]
    entries = (received(*actions[start : start + 77]) for start in range(0, len(actions), 77))
    report = run(entries, FLEET, examples=1000)
    totals = report.policies[0]
    assert [change_id(alert) for alert in kills(report)] == [request.change_id for request in requests]
    assert requests, "hijacked agents are killed"
    assert totals.alerts.total + totals.alerts_while_stopped == sum(len(o.alerts) for o in live)
    assert totals.calibrating == sum(each != each for each in p)
    assert totals.calibrating_first == [each == each for each in p].index(True) <= totals.calibrating
    assert (totals.agents, report.history.actions) == (12, len(actions))
    assert 12 <= totals.agent_days <= 12 * (1 + report.history.days)


@pytest.mark.parametrize("mode", ["observe", "alert"])
def test_a_policy_that_does_not_enforce_is_shown_as_if_promoted(mode: str) -> None:
    what = [strange(n, f"agent-{n % 2}", at_s=n) for n in range(6)]
    shown, enforced = run(history(*what), policy(mode=mode), policy()).policies
    assert shown == enforced
    assert shown.kills.total == 2


# -- after a kill ---------------------------------------------------------------------------------------------------


def test_a_killed_agent_is_killed_once_and_what_it_does_then_is_prevented() -> None:
    first, *rest = (strange(n, at_s=n) for n in range(4))
    report = run(history(first, *rest, *habits(8, first=WARM)), policy())
    totals = report.policies[0]
    assert kills(report) == [alert_of(first)]
    assert (totals.kills.total, totals.alerts.total) == (1, 1)
    assert 3 <= totals.alerts_while_stopped <= 5
    assert totals.actions_prevented == 3 + 2  # agent-0 does two of the eight habits
    assert totals.kills.examples[0].actions_prevented == 5


def test_a_suspension_ends_and_the_agent_may_be_killed_again() -> None:
    acts = [strange(0), strange(1, at_s=300), strange(2, at_s=900), strange(3, at_s=1000)]
    totals = run(history(*acts), policy(suspend_s=600.0)).policies[0]
    assert (totals.kills.total, totals.kills.agents) == (2, 1)
    assert totals.actions_prevented == 2
    assert [finding.alert_id for finding in totals.kills.examples] == [alert_of(acts[0])], "the first"


def test_a_revocation_lasts_until_people_restore_the_agent() -> None:
    under = policy(kill="revoke", suspend_s=1.0)
    acts = [strange(0), strange(1, at_s=90_000)]
    assert run(history(*acts), under).policies[0].kills.total == 1
    restored = history(acts[0], by_hand("restore"), acts[1])
    assert run(restored, under).policies[0].kills.total == 2


def test_a_kill_that_the_store_would_refuse_stops_nobody() -> None:
    nameless = msgspec.structs.replace(strange(0), agent_id="agent\x00")
    calm = [
        msgspec.structs.replace(action, agent_id="agent\x00", id=f"n-{action.id}") for action in warm_up()
    ]
    entries = [received(*calm), received(nameless), received(msgspec.structs.replace(nameless, id="again"))]
    totals = run(entries, policy()).policies[0]
    assert (totals.kills.total, totals.actions_prevented) == (0, 0)
    assert totals.kills_refused >= 1


# -- what people and the policy of then did -------------------------------------------------------------------------


def test_an_agent_that_people_stopped_is_not_killed_until_they_restore_it() -> None:
    act, again = strange(0), strange(1, at_s=5)
    stopped = run(history(by_hand("revoke"), act), policy())
    assert (stopped.policies[0].kills.total, stopped.policies[0].alerts_while_stopped) == (0, 1)
    assert stopped.policies[0].actions_prevented == 0, "the policy prevented nothing"
    freed = run(history(by_hand("revoke"), act, by_hand("restore"), again), policy())
    assert kills(freed) == [alert_of(again)]
    assert (freed.history.kills_by_hand, freed.history.restorations) == (1, 1)


def test_a_suspension_by_hand_ends_where_it_did() -> None:
    entries = history(
        by_hand("suspend"), strange(0), by_hand("expire"), strange(1, at_s=5), strange(2, "agent-1", at_s=6)
    )
    assert run(entries, policy()).policies[0].kills.total == 2


def test_the_end_of_a_suspension_by_hand_does_not_end_a_kill() -> None:
    entries = history(strange(0), by_hand("suspend"), by_hand("expire"), strange(1, at_s=5))
    totals = run(entries, policy()).policies[0]
    assert (totals.kills.total, totals.actions_prevented) == (1, 1)


def test_the_end_of_a_kill_does_not_end_a_revocation_by_hand() -> None:
    entries = history(strange(0), by_hand("revoke"), strange(1, at_s=900), strange(2, at_s=1900))
    totals = run(entries, policy(suspend_s=600.0)).policies[0]
    assert (totals.kills.total, totals.alerts_while_stopped, totals.actions_prevented) == (1, 2, 0)


@pytest.mark.parametrize("kind", ["suspend", "revoke", "step_up"])
def test_what_the_policy_of_then_did_by_itself_is_passed_over(kind: str) -> None:
    act, automatic = strange(0), change_id("al-then")
    then = (by_hand(kind, change=automatic), act, by_hand("expire", change=automatic))
    report = run(history(*then), policy())
    assert kills(report) == [alert_of(act)]
    assert (report.history.past_policy_kills, report.history.kills_by_hand) == (int(kind != "step_up"), 0)
    withdrawn = Withdrawal(LATER_S, change_id(alert_of(act)), "agent:agent-0", END_S, [], "no request")
    assert kills(run(history(*then, withdrawn), policy())) == [alert_of(act)]


def test_the_end_of_a_suspension_of_then_does_not_free_an_agent_that_is_killed_here() -> None:
    ended = by_hand("expire", change=change_id("al-then"))
    totals = run(history(strange(0), ended, strange(1, at_s=5)), policy()).policies[0]
    assert (totals.kills.total, totals.actions_prevented) == (1, 1)


def test_a_hold_by_people_frees_nobody_and_what_is_no_agent_changes_nothing() -> None:
    tool = applied(
        None, Request("revoke", Target("tool", "http_post"), "why", "al", "t"), epoch=1, now_s=END_S
    )
    assert tool is not None
    entries = history(
        strange(0), by_hand("step_up"), Transition(LATER_S, encode_change(tool)), strange(1, at_s=5)
    )
    report = run(entries, policy())
    assert (report.policies[0].kills.total, report.policies[0].actions_prevented) == (1, 1)
    assert report.history.kills_by_hand == 0


@pytest.mark.parametrize("verdict", ["confirmed", "dismissed"])
def test_verdicts_are_counted_and_teach(verdict: str) -> None:
    act = strange(0)
    said = Judgement(LATER_S, alert_of(act), verdict, "alice", "looked")
    other = Judgement(LATER_S, "al-of-nobody", "confirmed", "alice", "another policy's")
    report = run(history(act, said, said, other), policy())
    found = report.policies[0].kills
    assert (found.confirmed, found.dismissed) == (int(verdict == "confirmed"), int(verdict == "dismissed"))
    assert found.examples[0].verdict == verdict
    assert report.policies[0].alerts.confirmed == found.confirmed
    assert report.history.verdicts == 3


def test_what_was_dismissed_is_less_strange_afterwards() -> None:
    under = policy(false_kills_per_agent_day=NEVER)
    acts = [strange(n, at_s=10.0 * n) for n in range(40)]
    said = [Judgement(LATER_S, alert_of(act), "dismissed", "alice", "fine") for act in acts]
    judged = itertools.chain.from_iterable(zip(acts, said, strict=True))
    alerts = [run(entries, under).policies[0].alerts.total for entries in (history(*judged), history(*acts))]
    assert alerts[0] < alerts[1]


# -- the clock ------------------------------------------------------------------------------------------------------


def test_the_blast_radius_guard_goes_by_the_time_of_the_actions() -> None:
    under = policy(max_automatic_kills=2, automatic_kills_window_s=600.0)
    at_once = run(history(*(strange(n, f"agent-{n}", at_s=n) for n in range(4))), under).policies[0]
    assert (at_once.kills.total, at_once.blast_radius_pauses) == (2, 1)
    assert at_once.held_back == {"too many": 2}
    spread = run(history(*(strange(n, f"agent-{n}", at_s=700.0 * n) for n in range(4))), under).policies[0]
    assert (spread.kills.total, spread.blast_radius_pauses, spread.held_back) == (4, 0, {})


def test_an_agent_with_a_clock_of_its_own_ends_nobodys_suspension() -> None:
    liar = msgspec.structs.replace(strange(9, "agent-3"), ts_s=END_S + 1e8)
    now_s = END_S + 60
    entries = [
        received(*warm_up()[:-4], at_s=END_S),
        received(strange(0), at_s=now_s),
        received(liar, at_s=now_s),
        received(strange(1, at_s=61), at_s=now_s + 2),
    ]
    report = run(entries, policy())
    assert (
        len([finding for finding in report.policies[0].kills.examples if finding.agent_id == "agent-0"]) == 1
    )
    assert report.history.last_s <= now_s + 2


def test_a_minute_has_one_clock_and_other_entries_cut_it() -> None:
    acts = [msgspec.structs.replace(habits(1)[0], ts_s=ts_s) for ts_s in (60.0, 119.0, 120.0, 30.0, 180.5)]
    said = Judgement(1e9, "al-1", "dismissed", "alice", "fine")
    entries = [received(*acts[:1]), said, received(*acts[1:])]
    steps = list(Minutes(entries))
    minutes = [step for step in steps if isinstance(step, Minute)]
    assert [(m.now_s, m.first_seq, len(m.actions)) for m in minutes] == [
        (120.0, 1, 1),
        (120.0, 2, 1),
        (180.0, 3, 2),
        (240.0, 5, 1),
    ]
    assert steps[1] == said


def test_facts_of_the_history_are_stated() -> None:
    acts = [msgspec.structs.replace(habits(1)[0], ts_s=ts_s) for ts_s in (0.0, 43_200.0, 43_000.0)]
    minutes = Minutes([received(*acts)])
    assert minutes.facts().actions == 0
    assert [step for step in minutes if isinstance(step, Minute)]
    facts = minutes.facts()
    assert (facts.actions, facts.days, facts.out_of_order) == (3, 0.5, 1)


# -- counting -------------------------------------------------------------------------------------------------------


def test_the_models_start_empty_and_what_only_calibrates_is_said() -> None:
    totals = run(history(), policy()).policies[0]
    assert 0 < totals.calibrating_first <= totals.calibrating < WARM
    assert totals.alerts.total == 0
    short = run([received(*warm_up()[:100])], policy()).policies[0]
    assert (short.calibrating, short.agent_days, short.alerts.total) == (100, 0.0, 0)
    assert short.alert_budget.per_agent_day == 0.0


def test_what_calibrates_first_is_told_from_what_calibrates_later() -> None:
    tally = tally_module.Tally(0)
    for action, p in zip(habits(4), (math.nan, 0.5, math.nan, 0.5), strict=True):
        tally.action(action, p, is_stopped=False, prevented_by=None)
    totals = tally.totals(policy().response)
    assert (totals.calibrating_first, totals.calibrating) == (1, 2)


def test_rates_are_per_agent_day_of_agents_that_were_scored() -> None:
    totals = run(history(strange(0)), policy()).policies[0]
    assert totals.agent_days == 4.0, "the first day counts whole"
    assert totals.kill_budget.per_agent_day == totals.kills.total / 4.0
    assert totals.kill_budget.allowed == 4 * 1.0


def test_silence_counts_up_to_a_day_and_not_while_stopped() -> None:
    day_s = 86_400.0
    late = [strange(n, "agent-1", at_s=2 * n * day_s) for n in range(3)]  # killed at once
    calm = msgspec.structs.replace(habit(WARM), ts=END_S + 5 * day_s)
    under = policy(suspend_s=9 * day_s)
    totals = run(history(*late, OBSERVER.observe(calm)), under).policies[0]
    own_day_s = WARM / 4 * PACE_S / day_s
    assert 4.0 < totals.agent_days < 4.0 + own_day_s, "agent-0: a day, and what it was scored before"


def test_agents_beyond_the_limit_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "MAX_AGENTS", 2)
    test, _ = told_of(history(), policy())
    assert list(test.tally.agents) == ["agent-0", "agent-1", tally_module.OTHERS]


def test_verdicts_are_looked_up_for_the_newest_alerts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "MAX_JUDGEABLE", 1)
    acts = [strange(n, f"agent-{n}", at_s=n) for n in range(2)]
    said = [Judgement(LATER_S, alert_of(act), "confirmed", "alice", "yes") for act in acts]
    assert run(history(*acts, *said), policy()).policies[0].kills.confirmed == 1


def test_examples_are_few_and_of_different_kinds() -> None:
    quiet = policy(false_kills_per_agent_day=NEVER)
    acts = [strange(n, f"agent-{n % 3}", at_s=n) for n in range(9)]
    report = run(history(*acts), quiet, examples=2)
    assert report.policies[0].alerts.total >= 9
    shown = report.policies[0].alerts.examples
    assert len(shown) == 2
    assert len({(finding.agent_id, finding.tool) for finding in shown}) == 2
    assert [finding.ts for finding in shown] == sorted(finding.ts for finding in shown)
    assert run(history(*acts), policy(), examples=0).policies[0].kills.examples == []


def test_the_strangest_alerts_are_shown() -> None:
    kept = findings_module.Findings(2)
    for number, p in ((0, 0.5), (1, 0.02), (2, 0.2), (3, 0.001), (4, 0.3), (1, 0.01), (3, 0.1)):
        kept.show(
            Finding(
                agent_id=f"agent-{number}",
                ts=str(number),
                session_id=None,
                tool="t",
                sentence="s",
                p=p,
                outcome="alert",
                why="w",
                alert_id="",
                action_id="",
            ),
            (str(number),),
        )
    assert [finding.p for finding in kept.counted(5).examples] == [0.01, 0.001]


# -- two policies ---------------------------------------------------------------------------------------------------


def test_two_policies_are_compared_over_the_same_history() -> None:
    strict, loose = policy(), policy(false_kills_per_agent_day=NEVER)
    acts = [strange(n, f"agent-{n % 2}", at_s=n) for n in range(4)]
    report = run(history(*acts), loose, strict)
    difference = report.difference
    assert difference is not None
    assert (difference.killed_only_a, difference.killed_only_b) == ([], ["agent-0", "agent-1"])
    assert difference.alerts_both + difference.alerts_only_a == report.policies[0].alerts.total
    assert difference.alerts_both + difference.alerts_only_b == report.policies[1].alerts.total
    assert difference.alerts_only_a >= 2, "by then B has stopped them"
    row = difference.agents[0]
    assert (row.agent_id, row.kills_a, row.kills_b, row.first_kill_a) == ("agent-0", 0, 1, "")
    assert row.first_kill_b == report.policies[1].kills.examples[0].ts
    mirrored = run(history(*acts), strict, loose).difference
    assert mirrored is not None
    assert (mirrored.killed_only_a, mirrored.killed_only_b) == (difference.killed_only_b, [])
    assert (mirrored.alerts_only_a, mirrored.alerts_only_b) == (
        difference.alerts_only_b,
        difference.alerts_only_a,
    )


def test_the_first_kill_of_an_agent_is_compared() -> None:
    acts = [strange(0), strange(1, at_s=900)]
    report = run(history(*acts), policy(suspend_s=600.0), policy())
    assert report.difference is not None
    (row,) = report.difference.agents
    assert (row.kills_a, row.kills_b) == (2, 1)
    assert row.first_kill_a == row.first_kill_b == report.policies[0].kills.examples[0].ts


def test_a_policy_does_not_differ_from_itself() -> None:
    acts = [strange(n, f"agent-{n % 2}", at_s=n) for n in range(4)]
    report = run(history(*acts), policy(), policy())
    assert report.difference is not None
    assert (report.difference.agents, report.difference.alerts_both) == ([], 2)
    assert report.difference.killed_both == ["agent-0", "agent-1"]
    assert report.policies[0] == report.policies[1]
    alone = run(history(*acts), policy())
    assert alone.policies == report.policies[:1], "and company changes nothing"
    assert alone.difference is None


def test_the_detection_table_counts_too() -> None:
    patient = policy(min_actions=100_000)
    report = run(history(strange(0)), patient, policy())
    assert [totals.kills.total for totals in report.policies] == [0, 1]


# -- memory ---------------------------------------------------------------------------------------------------------


def test_the_history_is_streamed() -> None:
    pulled: list[int] = []

    def entries() -> Iterator[Entry]:
        for number in range(1000):
            pulled.append(number)
            yield received(msgspec.structs.replace(habits(1)[0], ts_s=60.0 * number), at_s=1e9)

    steps = iter(Minutes(entries()))
    for _ in range(3):
        next(steps)
    assert len(pulled) <= 4


def test_a_crowded_minute_is_cut() -> None:
    action = msgspec.structs.replace(habits(1)[0], ts_s=60.0)
    steps = list(Minutes([received(*[action] * 2500)]))
    assert [len(step.actions) for step in steps if isinstance(step, Minute)] == [1000, 1000, 500]


def test_many_alerts_take_no_more_room_than_the_last_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "MAX_JUDGEABLE", 10)
    under = policy(false_kills_per_agent_day=NEVER)
    test, _ = told_of(history(*(strange(n, f"agent-{n % 4}", at_s=n) for n in range(200))), under)
    assert len(test.tally._judgeable) == 10
