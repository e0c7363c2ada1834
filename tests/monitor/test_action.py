"""Whatever bytes arrive, an action comes out or an error that names the field."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch.targets import value_problem
from monitor.errors import ActionError
from monitor.flow import FLOW
from monitor.intake.action import (
    MAX_DEPTH,
    MAX_EXTRA_BYTES,
    MAX_TEXT_CHARS,
    Action,
    FlowCodes,
    action_from_fields,
    parse_action,
    parse_document,
)

LEAST: dict[str, Any] = {"id": "a-1", "ts": 1_795_000_000.5, "agent_id": "billing-bot", "tool": "send_money"}
FULL: dict[str, Any] = {
    **LEAST,
    "ts": "2026-11-23T21:00:00+01:00",
    "args": {"to": "DE89", "amount": 12.5, "tags": ["a", {"b": None}]},
    "agent_version": "1.2",
    "session_id": "run-42",
    "resource": "https://bank.example/payments",
    "side_effect": True,
    "result": {"ok": True, "chars": 12, "duration_ms": 3.5, "cost": 0.01, "text": "invoice 7"},
    "provenance": {"to": "tool:read_invoice"},
    "flow": {"side_effect": 1, "from_tools": 2, "told": 2, "age": 9},
    "on_behalf_of": ["alice@example.com", "planner"],
    "task": "pay the invoice",
    "credential": "kid-7",
    "policy": "payments@3",
    "proof": "sig",
    "call_id": "call-9",
    "decision": "allowed",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "v": 1,
}


def text(**fields: Any) -> bytes:
    return json.dumps({**LEAST, **fields}).encode()


def refusal(document: bytes | str) -> ActionError:
    with pytest.raises(ActionError) as caught:
        parse_action(document)
    return caught.value


def test_every_field_is_taken_over() -> None:
    action = parse_action(json.dumps(FULL))
    assert action.ts_s == 1_795_464_000.0
    assert action.on_behalf_of == ("alice@example.com", "planner")
    assert action.args == FULL["args"]
    assert action.result is not None
    assert (action.result.ok, action.result.chars, action.result.text) == (True, 12, "invoice 7")
    assert action.flow == FlowCodes(side_effect=1, from_tools=2, told=2, age=9)
    assert (action.call_id, action.decision) == ("call-9", "allowed")
    assert action.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert action.extra == {}


def test_epoch_seconds_and_a_bare_name_as_chain_are_accepted() -> None:
    action = parse_action(text(on_behalf_of="alice@example.com"))
    assert (action.ts_s, action.on_behalf_of) == (1_795_000_000.5, ("alice@example.com",))
    assert parse_action(text(on_behalf_of=None)).on_behalf_of == ()


def test_an_action_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        parse_action(text()).tool = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": "  "}, "id"),
        ({"id": "x" * 129}, "id"),
        ({"id": 7}, "id"),
        ({"agent_id": ""}, "agent_id"),
        ({"agent_id": "x" * 513}, "agent_id"),
        ({"agent_id": None}, "agent_id"),
        ({"agent_id": "a\nb"}, "agent_id"),
        ({"tool": "x" * 257}, "tool"),
        ({"tool": "send\x1b[2J"}, "tool"),
        ({"session_id": "run\x00"}, "session_id"),
        ({"credential": "\x9f"}, "credential"),
        ({"on_behalf_of": ["alice", "bob\x1f"]}, "on_behalf_of[1]"),
        ({"on_behalf_of": ["alice"] * 33}, "on_behalf_of"),
        ({"on_behalf_of": ["alice", 3]}, "on_behalf_of[1]"),
        ({"ts": "2026-11-23T21:00:00"}, "ts"),
        ({"ts": "yesterday"}, "ts"),
        ({"ts": -1}, "ts"),
        ({"ts": 1e12}, "ts"),
        ({"ts": 10**30}, "ts"),
        ({"ts": True}, "ts"),
        ({"ts": None}, "ts"),
        ({"ts": "1969-12-31T23:59:59Z"}, "ts"),
        ({"ts": "0001-01-01T00:00:00+14:00"}, "ts"),
        ({"ts": "9999-12-31T23:59:59-14:00"}, "ts"),
        ({"args": []}, "args"),
        ({"args": None}, "args"),
        ({"side_effect": "yes"}, "side_effect"),
        ({"result": {"chars": -1}}, "result.chars"),
        ({"result": {"chars": 10**30}}, "result.chars"),
        ({"result": {"ok": "yes"}}, "result.ok"),
        ({"result": {"text": "x" * (MAX_TEXT_CHARS + 1)}}, "result.text"),
        ({"result": {"text": ["x"]}}, "result.text"),
        ({"provenance": {"to": 3}}, "provenance[...]"),
        ({"flow": {"told": 16}}, "flow.told"),
        ({"flow": {"told": -1}}, "flow.told"),
        ({"flow": {"told": 10**30}}, "flow.told"),
        ({"flow": {"told": 1.5}}, "flow.told"),
        ({"flow": {"told": True}}, "flow.told"),
        ({"flow": {"told": None}}, "flow.told"),
        ({"flow": {"told": "2"}, "unknown": 1}, "flow.told"),
        ({"flow": [1, 2]}, "flow"),
        ({"resource": "x" * 2049}, "resource"),
        ({"task": "x" * 8193}, "task"),
        ({"call_id": ""}, "call_id"),
        ({"call_id": "x" * 257}, "call_id"),
        ({"decision": "denied"}, "decision"),
        ({"decision": True}, "decision"),
        ({"trace_id": 7}, "trace_id"),
        ({"v": 2}, "v"),
        ({"v": "1"}, "v"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], field: str) -> None:
    assert refusal(text(**fields)).field == field


@pytest.mark.parametrize("name", LEAST)
def test_a_missing_field_is_named(name: str) -> None:
    fields = {key: value for key, value in LEAST.items() if key != name}
    assert refusal(json.dumps(fields)).field == name


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"nonsense",
        b"{",
        b'{"id": "\xff"}',
        b'{"id": "\\ud800"}',
        b'{"ts": NaN}',
        b'{"ts": Infinity}',
        b'{"args": {"n": 1e400}}',
        b'{"args": {"n": ' + b"9" * 5000 + b"}}",
        b"[" * 100_000,
        '{"id": "\ud800"}',
    ],
)
def test_what_is_not_json_names_no_field(document: bytes | str) -> None:
    assert refusal(document).field == ""


@pytest.mark.parametrize("value", [[], "x", 3, True, None])
def test_an_action_is_an_object(value: object) -> None:
    assert "object" in str(refusal(json.dumps(value).encode()))


def test_the_last_of_equal_keys_counts_on_both_paths() -> None:
    fast = b'{"id": "first", "id": "last", "ts": 1, "agent_id": "x", "tool": "t"}'
    slow = fast[:-1] + b', "unknown": 1}'
    assert parse_action(fast).id == parse_action(slow).id == "last"


@pytest.mark.parametrize("name", FLOW)
def test_each_number_of_the_flow_goes_from_0_to_15_and_counts_as_0_if_missing(name: str) -> None:
    assert parse_action(text(flow={name: 15})).flow == FlowCodes(**{name: 15})
    assert refusal(text(flow={name: 16})).field == f"flow.{name}"
    assert FlowCodes.__struct_fields__ == FLOW


@pytest.mark.parametrize("more", [{}, {"unknown": 1}])
def test_an_unknown_number_of_the_flow_is_ignored_and_kept_nowhere(more: dict[str, Any]) -> None:
    action = parse_action(text(flow={"told": 1, "tomorrow's": 99, "x": "what a tool answered"}, **more))
    assert action.flow == FlowCodes(told=1)
    assert action.extra == more


def test_no_flow_and_one_of_nothing_but_zeros_are_different_things() -> None:
    assert parse_action(text()).flow is parse_action(text(flow=None)).flow is None
    assert parse_action(text(flow={})).flow == FlowCodes()


# -- unknown fields -------------------------------------------------------------------------------------------------


def test_unknown_fields_are_kept() -> None:
    assert parse_action(text(colour="red", shape=[1])).extra == {"colour": "red", "shape": [1]}


def test_a_field_named_extra_is_an_unknown_field() -> None:
    assert parse_action(text(extra={"colour": "red"})).extra == {"extra": {"colour": "red"}}


def test_unknown_fields_are_bounded_together() -> None:
    fits = MAX_EXTRA_BYTES - len('{"colour":""}')
    assert parse_action(text(colour="x" * fits)).extra
    assert refusal(text(colour="x" * (fits + 1))).field == "colour"
    assert refusal(text(colour="x" * (fits // 2), shape="x" * fits)).field == "colour"


# -- depth, and numbers too large for a record ------------------------------------------------------------------------


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("name", ["args", "unknown"])
def test_values_may_be_nested_only_so_deep(name: str) -> None:
    def document(levels: int) -> bytes:
        return text(**{name: {"x": nested(levels)} if name == "args" else nested(levels)})

    assert parse_action(document(MAX_DEPTH))
    assert refusal(document(MAX_DEPTH + 1)).field == ("args" if name == "args" else "extra")


@pytest.mark.parametrize("levels", [900, 950, 990, 2000])
def test_no_depth_raises_anything_else(levels: int) -> None:
    for document in (
        b'{"id":"a","ts":1,"agent_id":"x","tool":"t","args":{"x":' + b"[" * levels + b"]" * levels + b"}}",
        b'{"id":"a","ts":1,"agent_id":"x","tool":"t","x":' + b'{"y":' * levels + b"1" + b"}" * levels + b"}",
    ):
        refusal(document)


# -- documents ------------------------------------------------------------------------------------------------------


def parsed(body: bytes) -> list[str]:
    """Ids of actions and fields of errors, in order."""
    return [item.id if isinstance(item, Action) else f"!{item.field}" for item in parse_document(body)]


def test_one_object_an_array_and_ndjson_are_the_same() -> None:
    documents = [text(id="1"), text(id="2")]
    assert parsed(documents[0]) == ["1"]
    assert parsed(b"\n".join(documents)) == ["1", "2"]
    assert parsed(b"\r\n\n  " + b"\r\n\n".join(documents) + b"\n") == ["1", "2"]
    assert parsed(b" [" + b",".join(documents) + b"]") == ["1", "2"]
    assert parsed(b"") == parsed(b"[]") == []


def test_one_object_may_be_spread_over_lines() -> None:
    assert parsed(json.dumps({**LEAST, "id": "1"}, indent=2).encode()) == ["1"]


def test_a_first_line_that_was_cut_short_costs_only_itself() -> None:
    assert parsed(b"{\n" + text(id="1") + b"\n" + text(id="2")) == ["!", "1", "2"]


def test_an_array_that_is_no_json_is_one_error_with_the_whole_document() -> None:
    body = b"[" + text() + b", oops]"
    (error,) = parse_document(body)
    assert isinstance(error, ActionError)
    assert error.document == body


def test_a_refused_document_is_kept_with_its_error() -> None:
    good, bad = text(), text(ts="never")
    errors = [item for item in parse_document(good + b"\n" + bad) if isinstance(item, ActionError)]
    assert [(error.document, error.field) for error in errors] == [(bad, "ts")]


def broken(rng: random.Random) -> tuple[bytes, str | None]:
    """A line that is certainly wrong, and the field that its error must name (None: not to be said)."""
    field = rng.choice(list(FULL))
    match rng.randrange(4):
        case 0:
            return json.dumps(
                {**FULL, field: {"not": {"right": []}} if field not in ("args", "result", "flow") else 7}
            ).encode(), None
        case 1:
            name = rng.choice(list(LEAST))
            return json.dumps({key: value for key, value in FULL.items() if key != name}).encode(), name
        case 2:
            line = json.dumps(FULL).encode()
            return line[: rng.randrange(1, len(line))], ""
        case _:
            return b"\x80" + rng.randbytes(20).replace(b"\n", b"").replace(b"\r", b""), ""


@pytest.mark.parametrize("framing", ["ndjson", "array"])
def test_a_thousand_malformed_documents_lose_no_good_one(framing: str) -> None:
    rng = random.Random(5)
    lines: list[bytes] = []
    wanted: list[str] = []
    fields: list[str | None] = []
    while len(fields) < 1000:
        if rng.random() < 0.3:
            wanted.append(f"good-{len(lines)}")
            lines.append(text(id=wanted[-1]))
            continue
        line, field = broken(rng)
        if framing == "array" and field == "":
            continue  # one element that is no JSON makes the array none
        lines.append(line)
        fields.append(field)
    body = b"\n".join(lines) if framing == "ndjson" else b"[" + b",".join(lines) + b"]"
    items = list(parse_document(body))
    assert [item.id for item in items if isinstance(item, Action)] == wanted
    errors = [item for item in items if isinstance(item, ActionError)]
    assert len(items) == len(lines)
    for error, field in zip(errors, fields, strict=True):
        assert error.field == field if field is not None else error.field.split(".")[0].split("[")[0] in FULL


# -- fuzz -----------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def assert_only_action_errors(body: bytes) -> None:
    for item in parse_document(body):
        assert isinstance(item, Action | ActionError)
    try:
        action = parse_action(body)
    except ActionError:
        return
    assert value_problem(action.agent_id) is None
    assert 0 <= action.ts_s <= 4_102_444_800


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    assert_only_action_errors(body)


@given(st.sampled_from(list(FULL)), JSON)
def test_any_value_in_any_field(field: str, value: Any) -> None:
    assert_only_action_errors(json.dumps({**FULL, field: value}).encode("utf-8", "surrogatepass"))


@given(JSON)
def test_any_decoded_value(value: Any) -> None:
    try:
        action_from_fields(value)
    except ActionError:
        return
    raise AssertionError("nothing without the required fields is an action")


@given(st.data())
def test_any_mutation_of_a_valid_document(data: st.DataObject) -> None:
    document = bytearray(json.dumps(FULL).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(document) - 1))
        if data.draw(st.booleans()):
            document[at] = data.draw(st.integers(0, 255))
        else:
            del document[at : at + data.draw(st.integers(1, 20))]
    assert_only_action_errors(bytes(document))
