"""Actions with everything and anything in them, as the action log has them, for tests of the record."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from monitor.intake.action import parse_action
from monitor.intake.observation import Observation, Observer
from monitor.log import entries
from monitor.log.entries import Actions
from monitor.record.action_form import RecordedAction, RecordedActions, action_entry, decode_entry
from monitor.record.entry import Entry
from tests.monitor.hostile import HOSTILE
from tests.monitor.streams import SECRET

SALT = bytes(range(16))
RECEIVED_S = 1_795_000_001.25

FULL: dict[str, Any] = {
    "id": "a-1",
    "ts": 1_795_000_000.5,
    "agent_id": "billing-bot",
    "agent_version": "3",
    "session_id": "run-42",
    "tool": "send_money",
    "args": {"to": "DE89 3704", "amount": 12},
    "resource": "bank/acme",
    "side_effect": True,
    "provenance": {"to": "tool:read_invoice"},
    "on_behalf_of": ["alice@example.com", "planner"],
    "task": "Pay the invoice of Acme",
    "credential": "key-7",
    "policy": "payments@4",
    "proof": "eyJ-signature",
    "result": {"ok": True, "chars": 3, "text": "sent"},
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "parent_id": "call-1",
    "call_id": "call-77",
    "decision": "allowed",
    "colour": "red",
}
BARE: dict[str, Any] = {"id": "a-1", "ts": 1_795_000_000.5, "agent_id": "billing-bot", "tool": "read"}


def observe(document: dict[str, Any], *, store_args: bool = True) -> Observation:
    """The observation of a document that a producer sends."""
    return Observer(SECRET, store_args=store_args).observe(parse_action(json.dumps(document)))


def recorded(*observations: Observation) -> list[RecordedAction]:
    """The observations as the recorder reads them from the log."""
    entry = decode_entry(entries.encode(Actions(RECEIVED_S, list(observations))))
    assert isinstance(entry, RecordedActions)
    return entry.observations


def recorded_entry(action: RecordedAction, **scored: Any) -> Entry:
    """The entry of an action, number 1042 of the log."""
    known = {"seq": 1042, "now_s": RECEIVED_S, "p": 1e-5, "threshold_p": 1e-3, "evidence": 9.5, "salt": SALT}
    return action_entry(action, **{**known, **scored})


def entry_of(document: dict[str, Any], *, store_args: bool = True, **scored: Any) -> Entry:
    """The entry of a document that a producer sends, number 1042 of the log."""
    return recorded_entry(recorded(observe(document, store_args=store_args))[0], **scored)


def _name(most: int) -> st.SearchStrategy[str]:
    """What the kill switch takes as a name."""
    printable = st.characters(exclude_categories=["Cs", "Cc"])
    return st.one_of(
        st.text(printable, min_size=1, max_size=most).filter(str.strip), st.just("\U0001d54f" * most)
    )


DOCUMENTS = st.fixed_dictionaries(
    {"id": _name(128), "ts": st.floats(0, 4_102_444_799.9), "agent_id": _name(512), "tool": _name(256)},
    optional={
        "args": st.dictionaries(HOSTILE, HOSTILE, max_size=8),
        "agent_version": _name(256),
        "session_id": _name(256),
        "resource": HOSTILE.map(lambda text: text[:2048]),
        "side_effect": st.booleans(),
        "result": st.fixed_dictionaries({}, optional={"ok": st.booleans(), "text": HOSTILE}),
        "provenance": st.dictionaries(HOSTILE, _name(256), max_size=8),
        "on_behalf_of": st.lists(_name(512), max_size=32),
        "task": HOSTILE.map(lambda text: text[:8192]),
        "credential": _name(256),
        "policy": _name(256),
        "proof": st.just("eyJ"),
        "trace_id": _name(256),
        "traceparent": st.one_of(
            _name(55), st.just("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        ),
        "txn": _name(40),
        "parent_id": st.one_of(_name(40), st.none()),
        "decision": st.sampled_from(["allowed", "refused", "held"]),
        "call_id": _name(256),
        "colour": HOSTILE.map(lambda text: text[:100]),
    },
)
"""Whatever an agent may send."""
