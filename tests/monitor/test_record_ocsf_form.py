"""Entries in OCSF: what each class requires is there, and what the record knows is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.delivery.events import event
from monitor.delivery.ocsf import detection_finding, epoch_ms
from monitor.record.entry import Entry, decode_content, decode_leaf
from monitor.record.ocsf_form import ocsf_of
from tests.monitor.alerts import alert
from tests.monitor.hostile import CORPUS, HOSTILE
from tests.monitor.record_entries import alert_with, every_type, of_feed, triage_with
from tests.monitor.record_forms import BARE, DOCUMENTS, FULL, entry_of

BASE = {"category_uid", "class_uid", "activity_id", "type_uid", "time", "severity_id", "metadata"}
# Required beyond the base, and what the recommended set of OCSF 1.8 lacks without it.
REQUIRED = {
    6003: BASE | {"actor", "api", "src_endpoint"},
    2004: BASE | {"finding_info"},
    3005: BASE | {"user", "privileges"},
    0: BASE,
}
CATEGORY = {6003: 6, 2004: 2, 3005: 3, 0: 0}
CLASSES = {"action": 6003, "alert": 2004, "triage": 2004, "authorization_transition": 3005}


def ocsf(entry: Entry, **about: str) -> dict[str, Any]:
    """The event of an entry with its content."""
    return ocsf_of(decode_leaf(entry.leaf), decode_content(entry.content), **about)


def assert_well_formed(found: dict[str, Any]) -> None:
    """What every receiver may count on."""
    class_uid = found["class_uid"]
    assert REQUIRED[class_uid] <= found.keys()
    assert found["category_uid"] == CATEGORY[class_uid]
    assert found["type_uid"] == class_uid * 100 + found["activity_id"]
    assert isinstance(found["time"], int)
    assert found["time"] >= 0
    assert found["metadata"]["version"] == "1.8.0"
    assert found["metadata"]["product"].items() >= {"name": "killcord", "vendor_name": "killcord"}.items()
    assert found["message"].isprintable()
    assert None not in list(values(found))
    if class_uid == 6003:
        assert found["api"]["operation"]
        assert found["api"]["request"]["uid"]
        assert found["src_endpoint"]["name"]
        assert found["actor"].keys() & {"user", "session", "app_name", "app_uid"}
    if class_uid == 2004:
        assert found["finding_info"]["uid"]


def values(value: Any, key: str = "") -> list[Any]:
    """Every value that is ours to leave out, however deep: what others sent may be null."""
    if key in ("unmapped", "data"):
        return []
    if isinstance(value, dict):
        return [one for name, item in value.items() for one in values(item, name)]
    return [one for item in value for one in values(item)] if isinstance(value, list) else [value]


def test_each_type_is_of_its_class() -> None:
    for kind, entry in every_type().items():
        found = ocsf(entry, product_version="0.1.0")
        assert_well_formed(found)
        assert found["class_uid"] == CLASSES.get(kind, 0)
        assert found["metadata"]["uid"] == decode_leaf(entry.leaf)["event_id"]
        assert found["metadata"]["product"]["version"] == "0.1.0"
        assert found["metadata"]["logged_time"] == epoch_ms(decode_leaf(entry.leaf)["recorded_at"])


def test_an_action_is_a_call_by_an_agent_for_a_human() -> None:
    found = ocsf(entry_of(FULL))
    assert found["time"] == 1_795_000_000_500
    assert found["metadata"]["correlation_uid"] == FULL["trace_id"]
    assert found["api"] == {
        "operation": "send_money",
        "request": {"uid": "call-77", "data": {"to": "DE89 3704", "amount": 12}},
    }
    assert found["actor"] == {
        "app_name": "billing-bot",
        "app_uid": "billing-bot",
        "user": {"name": "alice@example.com", "uid": "alice@example.com", "type_id": 1},
        "session": {"uid": "run-42", "credential_uid": "key-7"},
        "authorizations": [{"decision": "allowed", "policy": {"name": "payments@4"}}],
    }
    assert found["resources"] == [
        {"uid": "billing-bot", "name": "billing-bot", "type": "AI agent"},
        {"name": "bank/acme"},
    ]
    assert found["unmapped"]["agent_id"] == "billing-bot"
    assert found["unmapped"]["delegations"] == ["planner"]
    assert found["unmapped"]["risk"]["p"] == 1e-5
    assert found["unmapped"]["content"]["task"] == FULL["task"]
    assert "salt" not in found["unmapped"]["content"]


@pytest.mark.parametrize(
    ("sent", "fields"),
    [
        ({}, {"activity_id": 99, "status_id": 0, "action_id": 3, "disposition_id": 17}),
        ({"side_effect": True}, {"activity_id": 3}),
        ({"side_effect": False}, {"activity_id": 2}),
        ({"result": {"ok": True, "duration_ms": 12.6}}, {"status_id": 1, "duration": 13}),
        ({"result": {"ok": False}}, {"status_id": 2}),
        ({"decision": "allowed"}, {"action_id": 1, "disposition_id": 1}),
        ({"decision": "refused"}, {"action_id": 2, "disposition_id": 2}),
        ({"decision": "held"}, {"action_id": 2, "disposition_id": 14}),
    ],
)
def test_what_became_of_a_call_is_told(sent: dict[str, Any], fields: dict[str, int]) -> None:
    found = ocsf(entry_of({**BARE, **sent}))
    assert {name: found[name] for name in fields} == fields


def test_a_deleted_content_leaves_the_event_whole() -> None:
    found = ocsf_of(decode_leaf(entry_of(FULL).leaf))
    assert_well_formed(found)
    assert "content" not in found["unmapped"]
    assert found["unmapped"]["content_sha256"]


@pytest.mark.parametrize("message", [alert_with("billing-bot"), triage_with("billing-bot")])
def test_a_finding_is_the_one_that_was_delivered(message: dict[str, Any]) -> None:
    about = {"product_version": "0.1.0", "dashboard_url": "https://watch.example.com"}
    delivered = detection_finding(event(9, message, ""), **about)
    found = ocsf(of_feed(message), **about)
    uid = {"uid": "feed-9", "log_name": "record", "logged_time": found["metadata"]["logged_time"]}
    told = msgspec.json.decode(
        msgspec.json.encode({**delivered, "metadata": {**delivered["metadata"], **uid}})
    )
    if message["type"] == "alert":
        told["evidences"][0]["data"].pop("action_seq")
        assert found["unmapped"]["response"].items() <= told["unmapped"].pop("response").items()
        del found["unmapped"]["response"]
    else:
        told["time"] = found["time"]  # the record has when it was done, the feed when it was told
        told["unmapped"]["change"]["at"] = found["unmapped"]["change"]["at"]
    assert found == told


def test_a_mute_shows_in_the_status_of_the_finding() -> None:
    entry = of_feed(
        {**alert_with("x"), "group": {"id": "al-1", "count": 1, "state": "open", "muted_by": "m-1"}}
    )
    assert ocsf(entry)["status_id"] == 3


@pytest.mark.parametrize(
    ("kind", "activity"), [("revoked", 2), ("suspended", 2), ("step_up", 2), ("active", 1)]
)
def test_a_kill_takes_privileges_and_a_restoration_gives_them_back(kind: str, activity: int) -> None:
    leaf = {**decode_leaf(every_type()["authorization_transition"].leaf), "new_state": kind}
    found = ocsf_of(leaf)
    assert found["activity_id"] == activity
    assert found["user"] == {
        "uid": "agent:billing-bot",
        "name": "billing-bot",
        "type": "agent",
        "type_id": 99,
    }
    assert found["severity_id"] == (4 if activity == 2 else 1)
    assert found["unmapped"]["change_id"] == "c-1"


@given(DOCUMENTS, st.booleans())
def test_any_action_becomes_an_event(document: dict[str, Any], store_args: bool) -> None:
    assert_well_formed(ocsf(entry_of(document, store_args=store_args)))


@given(HOSTILE.filter(str.strip) | st.sampled_from([text for text in CORPUS if text.strip()]))
def test_whatever_others_say_becomes_an_event(text: str) -> None:
    for entry in every_type(text).values():
        found = ocsf(entry)
        assert_well_formed(found)
        assert msgspec.json.decode(msgspec.json.encode(found))["metadata"] == found["metadata"]


def test_an_alert_that_was_cut_becomes_an_event_too() -> None:
    reason = {**msgspec.to_builtins(alert(1).reasons[0]), "sentence": "\x01" * 3000}
    message = alert_with("x")
    message["alert"]["reasons"] = [reason] * 60
    message["alert"]["on_behalf_of"] = ["\U0001d54f" * 512] * 32
    entry = of_feed(message)
    assert decode_leaf(entry.leaf)["cut"] is True
    assert_well_formed(ocsf(entry))
