"""Chains that are missing or contradict themselves are told; those that are in order are not."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch import Change, Target
from killswitch.revocations import Request, Revocation
from killswitch.revocations import apply as applied
from monitor.core import attribution as module
from monitor.core import call_reports, cool_down, credential_uses, in_force
from monitor.core.alerts import rfc3339
from monitor.core.attribution import MEMORY, MIN_ACTIONS, Attribution
from monitor.core.chain_findings import MAX_SHOWN, Finding
from monitor.core.cool_down import MAX_CAUSES, PERIOD_S
from monitor.core.credential_uses import FORGET_S, MAX_USERS
from monitor.core.in_force import GRACE_S
from monitor.intake.action import action_from_fields
from monitor.intake.observation import Observation, Observer
from monitor.log.checkpoint import decode_state, encode_state
from tests.monitor.registered import Registered, Registry

OBSERVER = Observer(bytes(32), store_args=False)
NOW_S = 1_795_000_000.0
DAY_S = 86_400.0
ALICE = ("alice@example.com",)


def act(**fields: Any) -> Observation:
    least = {"id": "x", "ts": NOW_S, "agent_id": "a", "tool": "send"}
    return OBSERVER.observe(action_from_fields({**least, **fields}))


def kinds(attribution: Attribution, *actions: Observation, now_s: float = NOW_S) -> list[str]:
    return [found.reason.signal for action in actions for found in attribution.note(action, now_s)]


def only(attribution: Attribution, action: Observation, now_s: float = NOW_S) -> Finding:
    (found,) = attribution.note(action, now_s)
    return found


# -- for nobody -------------------------------------------------------------------------------------------------------


def used_to(for_somebody: int, alone: int = 0) -> Attribution:
    """An attribution that has seen agent `a` act so often on Alice's behalf, and on nobody's before that."""
    attribution = Attribution()
    kinds(attribution, *[act()] * alone, *[act(on_behalf_of=ALICE)] * for_somebody)
    return attribution


def test_an_agent_that_always_acts_for_somebody_is_told_of_when_it_acts_for_nobody() -> None:
    found = only(used_to(MIN_ACTIONS), act())
    assert (found.severity, found.reason.signal) == ("medium", "acted_for_nobody")
    assert found.reason.sentence == (
        "`a` called `send` for nobody: 20 of its 20 actions before were on somebody's behalf"
    )


@pytest.mark.parametrize(
    "attribution", [Attribution(), used_to(0, 100), used_to(MIN_ACTIONS - 1), used_to(80, 10)]
)
def test_an_agent_without_that_habit_may_act_for_nobody(attribution: Attribution) -> None:
    assert kinds(attribution, act(), act()) == []


def test_a_habit_can_change() -> None:
    attribution = used_to(10 * MEMORY)
    days = [kinds(attribution, *[act()] * 20, now_s=NOW_S + day * PERIOD_S) for day in range(10)]
    assert days == [["acted_for_nobody"]] * days.count(["acted_for_nobody"]) + [[]] * days.count([])
    assert 1 <= days.count(["acted_for_nobody"]) <= 6


def test_an_agent_that_needs_a_human_by_its_registration_is_told_of_at_once() -> None:
    attribution = Attribution(Registry(a=Registered(needs_human=True)))
    assert "it is registered to act for people only" in only(attribution, act()).reason.sentence
    assert kinds(attribution, act(agent_id="b"), act(on_behalf_of=ALICE)) == []


# -- for whom ---------------------------------------------------------------------------------------------------------

DECLARED = Registry(a=Registered(humans=("alice@example.com", "*@corp.example", "planner")))


@pytest.mark.parametrize(
    "chain",
    [(), ALICE, ("bob@corp.example",), ("alice@example.com", "planner"), ("bob@corp.example", "planner")],
)
def test_whom_an_agent_is_registered_for_it_may_act_for(chain: tuple[str, ...]) -> None:
    assert kinds(Attribution(DECLARED), act(on_behalf_of=chain)) == []


@pytest.mark.parametrize(
    ("chain", "claim"),
    [
        (("mallory@example.com",), "to act for `mallory@example.com`: "),
        (("x@corp.example.evil",), "to act for `x@corp.example.evil`: "),
        (("Alice@example.com",), "to act for `Alice@example.com`: "),
        (("alice@example.com", "rogue"), "to have a delegation of `rogue`: "),
        (("mallory", "planner", "rogue"), "to act for `mallory`, `rogue`: "),
    ],
)
def test_a_chain_with_anybody_else_is_told_of(chain: tuple[str, ...], claim: str) -> None:
    found = only(Attribution(DECLARED), act(on_behalf_of=chain))
    assert (found.severity, found.reason.signal) == ("medium", "undelegated_human")
    assert found.reason.sentence == (
        f"`a` claims {claim}by its registration it acts for `alice@example.com`, `*@corp.example`, `planner`"
    )


def test_an_agent_that_is_registered_for_nobody_in_particular_acts_for_anybody() -> None:
    attribution = Attribution(Registry(a=Registered(needs_human=True)))
    assert kinds(attribution, act(on_behalf_of=("mallory",)), act(agent_id="b", on_behalf_of=("eve",))) == []


def test_a_long_chain_is_told_of_in_one_short_sentence() -> None:
    chain = [f"{'n' * 500}-{number}" for number in range(32)]
    found = only(Attribution(DECLARED), act(on_behalf_of=chain))
    assert f"and {32 - MAX_SHOWN} more" in found.reason.sentence
    assert len(found.reason.sentence) < 1000


def test_another_registry_counts_from_then_on() -> None:
    attribution = Attribution()
    mallory = act(on_behalf_of=("mallory",))
    assert kinds(attribution, mallory) == []
    attribution.use(DECLARED)
    assert kinds(attribution, mallory) == ["undelegated_human"]
    attribution.use(module.NO_REGISTRY)
    assert kinds(attribution, mallory, now_s=NOW_S + PERIOD_S) == []


# -- one credential, two agents ---------------------------------------------------------------------------------------


def uses(agent: str, credential: str = "kid-7") -> Observation:
    return act(agent_id=agent, credential=credential)


def test_a_credential_of_two_agents_is_told_of_once_and_names_both() -> None:
    attribution = Attribution()
    assert kinds(attribution, uses("a"), uses("a")) == []
    found = only(attribution, uses("b"), now_s=NOW_S + 60)
    assert (found.severity, found.reason.signal) == ("medium", "shared_credential")
    assert found.reason.sentence == (
        f"`b` uses the credential `kid-7`, which `a` used last at {rfc3339(NOW_S)}"
    )
    assert kinds(attribution, *[uses("a"), uses("b")] * 5, now_s=NOW_S + 9 * DAY_S) == []


def test_agents_with_credentials_of_their_own_are_not_told_of() -> None:
    fleet = [uses(f"agent-{number}", f"kid-{number}") for number in range(50)]
    assert kinds(Attribution(), *fleet, *fleet) == []


def test_each_agent_that_joins_is_told_of_with_the_one_before_it() -> None:
    attribution = Attribution()
    kinds(attribution, uses("a"))
    kinds(attribution, uses("b"), now_s=NOW_S + 1)
    assert only(attribution, uses("c"), now_s=NOW_S + 2).reason.expected == "`b`"
    kinds(attribution, uses("a"), now_s=NOW_S + 3)
    assert only(attribution, uses("d"), now_s=NOW_S + 4).reason.expected == "`a`"


def test_a_credential_of_a_crowd_is_told_of_once_more_and_then_no_news() -> None:
    attribution = Attribution()
    fleet = [uses(f"agent-{number}") for number in range(MAX_USERS + 20)]
    assert kinds(attribution, *fleet, *fleet) == ["shared_credential"] * MAX_USERS


def test_a_month_of_silence_lets_a_credential_be_handed_on() -> None:
    for silence_s, expected in ((FORGET_S - 1, ["shared_credential"]), (FORGET_S, [])):
        attribution = Attribution()
        kinds(attribution, uses("a"), uses("a"))
        assert kinds(attribution, uses("b"), now_s=NOW_S + silence_s) == expected
    assert kinds(attribution, uses("a"), now_s=NOW_S + FORGET_S + 1) == ["shared_credential"]


def test_who_uses_a_credential_all_the_time_is_not_forgotten() -> None:
    attribution = Attribution()
    for day in range(90):
        kinds(attribution, uses("a"), now_s=NOW_S + day * DAY_S)
    assert kinds(attribution, uses("b"), now_s=NOW_S + 90 * DAY_S) == ["shared_credential"]


def test_what_is_shared_on_purpose_is_not_told_of() -> None:
    attribution = Attribution(Registry(shared=("kid-7",)))
    assert kinds(attribution, uses("a"), uses("b"), uses("a", "k"), uses("b", "k")) == ["shared_credential"]
    attribution.use(module.NO_REGISTRY)
    assert kinds(attribution, uses("a"), uses("b")) == ["shared_credential"]


# -- refused, and done all the same -----------------------------------------------------------------------------------


def report(**fields: Any) -> Observation:
    return act(**{"session_id": "s", "call_id": "call-1", **fields})


REFUSED = report(id="gate-1", decision="refused", result={"ok": False})
DONE = report(id="sensor-1", result={"ok": True})


@pytest.mark.parametrize(
    "reports",
    [
        [REFUSED, DONE],
        [report(decision="allowed"), DONE, REFUSED],
        [report(decision="refused", result={"ok": True})],
        [act(id="call-1", session_id="s", decision="refused"), DONE],
        [REFUSED, act(id="call-1", session_id="s", result={"ok": True})],
        [report(decision="refused", ts=NOW_S + 4.0), DONE],
        [REFUSED, report(decision="held", result={"ok": True})],
    ],
    ids=["in order", "reversed", "one report", "refused by id", "done by id", "clocks", "held"],
)
def test_a_call_that_was_refused_and_done_is_told_of(reports: list[Observation]) -> None:
    attribution = Attribution()
    found = [found for each in reports for found in attribution.note(each, NOW_S)]
    assert [(one.severity, one.reason.signal) for one in found] == [("high", "rejected_but_executed")]
    assert found[0].reason.sentence == ("`a` called `send` although that call, `call-1`, was refused")


@pytest.mark.parametrize(
    "reports",
    [
        [REFUSED, report(result={"ok": False})],
        [REFUSED, report()],
        [REFUSED, report(decision="allowed", result={"ok": True})],
        [REFUSED, report(decision="allowed"), DONE],
        [REFUSED, report(call_id="call-2", result={"ok": True})],
        [REFUSED, report(session_id="t", result={"ok": True})],
        [REFUSED, report(agent_id="b", result={"ok": True})],
        [report(decision="held"), DONE],
        [DONE, DONE],
        [report(ts=NOW_S - 60, result={"ok": True}), REFUSED],
        [report(decision="allowed", call_id="c"), report(ts=NOW_S - 60, result={"ok": True}), REFUSED],
    ],
    ids=[
        "failed", "unknown", "allowed", "allowed before", "another call", "another session", "another agent",
        "held", "done", "done before any point reported", "done long before",
    ],
)  # fmt: skip
def test_other_reports_of_calls_are_in_order(reports: list[Observation]) -> None:
    assert kinds(Attribution(), *reports) == []


# -- though revoked ---------------------------------------------------------------------------------------------------

CHAIN: dict[str, Any] = {
    "agent_version": "1.2",
    "session_id": "s",
    "on_behalf_of": ["alice@example.com", "planner"],
    "credential": "kid-7",
}
LINKS = (
    "agent:a", "agent_version:a@1.2", "session:s", "human:alice@example.com", "delegation:planner",
    "credential:kid-7", "tool:send", "fleet",
)  # fmt: skip
LATE_S = NOW_S + GRACE_S + 1
_number = itertools.count(1)


def change(
    target: str, kind: Any = "revoke", before: Change | None = None, at_s: float = NOW_S, **more: Any
) -> Change:
    current: Revocation | None = before.new if before else None
    number = next(_number)
    wish = Request(kind, Target.parse(target), "because", "bob", f"change-{number}", **more)
    made = applied(current, wish, epoch=number, now_s=at_s)
    assert made is not None
    return made


def after(*changes: Change) -> Attribution:
    attribution = Attribution()
    for each in changes:
        attribution.transition(each)
    return attribution


@pytest.mark.parametrize("target", LINKS)
def test_what_is_revoked_by_any_link_of_its_chain_must_not_act(target: str) -> None:
    found = only(after(change(target)), act(ts=LATE_S, **CHAIN), LATE_S)
    assert (found.severity, found.reason.signal) == ("high", "acted_though_revoked")
    assert found.reason.sentence == (
        f"`a` called `send` although {target} was revoked by bob: "
        "nothing says that an enforcement point stopped it"
    )


@pytest.mark.parametrize(
    "target",
    [
        "agent:b", "agent_version:a@1.3", "session:t", "human:planner", "human:mallory", "credential:kid",
        "delegation:alice@example.com", "tool:read", "tenant:a",
    ],
)  # fmt: skip
def test_what_is_no_link_of_the_chain_binds_it_not(target: str) -> None:
    assert kinds(after(change(target)), act(ts=LATE_S, **CHAIN), act(ts=LATE_S), now_s=LATE_S) == []


def test_what_was_done_is_told_with_certainty() -> None:
    for fields in ({"result": {"ok": True}}, {"decision": "allowed"}):
        found = only(after(change("agent:a")), act(ts=LATE_S, **fields), LATE_S)
        assert found.reason.sentence.endswith("was revoked by bob: no enforcement point stopped it")


@pytest.mark.parametrize("fields", [{"result": {"ok": False}}, {"decision": "refused"}, {"decision": "held"}])
def test_what_a_stopped_agent_tries_in_vain_is_in_order(fields: dict[str, Any]) -> None:
    assert kinds(after(change("agent:a")), act(ts=LATE_S, **fields), now_s=LATE_S) == []


@pytest.mark.parametrize(
    ("ts", "now_s"), [(NOW_S - 1, LATE_S), (NOW_S + GRACE_S, LATE_S), (LATE_S + 3600, NOW_S + GRACE_S)]
)
def test_what_was_done_before_or_within_a_lease_is_in_order(ts: float, now_s: float) -> None:
    assert kinds(after(change("agent:a")), act(ts=ts), now_s=now_s) == []


def test_a_suspension_binds_until_it_ends() -> None:
    attribution = after(change("agent:a", "suspend", expires_at_s=NOW_S + 100))
    assert kinds(attribution, act(ts=NOW_S + 100), now_s=NOW_S + 100) == []
    found = only(attribution, act(ts=NOW_S + 99), NOW_S + 99)
    assert "agent:a was suspended by bob" in found.reason.sentence


def test_what_was_restored_or_is_held_may_act() -> None:
    revoked = change("agent:a")
    restored = change("agent:a", "restore", revoked)
    for changes in ((revoked, restored), (change("agent:a", "step_up"),)):
        assert kinds(after(*changes), act(ts=LATE_S), now_s=LATE_S) == []


def test_a_longer_suspension_binds_since_it_began() -> None:
    first = change("agent:a", "suspend", expires_at_s=NOW_S + 100)
    longer = change("agent:a", "suspend", first, at_s=NOW_S + 90, expires_at_s=NOW_S + 1000)
    assert kinds(after(first, longer), act(ts=NOW_S + 95), now_s=NOW_S + 95) == ["acted_though_revoked"]
    again = change("agent:a", "suspend", first, at_s=NOW_S + 200, expires_at_s=NOW_S + 1000)
    assert kinds(after(first, again), act(ts=NOW_S + 205), now_s=NOW_S + 205) == []


def test_another_revocation_of_the_same_agent_is_told_of_again() -> None:
    revoked = change("agent:a")
    attribution = after(revoked)
    again = [act(ts=LATE_S), act(ts=LATE_S + 1)]
    assert kinds(attribution, *again, now_s=LATE_S + 1) == ["acted_though_revoked"]
    attribution.transition(change("agent:a", "restore", revoked))
    attribution.transition(change("agent:a"))
    assert kinds(attribution, *again, now_s=LATE_S + 1) == ["acted_though_revoked"]


# -- not again and again ----------------------------------------------------------------------------------------------


def test_a_cause_is_told_of_once_a_day() -> None:
    attribution, mallory = Attribution(DECLARED), act(on_behalf_of=("mallory",))
    assert kinds(attribution, *[mallory] * 9) == ["undelegated_human"]
    assert kinds(attribution, act(on_behalf_of=("eve",))) == ["undelegated_human"]
    assert kinds(attribution, mallory, now_s=NOW_S + PERIOD_S - 1) == []
    assert kinds(attribution, mallory, now_s=NOW_S + PERIOD_S) == ["undelegated_human"]


def test_invented_names_do_not_flood_people() -> None:
    names = [act(on_behalf_of=(f"mallory-{number}",)) for number in range(200)]
    assert len(kinds(Attribution(DECLARED), *names)) == MAX_CAUSES


def test_several_things_can_be_wrong_with_one_action() -> None:
    attribution = after(change("agent:a"))
    attribution.use(DECLARED)
    kinds(attribution, uses("b"), report(decision="refused", ts=LATE_S))
    wrong = report(ts=LATE_S, on_behalf_of=("eve",), credential="kid-7", result={"ok": True})
    assert kinds(attribution, wrong, now_s=LATE_S) == [
        "undelegated_human",
        "shared_credential",
        "rejected_but_executed",
        "acted_though_revoked",
    ]


def test_names_are_fit_for_a_terminal() -> None:
    hostile = act(tool="wipe\u202e", agent_id="a" * 512, on_behalf_of=("x\u202e",), ts=LATE_S)
    attribution = after(change("tool:wipe\u202e"))
    attribution.use(Registry(**{"a" * 512: Registered(humans=("alice",))}))
    found = attribution.note(hostile, LATE_S)
    assert len(found) == 2
    for one in found:
        assert one.reason.sentence.isprintable()
        assert one.reason.observed.isprintable()


# -- state ------------------------------------------------------------------------------------------------------------

TARGETS = ("agent:a", "agent:b", "human:alice", "credential:k1", "session:s1", "fleet")
ACTIONS = st.fixed_dictionaries(
    {
        "agent_id": st.sampled_from("abc"),
        "on_behalf_of": st.sampled_from([(), ("alice",), ("alice", "planner"), ("mallory",)]),
    },
    optional={
        "session_id": st.sampled_from(["s1", "s2"]),
        "credential": st.sampled_from(["k1", "k2"]),
        "call_id": st.sampled_from(["1", "2"]),
        "decision": st.sampled_from(["allowed", "refused", "held"]),
        "result": st.sampled_from([{"ok": True}, {"ok": False}]),
    },
)
STEPS = st.lists(
    st.tuples(
        st.floats(0.0, 40 * DAY_S) | st.floats(0.0, 20.0),
        ACTIONS | st.sampled_from([("revoke", target) for target in TARGETS]),
    ),
    max_size=40,
)
SOME = Registry(shared=("k2",), a=Registered(humans=("alice", "plan*")), b=Registered(needs_human=True))


def go_on(attribution: Attribution, steps: list[Any], now_s: float) -> tuple[list[Any], float]:
    found: list[Any] = []
    for number, (pause_s, step) in enumerate(steps):
        now_s += pause_s
        if isinstance(step, tuple):
            wish = Request("revoke", Target.parse(step[1]), "because", "bob", f"{now_s}-{number}")
            made = applied(None, wish, epoch=number + 1, now_s=now_s)
            assert made is not None
            attribution.transition(made)
        else:
            found.append(attribution.note(act(ts=now_s, **step), now_s))
    return found, now_s


@settings(max_examples=150)
@given(STEPS, STEPS)
def test_a_restored_attribution_finds_what_would_have_been_found(before: list[Any], later: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MIN_ACTIONS", 3)
        patch.setattr(module, "MEMORY", 8)
        patch.setattr(credential_uses, "MAX_USERS", 2)
        patch.setattr(call_reports, "MAX_CALLS", 4)
        patch.setattr(in_force, "MAX_IN_FORCE", 3)
        patch.setattr(cool_down, "MAX_CAUSES", 2)
        first, second = Attribution(SOME, max_agents=2), Attribution(SOME, max_agents=2)
        _, now_s = go_on(first, before, NOW_S)
        second.restore(decode_state(encode_state(first.dump())))
        assert go_on(first, later, now_s) == go_on(second, later, now_s)
        assert encode_state(first.dump()) == encode_state(second.dump())


def test_agents_are_bounded_and_the_silent_go_first() -> None:
    attribution = Attribution(max_agents=100)
    for number in range(1000):
        attribution.note(act(agent_id="busy"), NOW_S + number)
        attribution.note(act(agent_id=f"agent-{number}"), NOW_S + number)
    names = [agent_id for agent_id, *_ in attribution.dump()["agents"]]
    assert len(names) <= 100
    assert {"busy", "agent-999"} <= set(names)


def test_credentials_are_bounded_and_one_that_was_forgotten_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credential_uses, "MAX_CREDENTIALS", 10)
    attribution = Attribution()
    kinds(attribution, uses("a", "old"))
    for number in range(30):
        kinds(attribution, uses("b", f"kid-{number}"), now_s=NOW_S + 1 + number)
    assert len(attribution.dump()["uses"]) == 10
    assert kinds(attribution, uses("a", "old"), now_s=NOW_S + 50) == []
    assert kinds(attribution, uses("c", "old"), now_s=NOW_S + 51) == ["shared_credential"]


def test_calls_revocations_and_what_was_told_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_reports, "MAX_CALLS", 10)
    monkeypatch.setattr(in_force, "MAX_IN_FORCE", 10)
    monkeypatch.setattr(cool_down, "MAX_TOLD", 10)
    attribution = after(change("fleet"), *(change(f"agent:{number}") for number in range(20)))
    for number in range(20):
        for name in (f"b-{number}", str(number)):
            kinds(attribution, act(agent_id=name, ts=LATE_S, decision="refused"), now_s=LATE_S)
            kinds(attribution, report(agent_id=name, ts=LATE_S, result={"ok": True}), now_s=LATE_S)
    state = attribution.dump()
    assert [len(state[part]) for part in ("in_force", "told")] == [10, 10]
    _, *calls = state["calls"]
    assert all(sum(map(len, halves)) <= 10 for halves in calls)
    assert kinds(attribution, act(agent_id="19", ts=LATE_S), now_s=LATE_S + PERIOD_S) == [
        "acted_though_revoked"
    ]
    assert kinds(attribution, act(agent_id="0", ts=LATE_S), now_s=LATE_S + PERIOD_S) == []
