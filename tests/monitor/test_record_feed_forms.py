"""The entries of what stands on the feed: made from the messages that are really published."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch import Ack, Change, Target
from monitor.core.alerts import Alert, switch_alert
from monitor.errors import LogError
from monitor.live.acknowledgements import Acknowledgements
from monitor.live.message_types import AlertChange, GroupRef, MuteChange
from monitor.live.messages import alert_change_message, alert_message, mute_message, transition_message
from monitor.record.entry import MAX_LEAF_BYTES, TYPES, Entry, decode_leaf, links_of, stamp
from monitor.record.feed_forms import feed_entry
from tests.monitor.alerts import alert
from tests.monitor.hostile import HOSTILE

AT_S = 1_795_000_000.5


def entry_of(message: dict[str, Any]) -> Entry:
    """The entry of a message, number 9 of the feed's log."""
    entry = feed_entry(9, msgspec.json.encode(message))
    assert entry is not None
    return entry


def said(entry: Entry) -> dict[str, Any]:
    """What a whole entry says."""
    fields = decode_leaf(entry.leaf)
    assert len(entry.leaf) <= MAX_LEAF_BYTES
    assert fields["type"] in TYPES
    assert fields["event_id"] == "feed-9"
    assert entry.links == links_of(entry.leaf)
    return fields


def triage(**fields: Any) -> dict[str, Any]:
    known = {
        "id": "al-1",
        "change": "close",
        "state": "closed",
        "by": "alice",
        "at": AT_S,
        "reason": "benign",
        "agent_id": "billing-bot",
        "tool": "send_money",
        "severity": "high",
        "verdict": "anomalous",
        "title": "never called send_money",
        "on_behalf_of": ("alice@example.com", "planner"),
        "session_id": "run-7",
    }
    return alert_change_message(AlertChange(**{**known, **fields}))


def test_an_alert_says_why_and_what_was_done() -> None:
    message = alert_message(alert(4), GroupRef(id="al-1", count=2, muted_by="m-1"))
    entry = entry_of(message)
    assert said(entry) == {
        "v": 1,
        "event_id": "feed-9",
        "type": "alert",
        "timestamp": message["ts"],
        "recorded_at": message["ts"],
        "parent_id": "action-4",
        "agent": {"id": "billing-bot", "run": "run-7"},
        "on_behalf_of": {"type": "user", "id": "alice@example.com"},
        "action": {"id": "a-4", "tool": "send_money"},
        "risk": {"p": 1e-6, "threshold_p": 1e-4},
        "alert": {
            "id": "al-4",
            "at": "2026-11-26T03:00:00.000Z",
            "verdict": "anomalous",
            "severity": "high",
            "title": "billing-bot never called send_money",
            "reasons": list(msgspec.to_builtins(alert(4).reasons)),
            "response": {"mode": "alert", "wanted": "alert", "taken": "alert", "why": "over the threshold"},
            "group": {"id": "al-1", "count": 2, "state": "open", "muted_by": "m-1"},
        },
    }
    assert {"parent:action-4", "action:a-4", "alert:al-4", "alert:al-1", "human:alice@example.com"} <= set(
        entry.links
    )


def test_an_alert_is_found_by_the_kill_that_it_caused() -> None:
    killed = msgspec.structs.replace(
        alert(4), response=msgspec.structs.replace(alert(4).response, change_id="auto-al-4")
    )
    assert "change:auto-al-4" in entry_of(alert_message(killed)).links


def test_an_alert_about_the_kill_switch_has_no_action_before_it() -> None:
    found = switch_alert(
        "store_damaged", "al-x", AT_S, title="robbed", expected="whole", why="look", about="store"
    )
    assert "parent_id" not in said(entry_of(alert_message(found)))


def test_an_alert_of_a_daemon_that_knew_no_groups_is_read() -> None:
    message = {name: value for name, value in alert_message(alert(4)).items() if name != "group"}
    assert "group" not in said(entry_of(message))["alert"]


def test_what_people_do_about_alerts_says_who_did_it() -> None:
    entry = entry_of(triage(comment="known customer"))
    found = said(entry)
    assert found["type"] == "triage"
    assert found["timestamp"] == stamp(AT_S)
    assert found["actor"] == {"type": "user", "id": "alice"}
    assert found["triage"] == {
        "change": "close",
        "state": "closed",
        "reason": "benign",
        "comment": "known customer",
    }
    assert found["delegations"] == ["planner"]
    assert {"alert:al-1", "by:alice", "agent:billing-bot", "session:run-7"} <= set(entry.links)
    assert entry.ts_s == AT_S


def test_a_points_word_is_found_by_the_change_that_it_confirms() -> None:
    known = Acknowledgements()
    change = Change(7, "c-7", "restore", Target("agent", "a"), None, None, "because", "alice", AT_S)
    known.note_change(change)
    ack = Ack("p-1", "billing", 7, AT_S, 1.0, "push", latency_ms=1.5, refuses=False)
    entry = entry_of(known.message(ack, live=3))
    found = said(entry)
    assert entry.links == ("type:acknowledgement", "event:feed-9", "parent:transition-7")
    assert {**found["acknowledgement"], "latency_ms": 0} == {
        "epoch": 7,
        "point": "billing",
        "point_id": "p-1",
        "latency_ms": 0,
        "own_ms": 1.5,
        "refuses": False,
        "drill": False,
        "confirmed": 1,
        "live": 3,
    }


def test_a_mute_says_what_nobody_is_shown_and_until_when() -> None:
    mute = MuteChange(
        id="m-1", agent_id="billing-bot", signal="tool", reason="month end", by="alice", at=AT_S, until=AT_S + 60,
        change="set",
    )  # fmt: skip
    entry = entry_of(mute_message(mute))
    assert said(entry)["mute"] == {
        "id": "m-1",
        "change": "set",
        "signal": "tool",
        "reason": "month end",
        "until": stamp(AT_S + 60),
    }
    assert entry.links == ("type:mute", "event:feed-9", "agent:billing-bot", "by:alice")


def test_what_the_action_log_has_in_full_and_what_passes_makes_no_entry() -> None:
    change = Change(7, "c-7", "restore", Target("agent", "a"), None, None, "because", "alice", AT_S)
    status = {"type": "status", "ts": "2026-11-26T03:00:00.000Z", "status": {"actions": 3}}
    for message in (transition_message(change), status):
        assert feed_entry(9, msgspec.json.encode(message)) is None


@given(HOSTILE, st.integers(0, 2**62), st.lists(HOSTILE, max_size=32))
def test_any_alert_becomes_a_whole_entry(text: str, seq: int, chain: list[str]) -> None:
    names = dict.fromkeys(
        ("agent_id", "session_id", "tool", "action_id", "title", "credential", "policy"), text
    )
    plain = msgspec.to_builtins(alert(4))
    reason = {"signal": text, "observed": text, "expected": text, "p": 0.1, "sentence": text}
    found = {**plain, **names, "action_seq": seq, "on_behalf_of": chain, "reasons": [reason] * 40}
    entry = entry_of(alert_message(msgspec.convert(found, Alert)))
    assert said(entry)["alert"]["id"] == "al-4"


@given(HOSTILE)
def test_any_change_of_an_alert_becomes_a_whole_entry(text: str) -> None:
    names = dict.fromkeys(("agent_id", "session_id", "tool", "title", "by", "comment", "assignee"), text)
    said(entry_of(triage(**names, on_behalf_of=(text,) * 32)))


@given(
    st.binary(max_size=60)
    | st.sampled_from(
        [
            b"{}",
            b'{"type":"alert","ts":"now"}',
            b'{"type":"status","ts":"now","status":{}}',
            b'{"type":"news","ts":"2026-11-26T03:00:00.000Z"}',
        ]
    )
)
def test_what_is_no_message_raises_one_error(payload: bytes) -> None:
    with pytest.raises(LogError, match="message 9 of the feed"):
        feed_entry(9, payload)
