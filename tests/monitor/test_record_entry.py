"""What every entry of the record has: its times, its limits, its links, its versions."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.core.alerts import rfc3339
from monitor.errors import LogError
from monitor.record.cutting import fitted
from monitor.record.entry import MAX_LEAF_BYTES, decode_content, decode_leaf, entry_of, is_content_of, stamp
from monitor.record.links import links_of

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(-1e300, 1e300)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.integers(0, 4_102_444_800_000))
def test_a_time_is_told_to_the_millisecond(ms: int) -> None:
    assert stamp(ms / 1000) == rfc3339(ms / 1000)


@given(st.floats())
@example(-0.5)
@example(253_402_300_799.5)
@example(math.nan)
@example(1795000000.9999998)
def test_whatever_a_clock_says_is_told_as_a_time(ts_s: float) -> None:
    said = datetime.fromisoformat(stamp(ts_s))
    assert said.tzinfo is UTC
    if 0 <= ts_s < 253_402_300_799:
        assert abs(said.timestamp() - ts_s) <= 0.001


def test_a_time_before_1970_does_not_change_what_is_told_later() -> None:
    assert stamp(-0.5) == stamp(0.0) == "1970-01-01T00:00:00.000Z"
    assert stamp(0.25) == "1970-01-01T00:00:00.250Z"


def test_what_is_not_known_is_left_out() -> None:
    entry = entry_of({"event_id": "record-1", "type": "record", "agent": None, "target": "fleet"}, 1.5)
    assert entry.leaf == b'{"v":1,"event_id":"record-1","type":"record","target":"fleet"}'
    assert entry.ts_s == 1.5
    assert entry.content == b""


@given(st.dictionaries(st.text(max_size=40), JSON, max_size=60), st.integers(0, 200_000))
def test_what_is_too_long_is_cut_to_fit_and_keeps_its_names(detail: dict[str, Any], more: int) -> None:
    fields = {"event_id": "act-1", "type": "operator_act", "detail": {**detail, "body": "\x01" * more}}
    entry = entry_of({**fields, "actor": {"type": "user", "id": "alice"}}, 0.0)
    found = decode_leaf(entry.leaf)
    assert len(entry.leaf) <= MAX_LEAF_BYTES
    assert entry.links == ("type:operator_act", "event:act-1", "by:alice")
    assert found.get("cut", False) == (
        found["detail"] != msgspec.to_builtins({**detail, "body": "\x01" * more})
    )


@given(JSON, st.lists(st.text(max_size=600), max_size=300))
def test_cutting_always_fits(value: Any, texts: list[str]) -> None:
    fields = {"v": 1, "event_id": "x-1", "type": "x", "args": texts, "target": "y" * 5000, "detail": value}
    data = fitted({**fields, "evidence": {"action_ids": texts, "alert_ids": texts}}, 2048)
    assert len(data) <= 2048
    assert decode_leaf(data)["cut"] is True


def test_what_nothing_is_looked_up_by_is_cut_first() -> None:
    chain = [f"{number}" * 200 for number in range(31)]
    fields = {"event_id": "x-1", "type": "x", "delegations": chain, "detail": {"all": ["x" * 200] * 500}}
    found = decode_leaf(entry_of(fields, 0.0).leaf)
    assert found["delegations"] == chain
    assert len(found["detail"]["all"]) < 500


@pytest.mark.parametrize(
    ("target", "link"),
    [
        ("agent:billing-bot", "agent:billing-bot"),
        ("agent_version:mail@bot@2", "agent:mail@bot"),
        ("delegation:planner", "delegate:planner"),
        ("session:run:1", "session:run:1"),
        ("human:alice@example.com", "human:alice@example.com"),
        ("tenant:acme", "tenant:acme"),
    ],
)
def test_a_target_is_found_by_itself_and_by_what_it_names(target: str, link: str) -> None:
    entry = entry_of({"event_id": "transition-1", "type": "authorization_transition", "target": target}, 0.0)
    assert entry.links[2:] == (f"target:{target}", link)


def test_the_whole_fleet_is_found_as_a_target() -> None:
    entry = entry_of({"event_id": "transition-1", "type": "authorization_transition", "target": "fleet"}, 0.0)
    assert entry.links[2:] == ("target:fleet",)


@given(st.binary(max_size=60) | JSON.map(msgspec.json.encode) | st.just(b"[" * 5000))
@example(b'{"v":2,"event_id":"x","type":"y"}')
@example(b'{"v":true,"event_id":"x","type":"y"}')
@example(b'{"v":1,"event_id":"x","type":"y","agent":7}')
def test_what_is_no_entry_raises_one_error(data: bytes) -> None:
    for read in (decode_leaf, links_of):
        try:
            read(data)
        except LogError:
            continue
        assert isinstance(msgspec.json.decode(data), dict)


def test_another_version_is_not_guessed_at() -> None:
    for version in (b"2", b"true", b"null", b'"1"'):
        with pytest.raises(LogError, match="version"):
            decode_leaf(b'{"v":%b}' % version)


def test_a_content_belongs_to_the_leaf_that_has_its_digest() -> None:
    told = {"content": {"sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}}
    assert is_content_of(told, b"hello")
    assert not is_content_of(told, b"hallo")
    assert not is_content_of(told, b"")
    assert is_content_of({}, b"")
    assert not is_content_of({}, b"hello")
    assert decode_content(b"") == {}
    with pytest.raises(LogError):
        decode_content(b"{")
