"""One entry of each type, made from what the logs really hold, with one text wherever somebody else chose it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from killswitch import Ack, Change, Target
from killswitch.drills.drill_record import evidence
from killswitch.revocations import Request, apply
from killswitch.storage.codec import encode_change
from monitor.core.alerts import Alert
from monitor.live.acknowledgements import Acknowledgements
from monitor.live.message_types import AlertChange, GroupRef, MuteChange
from monitor.live.messages import alert_change_message, alert_message, mute_message
from monitor.log import audit
from monitor.log.entries import Judgement, Transition, Withdrawal
from monitor.record.entry import Entry
from monitor.record.feed_forms import feed_entry
from monitor.record.other_forms import (
    act_entry,
    drill_entry,
    judgement_entry,
    record_entry,
    transition_entry,
    withdrawal_entry,
)
from tests.killswitch.test_drill_record import DRILL, SIGNER, bad
from tests.monitor.alerts import alert
from tests.monitor.record_forms import FULL, entry_of

AT_S = 1_795_000_000.5


def of_feed(message: dict[str, Any], seq: int = 9) -> Entry:
    """The entry of a message of the feed's log."""
    entry = feed_entry(seq, msgspec.json.encode(message))
    assert entry is not None
    return entry


def alert_with(text: str) -> dict[str, Any]:
    """The message of an alert with this text wherever an agent chose it."""
    names = dict.fromkeys(
        ("agent_id", "session_id", "tool", "action_id", "title", "credential", "policy"), text
    )
    reason = {"signal": text, "observed": text, "expected": text, "p": 0.1, "sentence": text}
    plain = {**msgspec.to_builtins(alert(4)), **names, "on_behalf_of": [text, text], "reasons": [reason] * 3}
    return alert_message(msgspec.convert(plain, Alert), GroupRef(id="al-1", count=2))


def triage_with(text: str) -> dict[str, Any]:
    """The message that somebody closed an alert, with this text wherever others chose it."""
    names = dict.fromkeys(("agent_id", "session_id", "tool", "title", "by", "comment", "assignee"), text)
    known = {"id": "al-1", "change": "close", "state": "closed", "at": AT_S, "reason": "benign"}
    found = {"severity": "high", "verdict": "anomalous", "on_behalf_of": (text,), **names, **known}
    return alert_change_message(AlertChange(**found))


def change_of(text: str) -> Change:
    """A kill with this text wherever others chose it; what the kill switch takes, at least."""
    safe = "".join(letter for letter in text if letter.isprintable())[:200].strip() or "x"
    request = Request(
        kind="revoke",
        target=Target("agent", safe),
        reason=safe,
        by=safe,
        change_id="c-1",
        evidence=(safe[:100],),
    )
    change = apply(None, request, epoch=7, now_s=AT_S)
    assert change is not None
    return change


def every_type(text: str = "billing-bot") -> dict[str, Entry]:
    """One entry of each type, by its type."""
    ack = Acknowledgements().message(
        Ack("p-1", text, 7, AT_S, 1.0, "push", latency_ms=1.5, refuses=True), live=3
    )
    mute = MuteChange(
        id="m-1", agent_id=text, signal=text, reason=text, by=text, at=AT_S, until=AT_S + 60, change="set"
    )
    drill = replace(DRILL, by=text, points=(bad(text),))
    name = text[:100].strip() if text.isprintable() and text[:100].strip() else "x"
    action = {**FULL, "agent_id": name, "tool": name, "resource": text[:2000], "on_behalf_of": [name, name]}
    return {
        "action": entry_of({**action, "args": {text: text}}),
        "alert": of_feed(alert_with(text)),
        "triage": of_feed(triage_with(text)),
        "acknowledgement": of_feed(ack),
        "mute": of_feed(mute_message(mute)),
        "judgement": judgement_entry(Judgement(AT_S, "al-1", "dismissed", text, text), seq=2),
        "authorization_transition": transition_entry(Transition(AT_S, encode_change(change_of(text)))),
        "withdrawal": withdrawal_entry(Withdrawal(AT_S, "c", text, AT_S, [text], text), seq=3),
        "drill": drill_entry(drill, evidence=evidence(drill, SIGNER), signed_by=text, now_s=AT_S),
        "operator_act": act_entry(5, audit.Entry(AT_S, text, text, text, text, text, "done", {text: text})),
        "record": record_entry(4, "redaction", AT_S, {"by": text, "reason": text, "contents": 41}),
    }
