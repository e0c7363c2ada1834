"""The entries of actions: what they say, whatever an agent sent."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors import Features
from killswitch import Change, Target
from killswitch.storage.codec import encode_change
from monitor.errors import LogError
from monitor.intake.observation import Observation
from monitor.log import entries
from monitor.log.entries import Actions, Judgement, Transition, Withdrawal
from monitor.record.action_form import RecordedAction, RecordedActions, decode_entry
from monitor.record.entry import (
    MAX_CONTENT_BYTES,
    MAX_LEAF_BYTES,
    decode_content,
    decode_leaf,
    is_content_of,
    links_of,
)
from tests.monitor.record_forms import (
    BARE,
    DOCUMENTS,
    FULL,
    SALT,
    entry_of,
    observe,
    recorded,
    recorded_entry,
)

SCORES = st.one_of(st.none(), st.floats(), st.floats(0, 1))


def values(value: Any) -> Iterator[Any]:
    """Every value in a JSON value, however deep."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from values(item)
    else:
        yield value


def test_an_action_says_who_did_what_for_whom_by_which_right() -> None:
    entry = entry_of(FULL)
    observation = observe(FULL)
    assert decode_leaf(entry.leaf) == {
        "v": 1,
        "event_id": "action-1042",
        "type": "action",
        "timestamp": "2026-11-18T11:06:40.500Z",
        "recorded_at": "2026-11-18T11:06:41.250Z",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "parent_id": "call-1",
        "agent": {"id": "billing-bot", "version": "3", "run": "run-42"},
        "on_behalf_of": {"type": "user", "id": "alice@example.com"},
        "delegations": ["planner"],
        "action": {
            "id": "a-1",
            "tool": "send_money",
            "call_id": "call-77",
            "resource": "bank/acme",
            "side_effect": True,
            "args": ["to", "amount"],
            "args_digest": f"blake2b-128:{observation.args_digest.hex()}",
            "proof_digest": f"blake2b-128:{(observation.proof_digest or b'').hex()}",
            "provenance": {"to": "tool:read_invoice"},
            "result": {"ok": True, "chars": 3},
        },
        "authorization": {"credential": "key-7", "policy": "payments@4", "decision": "allowed"},
        "risk": {"p": 1e-5, "threshold_p": 1e-3, "evidence": 9.5},
        "content": {
            "sha256": decode_leaf(entry.leaf)["content"]["sha256"],
            "fields": ["task", "args", "extra", "result_text"],
        },
    }
    assert decode_content(entry.content) == {
        "salt": SALT.hex(),
        "task": "Pay the invoice of Acme",
        "args": {"to": "DE89 3704", "amount": 12},
        "extra": {"colour": "red"},
        "result_text": "sent",
    }
    assert entry.ts_s == FULL["ts"]


def test_the_fields_of_a_leaf_are_in_the_order_of_the_format() -> None:
    assert list(json.loads(entry_of(FULL).leaf)) == [
        *(
            "v",
            "event_id",
            "type",
            "timestamp",
            "recorded_at",
            "trace_id",
            "parent_id",
            "agent",
            "on_behalf_of",
        ),
        *("delegations", "action", "authorization", "risk", "content"),
    ]
    assert entry_of(FULL).content.startswith(b'{"salt":"')


def test_an_action_of_which_little_is_known_says_no_more() -> None:
    entry = entry_of(BARE, p=None, threshold_p=None, evidence=None)
    leaf = decode_leaf(entry.leaf)
    assert leaf.keys() == {"v", "event_id", "type", "timestamp", "recorded_at", "agent", "action"}
    assert leaf["action"].keys() == {"id", "tool", "args_digest"}
    assert leaf["agent"] == {"id": "billing-bot"}
    assert entry.content == b""
    assert entry.links == (
        "type:action",
        "event:action-1042",
        "action:a-1",
        "agent:billing-bot",
        "tool:read",
    )


def test_an_action_is_found_by_everything_that_it_names() -> None:
    assert set(entry_of(FULL).links) == {
        "type:action",
        "event:action-1042",
        "parent:call-1",
        "call:call-77",
        "trace:4bf92f3577b34da6a3ce929d0e0e4736",
        "action:a-1",
        "agent:billing-bot",
        "tool:send_money",
        "session:run-42",
        "human:alice@example.com",
        "delegate:planner",
        "credential:key-7",
        "resource:bank/acme",
    }


def test_nothing_that_was_not_to_be_stored_is_recorded() -> None:
    entry = entry_of(FULL, store_args=False)
    assert decode_leaf(entry.leaf)["content"]["fields"] == ["task", "extra"]
    assert b"DE89" not in entry.leaf + entry.content
    assert b'"sent"' not in entry.leaf + entry.content


def test_what_an_agent_was_told_and_sent_stands_only_in_what_can_be_deleted() -> None:
    leaf = entry_of(FULL).leaf
    assert not any(text in leaf for text in (b"DE89", b"Acme", b'"sent"', b'"red"', b"eyJ"))


@pytest.mark.parametrize(
    ("sent", "trace_id", "left"),
    [
        ({"trace_id": "t", "txn": "x"}, "t", {"txn": "x"}),
        ({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}, "ab" * 16, {"traceparent"}),
        ({"txn": "x"}, "x", {}),
        ({"txn": ""}, None, {"txn"}),
        ({"txn": 7}, None, {"txn"}),
        ({"txn": "x" * 257}, None, {"txn"}),
        ({"traceparent": "00-zz"}, None, {"traceparent"}),
    ],
)
def test_the_trace_is_taken_from_where_the_standards_put_it(
    sent: Any, trace_id: str | None, left: Any
) -> None:
    entry = entry_of({**BARE, **sent})
    assert decode_leaf(entry.leaf).get("trace_id") == trace_id
    assert decode_content(entry.content).get("extra", {}).keys() == set(left)


def test_a_trace_that_an_older_log_has_among_the_unknown_fields_is_found() -> None:
    plain: list[Any] = msgspec.msgpack.decode(entries.encode(Actions(1.0, [observe(BARE)])))
    plain[2][0] = [*plain[2][0][:19], {"trace_id": "t", "colour": "red"}]
    found = decode_entry(msgspec.msgpack.encode(plain))
    assert isinstance(found, RecordedActions)
    entry = recorded_entry(found.observations[0])
    assert decode_leaf(entry.leaf)["trace_id"] == "t"
    assert decode_content(entry.content)["extra"] == {"colour": "red"}


@given(DOCUMENTS, SCORES, SCORES, SCORES, st.booleans())
def test_any_action_becomes_a_whole_entry(
    document: dict[str, Any],
    p: float | None,
    threshold_p: float | None,
    evidence: float | None,
    store_args: bool,
) -> None:
    entry = entry_of(document, store_args=store_args, p=p, threshold_p=threshold_p, evidence=evidence)
    leaf = decode_leaf(entry.leaf)
    assert len(entry.leaf) <= MAX_LEAF_BYTES
    assert entry.links == links_of(entry.leaf)
    assert is_content_of(leaf, entry.content)
    assert list(leaf.get("content", {}).get("fields", [])) == list(decode_content(entry.content))[1:]
    known = {"p": p, "threshold_p": threshold_p, "evidence": evidence}
    assert leaf.get("risk", {}) == {
        name: value for name, value in known.items() if value is not None and math.isfinite(value)
    }
    assert None not in list(values(leaf))
    if "cut" not in leaf:
        assert leaf["agent"]["id"] == document["agent_id"]
        assert leaf["action"]["id"] == document["id"]
        assert leaf["action"].get("args", []) == list(document.get("args", {}))


def test_the_longest_names_that_can_be_killed_stay_whole() -> None:
    longest = "\U0001d54f" * 512
    chain = [longest[:-2] + f"{number:02}" for number in range(32)]
    args = {f"{number}{'a' * 3000}": 1 for number in range(100)}
    document = {**FULL, "agent_id": longest, "on_behalf_of": chain, "args": args}
    entry = entry_of(document, store_args=False)
    leaf = decode_leaf(entry.leaf)
    assert leaf["cut"] is True
    assert {f"agent:{longest}", f"human:{chain[0]}"} <= set(entry.links)
    assert leaf["delegations"] == chain[1 : 1 + len(leaf["delegations"])]
    assert entry.links == links_of(entry.leaf)


def test_a_content_has_a_limit_too() -> None:
    entry = entry_of({**FULL, "args": {"body": "x" * 3_000_000, "to": "y"}})
    content = decode_content(entry.content)
    assert len(entry.content) <= MAX_CONTENT_BYTES
    assert content["cut"] is True
    assert content["args"]["body"].endswith("…")
    assert content["args"]["to"] == "y"
    assert is_content_of(decode_leaf(entry.leaf), entry.content)


def test_two_alike_have_contents_that_do_not_tell_that_they_are() -> None:
    one, two = entry_of(FULL, salt=b"a" * 16), entry_of(FULL, salt=b"b" * 16)
    assert decode_leaf(one.leaf)["content"]["sha256"] != decode_leaf(two.leaf)["content"]["sha256"]


def test_what_is_read_for_the_record_is_what_the_log_holds() -> None:
    ours, theirs = RecordedAction.__struct_fields__, Observation.__struct_fields__
    assert ours == theirs
    assert len(RecordedAction.__struct_defaults__) == len(Observation.__struct_defaults__)
    hints = {**get_type_hints(Observation), "features": msgspec.Raw}
    assert get_type_hints(RecordedAction) == hints


def test_the_numbers_for_the_models_are_passed_over_and_all_else_is_read() -> None:
    observation = observe(FULL)
    (found,) = recorded(observation)
    assert msgspec.msgpack.decode(found.features, type=Features) == observation.features
    for name in set(Observation.__struct_fields__) - {"features"}:
        assert getattr(found, name) == getattr(observation, name)


def test_every_entry_of_the_action_log_can_be_read() -> None:
    change = Change(3, "c-1", "restore", Target.parse("agent:x"), None, None, "well again", "alice", 5.0)
    for entry in (
        Judgement(1.0, "al-1", "dismissed", "alice", "known"),
        Transition(2.0, encode_change(change)),
        Withdrawal(3.0, "auto-al-1", "agent:x", 2.0, ["a-1"], "too long"),
    ):
        assert decode_entry(entries.encode(entry)) == entry


@given(st.binary(max_size=50))
def test_what_is_no_entry_of_the_action_log_raises_one_error(payload: bytes) -> None:
    with pytest.raises(LogError):
        decode_entry(payload)


def test_an_action_log_of_an_older_version_can_be_read() -> None:
    plain: list[Any] = msgspec.msgpack.decode(entries.encode(Actions(1.0, [observe(BARE)])))
    plain[2][0] = plain[2][0][:7]
    found = decode_entry(msgspec.msgpack.encode(plain))
    assert found.observations[0].on_behalf_of == ()  # type: ignore[union-attr]
