"""The entries of what is no agent's action: what they say, made from what the logs really hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch import Change, Petition, Revocation, Signer, Target, approve
from killswitch.drills.drill_record import evidence
from killswitch.revocations import ChangeKind, Request, apply
from killswitch.storage.codec import encode_change
from monitor.core.alerts import alert_id, change_id
from monitor.errors import LogError
from monitor.log import audit
from monitor.log.entries import Judgement, Transition, Withdrawal
from monitor.record.entry import MAX_LEAF_BYTES, TYPES, Entry, decode_leaf, digest_of, links_of, stamp
from monitor.record.other_forms import (
    act_entry,
    drill_entry,
    judgement_entry,
    record_entry,
    transition_entry,
    withdrawal_entry,
)
from tests.killswitch.records import changes
from tests.killswitch.test_drill_record import DRILL, SIGNER, bad
from tests.monitor.hostile import HOSTILE

BOT = Target("agent", "billing-bot")
AT_S = 1_795_000_000.5
ALERT = alert_id("billing-bot", "a-1")


def said(entry: Entry) -> dict[str, Any]:
    """What a whole entry says."""
    fields = decode_leaf(entry.leaf)
    assert len(entry.leaf) <= MAX_LEAF_BYTES
    assert fields["type"] in TYPES
    assert entry.links == links_of(entry.leaf)
    assert entry.content == b""
    return fields


def transition(change: Change, now_s: float = AT_S + 0.25) -> Entry:
    return transition_entry(Transition(now_s, encode_change(change)))


def changed(
    kind: ChangeKind,
    current: Revocation | None = None,
    *,
    target: Target = BOT,
    at_s: float = AT_S,
    **more: Any,
) -> Change:
    """What the kill switch's own table makes of a request."""
    known = {"reason": "it sends money to strangers", "by": "alice", "change_id": f"c-{kind}", **more}
    if kind == "suspend":
        known = {"expires_at_s": at_s + 60, **known}
    change = apply(current, Request(kind=kind, target=target, **known), epoch=7, now_s=at_s)
    assert change is not None
    return change


# -- changes of what agents may do ------------------------------------------------------------------------------


def test_a_kill_says_what_changed_who_did_it_and_what_it_stands_on() -> None:
    change = changed(
        "suspend",
        by="killcord/policy",
        change_id=change_id(ALERT),
        evidence=(ALERT, "a-1"),
        expires_at_s=AT_S + 60,
    )
    entry = transition(change)
    assert said(entry) == {
        "v": 1,
        "event_id": "transition-7",
        "type": "authorization_transition",
        "timestamp": stamp(AT_S),
        "recorded_at": stamp(AT_S + 0.25),
        "agent": {"id": "billing-bot"},
        "target": "agent:billing-bot",
        "actor": {"type": "system", "id": "killcord/policy"},
        "evidence": {"action_ids": ["a-1"], "alert_ids": [ALERT]},
        "previous_state": "active",
        "new_state": "suspended",
        "trigger": {"type": "policy", "reason": "it sends money to strangers"},
        "epoch": 7,
        "change_id": f"auto-{ALERT}",
        "expires_at": stamp(AT_S + 60),
    }
    assert entry.ts_s == AT_S
    assert set(entry.links) == {
        *(
            "type:authorization_transition",
            "event:transition-7",
            "agent:billing-bot",
            "target:agent:billing-bot",
        ),
        *(f"alert:{ALERT}", "action:a-1", f"change:auto-{ALERT}", "by:killcord/policy"),
    }


HELD = changed("step_up").new
SUSPENDED = changed("suspend").new
HELD_AFTER = changed("suspend", HELD).new
REVOKED = changed("revoke").new


@pytest.mark.parametrize(
    ("kind", "current", "at_s", "states"),
    [
        ("step_up", None, AT_S, ("active", "step_up")),
        ("suspend", None, AT_S, ("active", "suspended")),
        ("revoke", None, AT_S, ("active", "revoked")),
        ("suspend", HELD, AT_S, ("step_up", "suspended")),
        ("revoke", HELD, AT_S, ("step_up", "revoked")),
        ("restore", HELD, AT_S, ("step_up", "active")),
        ("step_up", SUSPENDED, AT_S, ("suspended", "suspended")),
        ("revoke", SUSPENDED, AT_S, ("suspended", "revoked")),
        ("restore", SUSPENDED, AT_S, ("suspended", "active")),
        ("revoke", SUSPENDED, AT_S + 61, ("active", "revoked")),
        ("expire", SUSPENDED, AT_S + 61, ("suspended", "active")),
        ("restore", HELD_AFTER, AT_S + 61, ("step_up", "active")),
        ("restore", REVOKED, AT_S, ("revoked", "active")),
    ],
)
def test_the_states_are_those_of_the_kill_switch(
    kind: ChangeKind, current: Revocation | None, at_s: float, states: tuple[str, str]
) -> None:
    found = said(transition(changed(kind, current, at_s=at_s)))
    assert (found["previous_state"], found["new_state"]) == states
    assert found.get("lifts") == (current.change_id if current else None)


def test_a_suspension_that_leaves_a_hold_behind_says_so() -> None:
    assert said(transition(changed("suspend", HELD)))["held_after"] is True
    assert "held_after" not in said(transition(changed("suspend")))


@pytest.mark.parametrize(
    ("by", "target", "kind", "trigger"),
    [
        ("alice", BOT, "revoke", "person"),
        ("killcord/policy", BOT, "revoke", "policy"),
        ("killcord/guardian", BOT, "revoke", "repair"),
        ("killcord/expiry", BOT, "expire", "expiry"),
        ("bob", Target("session", "killcord-canary/1"), "revoke", "drill"),
    ],
)
def test_what_set_it_off_is_told(by: str, target: Target, kind: ChangeKind, trigger: str) -> None:
    change = (
        changed(kind, SUSPENDED, at_s=AT_S + 61, by=by)
        if kind == "expire"
        else changed(kind, target=target, by=by)
    )
    found = said(transition(change))
    assert found["trigger"]["type"] == trigger
    assert found["actor"] == {"type": "system" if by.startswith("killcord/") else "user", "id": by}


def test_a_restoration_says_whose_votes_it_stands_on() -> None:
    petition = Petition.open(BOT, "c-revoke", reason="repaired", by="alice", now_s=AT_S)
    signers = [Signer("alice", b"\x01" * 32), Signer("bob", b"\x02" * 32)]
    votes = tuple(approve(petition, signer, AT_S + 1) for signer in signers)
    found = said(transition(changed("restore", REVOKED, approvals=votes)))
    assert found["approved_by"] == [
        {"key_id": signer.key_id, "at": stamp(AT_S + 1), "petition": petition.id} for signer in signers
    ]


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("agent_version:mail@bot@2", {"agent": {"id": "mail@bot", "version": "2"}}),
        ("human:alice@example.com", {"on_behalf_of": {"type": "user", "id": "alice@example.com"}}),
        ("session:run-1", {}),
        ("fleet", {}),
    ],
)
def test_whom_it_is_about_is_told_where_agents_and_humans_are(target: str, fields: dict[str, Any]) -> None:
    found = said(transition(changed("revoke", target=Target.parse(target))))
    assert {name: found[name] for name in ("agent", "on_behalf_of") if name in found} == fields
    assert found["target"] == target


@given(changes())
def test_any_change_becomes_a_whole_entry(change: Change) -> None:
    found = said(transition(change))
    assert found["epoch"] == change.epoch
    assert found["target"] == str(change.target)
    assert (found["new_state"] == "active") == (
        change.new is None or change.new.level_at(change.at_s) is None
    )


def test_the_longest_change_there_can_be_fits() -> None:
    worst = "\x7f\x80\u200b\U0001d54f"
    evidence = tuple(f"{number:03}" + worst * 31 for number in range(64))
    change = changed("revoke", by=worst * 64, reason=worst * 500, evidence=evidence, change_id=worst * 32)
    assert said(transition(change))["target"] == "agent:billing-bot"


@given(st.binary(max_size=80))
def test_a_change_that_cannot_be_read_raises_one_error(data: bytes) -> None:
    with pytest.raises(LogError, match="revocation state"):
        transition_entry(Transition(1.0, data))


# -- verdicts and kills that could not be carried out -----------------------------------------------------------


def test_a_verdict_says_who_said_what_of_which_alert() -> None:
    entry = judgement_entry(Judgement(AT_S, ALERT, "dismissed", "alice", "month end"), seq=12)
    found = said(entry)
    assert found["event_id"] == "judgement-12"
    assert found["judgement"] == {"verdict": "dismissed", "reason": "month end"}
    assert entry.links == ("type:judgement", "event:judgement-12", f"alert:{ALERT}", "by:alice")


def test_a_kill_that_could_not_be_carried_out_is_found_by_its_agent() -> None:
    entry = withdrawal_entry(
        Withdrawal(AT_S, f"auto-{ALERT}", "agent:billing-bot", AT_S - 1, [ALERT, "a-1"], "no such thing"),
        seq=3,
    )
    assert said(entry)["withdrawal"] == {"reason": "no such thing", "decided_at": stamp(AT_S - 1)}
    assert {"agent:billing-bot", f"alert:{ALERT}", "action:a-1", f"change:auto-{ALERT}"} <= set(entry.links)


def test_a_kill_of_what_is_no_target_is_told_too() -> None:
    entry = withdrawal_entry(Withdrawal(AT_S, "c", "agent:a\nb", AT_S, [], "no target"), seq=3)
    assert said(entry)["target"] == "agent:a\nb"


# -- drills -----------------------------------------------------------------------------------------------------


def test_a_drill_says_what_it_showed_and_where_its_proof_is() -> None:
    drill = replace(DRILL, points=(*DRILL.points, bad()))
    proof = evidence(drill, SIGNER)
    entry = drill_entry(drill, evidence=proof, signed_by="daemon", now_s=AT_S)
    found = said(entry)
    assert found["parent_id"] == "transition-7"
    assert found["target"] == "session:killcord-canary/d1"
    assert found["drill"] == {
        "verdict": "failed",
        "summary": "1 of 2 enforcement points failed the drill",
        "promise_ms": 1000.0,
        "slowest_ms": 1.8,
        "written_ms": 1.2,
        "durable": True,
        "points": 2,
        "failing": [{"id": "id-2", "name": "bad", "host": "host", "problem": "still allows it"}],
        "evidence_sha256": digest_of(proof),
        "signed_by": "daemon",
    }
    assert {"event:drill-d1", "by:alice", "parent:transition-7"} <= set(entry.links)


def test_a_drill_in_which_everything_failed_fits() -> None:
    points = tuple(replace(bad("x" * 3000), id=str(number)) for number in range(10_000))
    found = said(drill_entry(replace(DRILL, points=points), evidence=b"{}", signed_by="", now_s=AT_S))
    assert found["drill"]["points"] == 10_000
    assert found["cut"] is True
    assert "signed_by" not in found["drill"]


# -- what operators did -----------------------------------------------------------------------------------------


def act(name: str, about: str, **fields: Any) -> audit.Entry:
    known = {
        "at": AT_S,
        "by": "alice",
        "role": "admin",
        "address": "10.0.0.7",
        "outcome": "done",
        "detail": {},
    }
    return audit.Entry(act=name, object=about, **{**known, **fields})


def test_an_act_says_who_did_what_from_where_and_what_came_of_it() -> None:
    entry = act_entry(
        5, act("POST /v1/revocations", "agent:billing-bot", detail={"level": "revoke", "status": 200})
    )
    found = said(entry)
    assert found["actor"] == {"type": "user", "id": "alice"}
    assert found["act"] == {
        "name": "POST /v1/revocations",
        "object": "agent:billing-bot",
        "outcome": "done",
        "role": "admin",
        "address": "10.0.0.7",
        "detail": {"level": "revoke", "status": 200},
    }
    assert entry.links == (
        *("type:operator_act", "event:act-5", "agent:billing-bot", "by:alice", "target:agent:billing-bot"),
    )


def test_acts_are_found_by_the_alerts_and_agents_that_they_are_about() -> None:
    other = alert_id("x", "y")
    assert {f"alert:{ALERT}", f"alert:{other}"} <= set(
        act_entry(5, act("POST /v1/alerts", f"{ALERT}, {other}")).links
    )
    assert "agent:billing-bot" in act_entry(5, act("POST /v1/mutes", "billing-bot")).links


def test_what_a_stranger_tried_is_told_as_nobodys() -> None:
    entry = act_entry(5, act("GET /v1/agents", "", by="", role="", outcome="refused"))
    assert said(entry)["actor"] == {"type": "unknown"}
    assert entry.links == ("type:operator_act", "event:act-5")


@given(HOSTILE, HOSTILE, st.dictionaries(HOSTILE, HOSTILE | st.lists(HOSTILE, max_size=30)), st.floats())
def test_any_act_becomes_a_whole_entry(name: str, about: str, detail: dict[str, Any], at: float) -> None:
    said(act_entry(5, act(name, about, by=name, detail=detail, at=at)))


# -- the record about itself ------------------------------------------------------------------------------------


def test_the_record_says_what_was_done_to_it() -> None:
    entry = record_entry(3, "redaction", AT_S, {"by": "alice", "target": "agent:billing-bot", "contents": 41})
    found = said(entry)
    assert found["record"] == {"kind": "redaction", "target": "agent:billing-bot", "contents": 41}
    assert {"event:record-3", "by:alice", "agent:billing-bot", "target:agent:billing-bot"} <= set(entry.links)


def test_what_the_record_does_by_itself_nobody_is_named_for() -> None:
    found = said(record_entry(1, "begun", AT_S, {}))
    assert found["actor"] == {"type": "system", "id": "killcord/record"}
    assert found["record"] == {"kind": "begun"}
