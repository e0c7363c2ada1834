"""The life of an alert: the table decides, whatever comes in whatever order."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alerts.life import (
    CLOSE_REASONS,
    KINDS,
    MAX_CHANGES,
    NEW,
    STATES,
    TABLE,
    TEACHES,
    Change,
    Life,
    after,
    demand,
)
from monitor.errors import ChangeRefused

NAMES = st.sampled_from(["alice", "bob"])
MAYBE_WORDS = st.none() | st.text(min_size=1, max_size=5)
ANY_CHANGE = st.builds(
    Change,
    kind=st.sampled_from(KINDS),
    by=NAMES,
    at_s=st.floats(0, 1e9),
    assignee=st.none() | NAMES,
    reason=st.none() | st.sampled_from(CLOSE_REASONS),
    comment=MAYBE_WORDS,
)


def is_well_formed(change: Change) -> bool:
    try:
        demand(change)
    except ChangeRefused as refusal:
        return refusal.field is None  # it names its field
    return True


@given(ANY_CHANGE)
def test_a_change_has_what_its_kind_needs_and_nothing_else(change: Change) -> None:
    has_words = bool((change.comment or "").strip())
    assert is_well_formed(change) == (
        (change.reason is not None) == (change.kind == "close")
        and (change.assignee is None or change.kind == "assign")
        and (has_words or change.kind != "comment")
    )


@given(st.lists(ANY_CHANGE.filter(is_well_formed), max_size=30))
def test_a_life_goes_only_where_the_table_leads(changes: list[Change]) -> None:
    life, comments, done = NEW, 0, 0
    for change in changes:
        before = life
        try:
            life = after(before, change)
        except ChangeRefused:
            assert (before.state, change.kind) not in TABLE
            continue
        comments, done = comments + (change.comment is not None), done + 1
        assert life.state == TABLE[before.state, change.kind]
        assert (life.reason is not None) == (life.state == "closed")
        assert life.assignee == (change.assignee if change.kind == "assign" else before.assignee)
        assert (life.changed_by, life.changed_at_s) == (change.by, change.at_s)
        assert (life.comments, life.changes) == (comments, done)


def test_every_state_can_be_reached_and_left() -> None:
    assert {state for state, _ in TABLE} == set(STATES) == set(TABLE.values())
    for state in STATES:
        assert {TABLE.get((state, kind)) for kind in KINDS} - {None, state}


@pytest.mark.parametrize(("state", "kind"), sorted(set(product(STATES, KINDS)) - set(TABLE)))
def test_what_is_refused_says_who_was_there_first(state: str, kind: str) -> None:
    change = Change(kind=kind, by="bob", at_s=1.0, reason="benign" if kind == "close" else None)
    with pytest.raises(ChangeRefused) as refusal:
        after(Life(state=state, changed_by="alice"), change)
    assert refusal.value.field is None
    assert ("alice" in str(refusal.value)) == (kind != "reopen")


def test_a_comment_on_a_closed_group_keeps_why_it_was_closed() -> None:
    closed = after(NEW, Change(kind="close", by="alice", at_s=1.0, reason="confirmed"))
    assert after(closed, Change(kind="comment", by="bob", at_s=2.0, comment="x")).reason == "confirmed"
    assert after(closed, Change(kind="reopen", by="bob", at_s=2.0)).reason is None


def test_a_group_that_was_changed_too_often_can_only_be_closed() -> None:
    life = Life(changes=MAX_CHANGES)
    with pytest.raises(ChangeRefused, match="close it"):
        after(life, Change(kind="comment", by="bob", at_s=1.0, comment="once more"))
    assert after(life, Change(kind="close", by="bob", at_s=1.0, reason="benign")).state == "closed"


def test_only_a_duplicate_teaches_nothing() -> None:
    assert set(CLOSE_REASONS) - set(TEACHES) == {"duplicate"}
    assert TEACHES["confirmed"] == "confirmed"
