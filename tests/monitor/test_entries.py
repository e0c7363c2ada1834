"""What the action log holds."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import LogError
from monitor.log import entries
from monitor.log.entries import Actions, Entry, Judgement, Transition, Withdrawal
from tests.monitor.streams import habits

ENTRIES: list[Entry] = [
    Actions(12.5, habits(3)),
    Judgement(13.5, "al-1", "dismissed", "alice", "our own test"),
    Transition(14.5, b"{}"),
    Withdrawal(15.5, "auto-1", "agent:a", 15.0, ["al-1", "a-1"], "reason: too long"),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    assert entries.decode(entries.encode(entry)) == entry


def test_an_action_takes_a_number_of_its_own_and_anything_else_one() -> None:
    assert [entries.count(entry) for entry in ENTRIES] == [3, 1, 1, 1]


@given(st.binary(max_size=60))
def test_foreign_bytes_raise_our_error(payload: bytes) -> None:
    with pytest.raises(LogError):
        entries.decode(payload)


def test_an_unknown_kind_of_entry_raises_our_error() -> None:
    with pytest.raises(LogError):
        entries.decode(msgspec.msgpack.encode(["verdict-of-the-future", 1.0]))
