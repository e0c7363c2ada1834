"""Entries as lines for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.record.entry import TYPES, decode_leaf
from monitor.record.time_line import MAX_CHARS, line, text
from tests.monitor.hostile import CORPUS, HOSTILE
from tests.monitor.record_entries import every_type
from tests.monitor.record_forms import BARE, FULL, entry_of

LINES = {
    "action": "11:06:40.500  action    billing-bot  billing-bot  on billing-bot  for billing-bot  via billing-bot  "
    "p 0.00001",
    "triage": "11:06:40.500  triage    billing-bot  close  al-1  benign  to billing-bot  by billing-bot  billing-bot",
    "mute": "11:06:40.500  mute      billing-bot  set for billing-bot  until 2026-11-18T11:07:40.500Z  by billing-bot  "
    "billing-bot",
    "judgement": "11:06:40.500  verdict   al-1  dismissed  by billing-bot  billing-bot",
    "authorization_transition": "11:06:40.500  change    agent:billing-bot  active → revoked  by billing-bot  "
    "billing-bot",
    "withdrawal": "11:06:40.500  no kill   billing-bot  could not be killed  billing-bot",
    "drill": "01:46:40.000  drill     failed  1 of 1 enforcement points failed the drill  by billing-bot",
    "operator_act": "11:06:40.500  act       billing-bot  billing-bot  billing-bot  done  from billing-bot",
    "record": "11:06:40.500  record    redaction  reason billing-bot  contents 41  by billing-bot",
}
OF_NOW = {
    "alert": "alert     billing-bot  HIGH  billing-bot  (2 times)  response: alert",
    "acknowledgement": "confirm   billing-bot  enforces change 7  1 of 3 points  refuses",
}


def test_each_type_has_a_line() -> None:
    entries = every_type()
    assert entries.keys() == set(TYPES) == LINES.keys() | OF_NOW.keys()
    for kind, expected in LINES.items():
        assert line(decode_leaf(entries[kind].leaf)) == expected
    for kind, expected in OF_NOW.items():
        assert line(decode_leaf(entries[kind].leaf))[14:] == expected


def test_a_line_can_have_its_date() -> None:
    leaf = decode_leaf(every_type()["judgement"].leaf)
    assert line(leaf, with_date=True).startswith("2026-11-18 11:06:40.500  verdict  ")


def test_what_is_not_known_takes_no_place() -> None:
    leaf = decode_leaf(entry_of(BARE, p=None, threshold_p=None, evidence=None).leaf)
    assert line(leaf) == "11:06:40.500  action    billing-bot  read"


def test_a_call_that_did_not_go_ahead_or_failed_says_so() -> None:
    refused = entry_of({**BARE, "decision": "refused", "result": {"ok": False}}, p=None)
    assert text(decode_leaf(refused.leaf)) == "billing-bot  read  refused  failed"


@pytest.mark.parametrize(
    ("p", "shown"),
    [(1.0, "p 1"), (0.25, "p 0.25"), (0.00002, "p 0.00002"), (3e-7, "p 3e-07"), (0.0, "p 0")],
)
def test_a_p_value_is_told_as_people_read_it(p: float, shown: str) -> None:
    assert line(decode_leaf(entry_of(FULL, p=p).leaf)).endswith(shown)


def test_an_entry_of_a_later_version_still_has_a_line() -> None:
    leaf = {"v": 1, "event_id": "news-1", "type": "news", "timestamp": "2026-11-18T11:06:40.500Z"}
    assert line(leaf) == "11:06:40.500  news      news-1"


@given(HOSTILE | st.sampled_from(CORPUS))
def test_whatever_an_agent_says_stays_in_its_place(said: str) -> None:
    usual = every_type()
    for kind, entry in every_type(said).items():
        shown = line(decode_leaf(entry.leaf))
        assert shown.isprintable()
        assert len(shown) <= MAX_CHARS
        assert shown.count("  ") <= line(decode_leaf(usual[kind].leaf)).count("  ")


def test_no_name_can_pass_for_several_parts() -> None:
    leaf = decode_leaf(entry_of({**BARE, "tool": "read  for alice@example.com  p 1"}, p=1e-5).leaf)
    assert line(leaf).split("  ")[-2:] == ["read for alice@example.com p 1", "p 0.00001"]
