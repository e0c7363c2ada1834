from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch import Approval, InvalidRequest, Petition, Target
from killswitch.revocations import (
    CHANGE_KINDS,
    LEVELS,
    TRANSITIONS,
    Request,
    Revocation,
    State,
    apply,
    decide,
    state_of,
)

BOT = Target("agent", "bot")


def request(kind: Any, **fields: Any) -> Request:
    if kind == "suspend":
        fields.setdefault("expires_at_s", 1000.0)
    return Request(**{"kind": kind, "target": BOT, "reason": "why", "by": "me", "change_id": "c", **fields})


def after(*requests: tuple[float, Request]) -> Revocation | None:
    """The record after these requests at these times."""
    record = None
    for epoch, (now_s, asked) in enumerate(requests, 1):
        change = apply(record, asked, epoch=epoch, now_s=now_s)
        record = record if change is None else change.new
    return record


def test_the_table_has_a_row_for_every_state_and_trigger() -> None:
    assert set(TRANSITIONS) == {(state, kind) for state in get_args(State) for kind in CHANGE_KINDS}


@pytest.mark.parametrize(
    ("first", "second", "level"),
    [
        ("revoke", "suspend", "revoke"),
        ("revoke", "step_up", "revoke"),
        ("suspend", "step_up", "suspend"),
        ("step_up", "suspend", "suspend"),
        ("suspend", "revoke", "revoke"),
        ("step_up", "revoke", "revoke"),
    ],
)
def test_the_stronger_of_two_requests_holds(first: str, second: str, level: str) -> None:
    record = after((1, request(first)), (2, request(second)))
    assert record is not None
    assert record.level == level


def test_a_suspension_is_extended_to_the_later_end_only() -> None:
    longer = after((1, request("suspend")), (2, request("suspend", expires_at_s=2000.0)))
    assert longer is not None
    assert longer.expires_at_s == 2000.0
    decision = decide(longer, request("suspend", expires_at_s=1500.0), 3)
    assert (decision.effect, decision.note) == ("keep", "already suspended at least that long")


def test_a_suspension_binds_until_its_end_and_not_a_moment_longer() -> None:
    record = after((1, request("suspend", expires_at_s=1000.0)))
    assert state_of(record, 999.999) == "suspended"
    assert state_of(record, 1000.0) == "expired"


def test_an_agent_whose_suspension_ran_out_can_be_suspended_again_for_less_time() -> None:
    record = after(
        (1, request("suspend", expires_at_s=1000.0)), (1001, request("suspend", expires_at_s=1010.0))
    )
    assert record is not None
    assert record.expires_at_s == 1010.0


@pytest.mark.parametrize("order", [("step_up", "suspend"), ("suspend", "step_up")])
def test_a_hold_outlives_a_suspension_on_top_of_it(order: tuple[str, str]) -> None:
    record = after((1, request(order[0])), (2, request(order[1])))
    assert state_of(record, 3) == "suspended"
    assert state_of(record, 1001) == "held"
    longer = apply(record, request("suspend", expires_at_s=2000.0), epoch=3, now_s=4)
    assert longer is not None
    assert state_of(longer.new, 2001) == "held"
    assert decide(record, request("step_up"), 5).effect == "keep"


def test_a_suspension_that_is_already_over_changes_nothing() -> None:
    held = after((1, request("step_up")))
    assert decide(held, request("suspend", expires_at_s=5.0), 5.0).effect == "keep"
    assert decide(None, request("suspend", expires_at_s=5.0), 6.0).effect == "keep"


def test_restoring_what_is_not_revoked_changes_nothing() -> None:
    assert apply(None, request("restore"), epoch=1, now_s=1) is None


def test_a_restored_agent_has_no_record() -> None:
    assert after((1, request("revoke")), (2, request("restore"))) is None


def test_only_a_suspension_that_ran_out_expires() -> None:
    for level in LEVELS:
        record = after((1, request(level)))
        assert decide(record, request("expire"), 999).effect == "keep"
    assert decide(after((1, request("suspend"))), request("expire"), 1001).effect == "clear"
    assert decide(None, request("expire"), 1).effect == "keep"


requests = st.builds(
    lambda kind, end: request(kind, **({"expires_at_s": end} if kind == "suspend" else {})),
    st.sampled_from(CHANGE_KINDS),
    st.floats(min_value=1, max_value=200),
)


def strength(record: Revocation | None, now_s: float) -> int:
    order = ["active", "expired", "held", "suspended", "revoked"]
    return max(1, order.index(state_of(record, now_s)))


@given(st.lists(st.tuples(requests, st.floats(min_value=0, max_value=20)), max_size=20))
def test_whatever_is_asked_only_restoring_ever_weakens_what_is_in_force(
    history: list[tuple[Request, float]],
) -> None:
    record, now_s = None, 0.0
    for epoch, (asked, pause_s) in enumerate(history, 1):
        now_s += pause_s
        change = apply(record, asked, epoch=epoch, now_s=now_s)
        new = record if change is None else change.new
        if asked.kind != "restore":
            assert strength(new, now_s) >= strength(record, now_s)
            for later_s in (now_s + 10, now_s + 1000):
                assert strength(new, later_s) >= strength(record, later_s)
        else:
            assert state_of(new, now_s) in ("active", "expired")
        if change is not None:
            assert (change.previous, change.epoch, change.kind) == (record, epoch, asked.kind)
        record = new


@given(requests, st.floats(min_value=0, max_value=300))
def test_asking_twice_changes_nothing_more(asked: Request, now_s: float) -> None:
    change = apply(None, asked, epoch=1, now_s=now_s)
    if change is None:
        return
    assert apply(change.new, asked, epoch=2, now_s=now_s) is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"reason": "   "}, "reason"),
        ({"reason": None}, "reason"),
        ({"reason": "x" * 2001}, "reason"),
        ({"reason": "\ud800"}, "reason"),
        ({"by": ""}, "by"),
        ({"by": "x" * 257}, "by"),
        ({"change_id": ""}, "change_id"),
        ({"kind": "pause"}, "level"),
        ({"target": "agent:bot"}, "target"),
        ({"expires_at_s": 5.0}, "expires_at_s"),
        ({"kind": "suspend", "expires_at_s": None}, "expires_at_s"),
        ({"kind": "suspend", "expires_at_s": float("nan")}, "expires_at_s"),
        ({"kind": "suspend", "expires_at_s": float("inf")}, "expires_at_s"),
        ({"kind": "suspend", "expires_at_s": 1.7e12}, "expires_at_s"),
        ({"kind": "suspend", "expires_at_s": True}, "expires_at_s"),
        ({"evidence": ["a"]}, "evidence"),
        ({"evidence": ("a",) * 65}, "evidence"),
        ({"evidence": ("",)}, "evidence"),
    ],
)
def test_a_bad_request_names_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request(fields.pop("kind", "revoke"), **fields)
    assert caught.value.field == field


def test_a_record_says_what_who_and_why() -> None:
    record = after((1, request("revoke", reason="sends money at night", by="alice")))
    assert record is not None
    assert record.describe() == "agent:bot is revoked by alice: sends money at night (change 1)"


def test_only_a_restoration_takes_approvals() -> None:
    votes = (Approval(Petition("p", BOT, "c", "why", "me", 60.0, 0.0), "0" * 16, 1.0, b"s" * 64),)
    assert request("restore", approvals=votes).approvals == votes
    with pytest.raises(InvalidRequest, match="approvals: a revoke needs none"):
        request("revoke", approvals=votes)
