"""The pure core: the same actions give the same outcomes, however they come, and policy is kept."""

from __future__ import annotations

import functools
import itertools
import math
import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.layout import row_dtype
from killswitch import Change, Revocation, Target
from killswitch.revocations import Request
from killswitch.revocations import apply as applied
from monitor.config import Config, parse_config
from monitor.core import pipeline as module
from monitor.core.alerts import alert_id, change_id
from monitor.core.pipeline import Outcomes, Pipeline, RevocationRequest
from monitor.intake.action import Action, parse_action
from monitor.intake.observation import Observation
from monitor.log.checkpoint import decode_state, encode_state
from tests.detectors.test_change import RISING, days
from tests.monitor.registered import Registered, Registry
from tests.monitor.streams import (
    ENFORCE,
    PACE_S,
    START_S,
    WARM,
    config,
    habit,
    habits,
    observed,
    p_of,
    strange,
    warm,
)


@functools.cache
def warm_state() -> bytes:
    pipeline = Pipeline(config())
    outcomes = warm(pipeline)
    assert all(math.isnan(p) for p in outcomes.p[:150])
    return encode_state(pipeline.dump())


def calibrated(response: str = ENFORCE) -> Pipeline:
    """A pipeline that knows four agents well; ready at once from the second call on."""
    pipeline = Pipeline(config(response))
    pipeline.restore(decode_state(warm_state()))
    return pipeline


def attack(pipeline: Pipeline, number: int = 0, agent: str = "agent-0", now_s: float = START_S) -> Outcomes:
    return pipeline.step(observed(strange(number, agent, after=WARM)), now_s)


def change(
    request: RevocationRequest | None = None, *, agent: str = "agent-0", kind: Any = "revoke"
) -> Change:
    """The change that the store makes of a request, or of somebody's wish."""
    wish = Request(
        kind if request is None else request.level,
        Target.parse(request.target if request else f"agent:{agent}"),
        "because",
        "alice",
        request.change_id if request else "by-hand",
        expires_at_s=START_S + 60 if (request.level if request else kind) == "suspend" else None,
    )
    made = applied(None, wish, epoch=1, now_s=START_S)
    assert made is not None
    return made


def lifted(agent: str = "agent-0") -> Change:
    revocation = Revocation(Target("agent", agent), "revoke", "because", "alice", START_S, None, "c", 1)
    made = applied(
        revocation, Request("restore", Target("agent", agent), "fine", "bob", "r"), epoch=2, now_s=START_S
    )
    assert made is not None
    return made


def state(pipeline: Pipeline) -> bytes:
    return encode_state(pipeline.dump())


# -- calibration and alerts -----------------------------------------------------------------------------------------


def test_nothing_is_said_before_the_models_know_enough() -> None:
    pipeline = Pipeline(config())
    assert pipeline.calibration("agent-0").state == "calibrating"
    outcomes = pipeline.step([*habits(100), *observed(strange(1))], START_S)
    assert outcomes.alerts == []
    assert all(math.isnan(p) for p in outcomes.p)
    assert len(outcomes.p) == 101


def test_a_strange_action_raises_an_alert_that_says_why() -> None:
    pipeline = calibrated("")
    action = strange(1, after=WARM)
    (alert,) = pipeline.step([*habits(2, first=WARM), *observed(action)], START_S, first_seq=700).alerts
    assert (alert.action_id, alert.action_seq, alert.agent_id) == (action.id, 702, "agent-0")
    assert alert.id == alert_id("agent-0", action.id)
    assert alert.p is not None
    assert alert.threshold_p is not None
    assert alert.p < alert.threshold_p
    assert "http_post" in alert.title
    assert 1 <= len(alert.reasons) <= 4
    assert (alert.session_id, alert.on_behalf_of) == ("s-hijacked", ("alice@example.com",))
    assert alert.ts.endswith("Z")


def test_alert_ids_follow_from_the_action_alone() -> None:
    assert alert_id("a", "1") == alert_id("a", "1")
    ids = {alert_id("a", "1"), alert_id("b", "1"), alert_id("a", "2"), alert_id("a", "1", "blast_radius")}
    assert len(ids) == 4


# -- the response ---------------------------------------------------------------------------------------------------


def test_enforce_asks_for_a_suspension_with_the_alert_as_evidence() -> None:
    outcomes = attack(calibrated())
    (alert,), (request,) = outcomes.alerts, outcomes.requests
    assert (request.target, request.level) == ("agent:agent-0", "suspend")
    assert request.change_id == change_id(alert.id) == alert.response.change_id
    assert request.evidence == (alert.id, alert.action_id)
    assert (request.at_s, request.expires_at_s) == (START_S, START_S + 3600)
    assert alert.response.taken == "suspend"


def test_a_revocation_has_no_end() -> None:
    (request,) = attack(calibrated(ENFORCE + 'kill = "revoke"')).requests
    assert (request.level, request.expires_at_s) == ("revoke", None)


@pytest.mark.parametrize(("mode", "taken"), [("observe", "none"), ("alert", "alert")])
def test_other_modes_ask_for_nothing(mode: str, taken: str) -> None:
    outcomes = attack(calibrated(f'mode = "{mode}"'))
    assert outcomes.requests == []
    (alert,) = outcomes.alerts
    assert (alert.response.wanted, alert.response.taken) == ("suspend", taken)
    assert alert.response.change_id is None


def test_an_agent_is_killed_once() -> None:
    pipeline = calibrated()
    assert len(attack(pipeline, 0).requests) == 1
    (again,) = attack(pipeline, 1).alerts
    assert again.response.taken == "alert"
    assert "already stopped" in again.response.why


def test_the_blast_radius_guard_tells_people_once_and_kills_no_more() -> None:
    pipeline = calibrated(ENFORCE + "max_automatic_kills = 2")
    outcomes = pipeline.step(observed(*(strange(n, f"agent-{n}", after=WARM) for n in (0, 1, 2, 3))), START_S)
    assert [request.target for request in outcomes.requests] == ["agent:agent-0", "agent:agent-1"]
    assert [alert.verdict for alert in outcomes.alerts] == ["anomalous"] * 3 + ["blast_radius", "anomalous"]
    paused = outcomes.alerts[3]
    assert (paused.p, paused.severity, paused.id != outcomes.alerts[2].id) == (None, "critical", True)
    assert pipeline.is_paused(START_S + 599)
    assert not pipeline.is_paused(START_S + 600)
    assert attack(pipeline, 5, "agent-2", now_s=START_S + 600).requests


def test_what_a_person_stops_or_frees_is_known() -> None:
    pipeline = calibrated()
    pipeline.transition(change(kind="revoke"))
    assert attack(pipeline, 0).requests == []
    pipeline.transition(lifted())
    assert attack(pipeline, 1).requests != []


def test_a_hold_for_approval_stops_nobody() -> None:
    pipeline = calibrated()
    pipeline.transition(change(kind="step_up"))
    assert attack(pipeline, 0).requests != []


def test_a_suspension_that_leaves_a_hold_no_longer_stops() -> None:
    pipeline = calibrated()
    (request,) = attack(pipeline, 0).requests
    pipeline.transition(change(request))
    pipeline.transition(change(kind="step_up"))
    assert attack(pipeline, 1).requests != []


def test_changes_of_other_targets_are_not_the_agents() -> None:
    pipeline = calibrated()
    wish = Request("revoke", Target("session", "agent-0"), "because", "alice", "c")
    made = applied(None, wish, epoch=1, now_s=START_S)
    assert made is not None
    pipeline.transition(made)
    assert attack(pipeline, 0).requests != []


def test_a_request_that_is_withdrawn_leaves_the_agent_free() -> None:
    pipeline = calibrated()
    (request,) = attack(pipeline, 0).requests
    pipeline.withdraw("auto-another", request.target, request.at_s)
    assert attack(pipeline, 1).requests == []
    pipeline.withdraw(request.change_id, request.target, request.at_s)
    assert attack(pipeline, 2).requests != []
    assert not pipeline.is_paused(START_S)


# -- versions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False], ids=["one batch", "one by one"])
def test_after_a_new_version_nothing_is_killed_until_the_model_has_seen_enough(together: bool) -> None:
    pipeline = calibrated()
    upgraded = [
        *observed(strange(0, after=WARM, version="2")),
        *habits(160, first=WARM, version="2"),
    ]
    batches = [upgraded] if together else [[action] for action in upgraded]
    outcomes = [pipeline.step(batch, START_S) for batch in batches]
    alerts = [alert for outcome in outcomes for alert in outcome.alerts if alert.tool == "http_post"]
    assert [request for outcome in outcomes for request in outcome.requests] == []
    assert all("recalibrated" in alert.response.why for alert in alerts)
    assert pipeline.calibration("agent-0").state == "calibrated"
    (late,) = pipeline.step(observed(strange(20, after=WARM, version="2")), START_S).alerts
    assert "recalibrated" not in late.response.why


# -- learning -------------------------------------------------------------------------------------------------------


def learned(pipeline: Pipeline, agent: str = "agent-0") -> bytes:
    """Return the agent's model but for what waits for a verdict: that something waits is no lesson."""
    exported = pipeline._bank.export(module._number(agent))
    model = np.frombuffer(exported[2:], row_dtype(0)).copy()  # behind the version
    model["pending"] = 0
    return model.tobytes()


def test_a_stopped_agent_teaches_nothing() -> None:
    pipeline, free = calibrated(), calibrated()
    pipeline.transition(change(kind="revoke"))
    for each in (pipeline, free):
        before = each.calibration("agent-0").seen
        each.step(habits(160, first=WARM), START_S)
        assert (each.calibration("agent-0").seen > before) == (each is free)


def test_what_a_killed_agent_does_next_in_the_same_batch_teaches_nothing() -> None:
    pipeline = calibrated()
    before = pipeline.calibration("agent-0").seen
    outcomes = pipeline.step([*observed(strange(0, after=WARM)), *habits(160, first=WARM)], START_S)
    assert outcomes.requests != []
    assert pipeline.calibration("agent-0").seen == before
    pipeline.transition(lifted())
    pipeline.step(habits(160, first=WARM + 160), START_S)
    assert pipeline.calibration("agent-0").seen > before


def test_a_flagged_action_teaches_only_when_it_is_dismissed() -> None:
    dismissed, confirmed = calibrated(""), calibrated("")
    (alert,) = attack(dismissed).alerts
    attack(confirmed)
    before = learned(dismissed)
    assert learned(confirmed) == before
    dismissed.judge(alert.id, "dismissed")
    confirmed.judge(alert.id, "confirmed")
    assert learned(dismissed) != before
    assert learned(confirmed) == before
    taught = learned(dismissed)
    dismissed.judge(alert.id, "dismissed")
    assert learned(dismissed) == taught, "a verdict counts once"


def test_a_verdict_of_either_kind_ends_the_wait() -> None:
    for verdict in ("dismissed", "confirmed"):
        pipeline = calibrated("")
        before = waiting(pipeline)
        (alert,) = attack(pipeline).alerts
        assert waiting(pipeline) == before + 1
        pipeline.judge(alert.id, verdict)
        assert waiting(pipeline) == before


def waiting(pipeline: Pipeline) -> int:
    exported = pipeline._bank.export(module._number("agent-0"))
    return int(np.count_nonzero(np.frombuffer(exported[2:], row_dtype(0))["pending"]))


def test_what_nobody_judged_teaches_late_and_weakly() -> None:
    unjudged, dismissed = calibrated(""), calibrated("")
    for pipeline in (unjudged, dismissed):
        (alert,) = attack(pipeline).alerts
    dismissed.judge(alert.id, "dismissed")
    before = learned(unjudged)
    unjudged.step([], START_S + 86_399)
    assert learned(unjudged) == before
    unjudged.step([], START_S + 86_400)
    assert before != learned(unjudged) != learned(dismissed)


def test_what_a_stopped_agent_did_teaches_nothing_even_late() -> None:
    pipeline = calibrated()
    attack(pipeline)
    before = learned(pipeline)
    pipeline.step([], START_S + 90_000)
    assert learned(pipeline) == before


# -- invariance -----------------------------------------------------------------------------------------------------

MIXED: list[Action] = []
for _n in range(160):
    MIXED.append(habit(WARM + _n, version="2" if _n % 4 == 3 and _n > 40 else "1"))
    if _n % 11 == 0:
        MIXED.append(strange(_n, f"agent-{_n % 4}", after=WARM + _n))


def cut(actions: list[Observation], at: list[int]) -> list[list[Observation]]:
    edges = [0, *sorted(at), len(actions)]
    return [actions[start:end] for start, end in itertools.pairwise(edges)]


@pytest.mark.parametrize("mode", ["alert", "enforce"])
@settings(max_examples=20)
@given(data=st.data())
def test_outcomes_do_not_depend_on_where_batches_are_cut(mode: str, data: st.DataObject) -> None:
    response = f'mode = "{mode}"\nmax_automatic_kills = 3'
    actions = observed(*MIXED)
    at = data.draw(st.lists(st.integers(0, len(actions)), max_size=12))
    whole, pieces = calibrated(response), calibrated(response)
    expected = whole.step(actions, START_S, first_seq=1)
    found, seq = [], 1
    for batch in cut(actions, at):
        found.append(pieces.step(batch, START_S, first_seq=seq))
        seq += len(batch)
    assert p_of(found) == p_of([expected])
    assert [alert for one in found for alert in one.alerts] == expected.alerts
    assert [request for one in found for request in one.requests] == expected.requests
    assert state(pieces) == state(whole)
    assert len(expected.alerts) > 10
    assert bool(expected.requests) == (mode == "enforce")


def test_a_restored_pipeline_goes_on_bit_for_bit() -> None:
    first, actions = calibrated(), observed(*MIXED)
    first.step(actions[:80], START_S)
    second = Pipeline(config(ENFORCE))
    second.restore(decode_state(state(first)))
    one, other = (pipeline.step(actions[80:], START_S + 1) for pipeline in (first, second))
    assert (one.alerts, one.requests, p_of([one])) == (other.alerts, other.requests, p_of([other]))
    assert state(first) == state(second)


def test_models_outlive_a_change_of_mode_and_budget() -> None:
    pipeline = Pipeline(config(ENFORCE + "max_automatic_kills = 1"))
    pipeline.restore(decode_state(warm_state()))
    assert pipeline.calibration("agent-0").state == "calibrated"
    assert len(attack(pipeline).requests) == 1


# -- detectors of River's -------------------------------------------------------------------------------------------

RIVER = '[[detection.river]]\nname = "river.anomaly.HalfSpaceTrees"\nagents = ["agent-0"]\n'


def river_config(seed: str = "") -> Config:
    return config(
        "",
        more=RIVER.replace(
            "agents", f"params = {{ n_trees = 3, height = 4, window_size = 20{seed} }}\nagents"
        ),
    )


def restless(count: int) -> list[Observation]:
    """Habits with whims, so that scores differ."""
    rng = random.Random(3)
    return observed(
        *(
            msgspec.structs.replace(
                habit(number), args={"customer": f"c-{rng.randint(1, 9)}", "note": "x" * rng.randint(1, 90)}
            )
            for number in range(count)
        )
    )


def run(configured: Config, *, cuts: int = 1) -> tuple[Pipeline, list[Outcomes]]:
    pipeline, actions = Pipeline(configured), restless(320)
    size = len(actions) // cuts
    return pipeline, [
        pipeline.step(actions[start : start + size], START_S) for start in range(0, len(actions), size)
    ]


def test_a_river_detector_takes_part_by_name_and_repeats_without_a_seed() -> None:
    plain, with_river = run(config("")), run(river_config())
    assert p_of(with_river[1]) != p_of(plain[1])
    again = run(river_config(), cuts=8)
    assert p_of(again[1]) == p_of(with_river[1])
    assert p_of(run(river_config(", seed = 99"))[1]) != p_of(with_river[1])


def test_a_river_detectors_state_is_part_of_the_pipelines() -> None:
    first, _ = run(river_config())
    second = Pipeline(river_config())
    second.restore(decode_state(state(first)))
    more = habits(80, first=320)
    assert p_of([first.step(more, START_S)]) == p_of([second.step(more, START_S)])


# -- hostile names --------------------------------------------------------------------------------------------------


def test_whatever_an_agent_writes_its_kill_stays_valid_and_its_alert_readable() -> None:
    """The kill switch refuses long reasons; terminals obey control characters."""
    long, escape = "n" * 100_000, "\x1b[2J\n" * 3
    action = parse_action(
        b'{"id":"%s","ts":%d,"agent_id":"agent-0","tool":"%s","args":{}}'
        % (b"i" * 128, int(START_S + WARM // 4 * PACE_S), "wipe‮".encode())
    )
    hostile = msgspec.structs.replace(
        action,
        args={long: "x" * 5000, escape: "y"},
        provenance={long: "tool:" + "p" * 200, escape: escape},
    )
    outcomes = calibrated().step(observed(hostile), START_S)
    (alert,), (asked,) = outcomes.alerts, outcomes.requests
    Request(
        asked.level,
        Target.parse(asked.target),
        asked.reason,
        "killcord/policy",
        asked.change_id,
        expires_at_s=asked.expires_at_s,
        evidence=asked.evidence,
    )
    for text in (alert.title, *(reason.sentence for reason in alert.reasons)):
        assert text.isprintable()
        assert len(text) < 1500


# -- attribution ----------------------------------------------------------------------------------------------------


def broken_chains(first: int) -> list[Observation]:
    """Two agents with one credential, one of which is revoked as `made` says, all in good habits otherwise."""
    return [
        msgspec.structs.replace(action, credential="kid-7", on_behalf_of=("alice",), policy="p@1")
        if action.agent_id in ("agent-0", "agent-1")
        else action
        for action in habits(40, first=first)
    ]


def test_a_chain_that_contradicts_itself_is_told_of_and_stops_nobody() -> None:
    pipeline, again = calibrated(), calibrated()
    found = []
    for each in (pipeline, again):
        each.transition(change(kind="revoke"))
        batches = [broken_chains(WARM)] if each is pipeline else [[one] for one in broken_chains(WARM)]
        outcomes = [each.step(batch, START_S + WARM * PACE_S) for batch in batches]
        assert [request for one in outcomes for request in one.requests] == []
        found.append([msgspec.structs.replace(a, action_seq=0) for one in outcomes for a in one.alerts])
    assert found[0] == found[1], "the same alerts under the same ids, however the batches are cut"
    alerts = [alert for alert in found[0] if alert.verdict == "attribution"]
    assert [(alert.agent_id, alert.reasons[0].signal, alert.severity) for alert in alerts] == [
        ("agent-0", "acted_though_revoked", "high"),
        ("agent-1", "shared_credential", "medium"),
    ]
    for alert in alerts:
        assert alert.id == alert_id(alert.agent_id, alert.action_id, alert.reasons[0].signal)
        assert (alert.on_behalf_of, alert.credential, alert.policy) == (("alice",), "kid-7", "p@1")
        assert (alert.title, alert.p) == (alert.reasons[0].sentence, None)
        assert (alert.response.wanted, alert.response.taken) == ("alert", "alert")
        assert alert.response.why.endswith("nothing is stopped")
    assert "shared_credential" in [signal.signal for signal in pipeline.activity.signals("agent-1")]


def test_what_owners_declared_is_asked_of_the_registry_that_is_in_use() -> None:
    pipeline = Pipeline(config(), registry=Registry(**{"agent-0": Registered(needs_human=True)}))
    (alert,) = pipeline.step(habits(8), START_S).alerts
    assert (alert.agent_id, alert.reasons[0].signal) == ("agent-0", "acted_for_nobody")
    pipeline.attribution.use(Registry(**{"agent-1": Registered(needs_human=True)}))
    (alert,) = pipeline.step(habits(8, first=8), START_S).alerts
    assert alert.agent_id == "agent-1"


# -- drift ----------------------------------------------------------------------------------------------------------


def test_a_baseline_that_is_moved_in_small_steps_is_told_of_and_stops_nobody() -> None:
    pipeline = Pipeline(parse_config('[response]\nmode = "enforce"'))
    actions = [
        Action(
            id=f"d-{number}",
            ts=took["ts_s"],
            agent_id="agent-0",
            session_id=took["session"],
            tool=took["tool"],
            args=took["args"],
            provenance=took["provenance"],
        )
        for number, took in enumerate(days(RISING))
    ]
    alerts, requests = [], []
    for first in range(0, len(actions), 200):
        day = actions[first : first + 200]
        outcomes = pipeline.step(observed(*day), day[-1].ts)
        alerts += [alert for alert in outcomes.alerts if alert.verdict == "drift"]
        requests += outcomes.requests
    assert alerts
    assert {alert.response.taken for alert in alerts} == {"alert"}
    assert {alert.reasons[0].signal for alert in alerts} <= {"drift", "change"}
    assert requests == []
