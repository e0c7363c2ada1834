from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch import BadRecord, Change, Petition, Revocation, Target, approve
from killswitch.registry.points import Ack, PointRecord, decode_ack, decode_point, encode
from killswitch.revocations import MAX_BY_CHARS, MAX_EVIDENCE, MAX_ID_CHARS, MAX_REASON_CHARS
from killswitch.storage.codec import (
    MAX_APPROVALS,
    MAX_NOTICE_BYTES,
    decode_change,
    decode_notice,
    decode_revocation,
    encode_change,
    encode_notice,
    encode_revocation,
)
from tests.killswitch.keys import PEOPLE
from tests.killswitch.records import changes, revocations

READERS = [decode_change, decode_revocation, decode_notice, decode_ack, decode_point]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(revocations())
def test_a_revocation_reads_back_as_it_was_written(record: Revocation) -> None:
    assert decode_revocation(encode_revocation(record)) == record


@given(changes())
def test_a_change_reads_back_as_it_was_written(change: Change) -> None:
    assert decode_change(encode_change(change)) == change


@given(revocations())
def test_a_notice_says_what_the_record_will_but_the_evidence(record: Revocation) -> None:
    assert decode_notice(encode_notice(record)) == replace(record, evidence=())


@given(revocations(), st.data())
def test_a_notice_with_any_line_replaced_is_read_or_refused(record: Revocation, data: st.DataObject) -> None:
    lines = encode_notice(record).decode().split("\n")
    values = st.text(max_size=9) | st.floats().map(str) | st.integers().map(str) | st.just("suspend")
    lines[data.draw(st.integers(0, len(lines) - 1))] = data.draw(values)
    with suppress(BadRecord):
        decode_notice("\n".join(lines).encode(errors="replace"))


def test_line_breaks_in_a_notice_confuse_nobody() -> None:
    record = Revocation(Target("agent", "bot"), "revoke", "one\ntwo", "Ann\nB", 1.0, None, "id\n7", 3)
    assert decode_notice(encode_notice(record)) == replace(record, by="Ann B", change_id="id 7")


def test_the_longest_record_there_is_fits_into_a_notice() -> None:
    wide = "\U0001f5a4"
    record = Revocation(
        Target("agent", wide * 512),
        "suspend",
        wide * 2_000,
        wide * 256,
        1e9,
        2e9,
        wide * 128,
        1 << 62,
        (),
        True,
    )
    assert decode_notice(encode_notice(record)) == record


@pytest.mark.parametrize("widest", ["\x01", "\U0001f5a4"], ids=["escaped", "four bytes"])
def test_the_longest_changes_there_are_can_be_read(widest: str) -> None:
    texts = (widest * MAX_REASON_CHARS, widest * MAX_BY_CHARS)
    name, target = widest * MAX_ID_CHARS, Target("agent", "\U0001f5a4" * 512)
    record = Revocation(target, "suspend", *texts, 1e9, 2e9, name, 1 << 62, (name,) * MAX_EVIDENCE, True)
    asked = Petition(name, target, name, *texts, 1e9 + 60, 1e9)
    votes = (approve(asked, PEOPLE[0], 1e9),) * MAX_APPROVALS
    for change in (
        Change(1 << 62, name, "suspend", target, record, record, *texts, 1e9),
        Change(1 << 62, name, "restore", target, record, None, *texts, 1e9, votes),
    ):
        assert decode_change(encode_change(change)) == change


def test_a_longer_notice_than_any_is_not_even_looked_at() -> None:
    with pytest.raises(BadRecord, match="more than"):
        decode_notice(b"x" * (MAX_NOTICE_BYTES + 1))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_bad_record(data: bytes) -> None:
    for read in READERS:
        with pytest.raises(BadRecord):
            read(data)


@given(changes(), st.data())
def test_a_change_with_any_field_replaced_is_read_or_refused(change: Change, data: st.DataObject) -> None:
    plain = json.loads(encode_change(change))
    holder = data.draw(st.sampled_from([plain, plain["new"] or plain]))
    holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(json_values)
    with suppress(BadRecord):
        decode_change(json.dumps(plain).encode())


@given(revocations(), st.data())
def test_a_record_with_any_field_replaced_is_read_or_refused(record: Revocation, data: st.DataObject) -> None:
    plain = json.loads(encode_revocation(record))
    falsy = st.sampled_from(
        [None, 0, 0.0, False, "", [], {}]
    )  # what a careless check for "nothing" lets through
    plain[data.draw(st.sampled_from(sorted(plain)))] = data.draw(json_values | falsy)
    with suppress(BadRecord):
        decode_revocation(json.dumps(plain).encode())


@given(changes(), st.data())
def test_a_change_cut_or_flipped_anywhere_is_read_or_refused(change: Change, data: st.DataObject) -> None:
    raw = bytearray(encode_change(change))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BadRecord):
        decode_change(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"v":1,' + b'"a":{' * 50_000,
        b'{"v":1,"epoch":' + b"9" * 10_000 + b"}",
        b'{"v":NaN}',
        b"\xff\xfe",
        b"",
        b"null",
        b"{}",
        b'{"v":true}',
        b" " * 600_000,
    ],
    ids=[
        "deep list",
        "deep object",
        "huge number",
        "nan",
        "no utf-8",
        "empty",
        "null",
        "no version",
        "true",
        "long",
    ],
)
def test_hostile_json_is_refused(data: bytes) -> None:
    for read in READERS:
        with pytest.raises(BadRecord):
            read(data)


def plain(**fields: Any) -> dict[str, Any]:
    return {
        "v": 1, "target": "agent:x", "level": "revoke", "reason": "r", "by": "b", "at_s": 1.0,
        "expires_at_s": None, "change_id": "c", "epoch": 1, "evidence": [], **fields,
    }  # fmt: skip


def test_unknown_fields_are_ignored() -> None:
    assert decode_revocation(json.dumps(plain(signature="later")).encode()).target.value == "x"


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2}, {"v": "1"}, {"level": "pause"}, {"target": "robot:x"}, {"target": 5}, {"epoch": 0}, {"epoch": -1},
        {"epoch": True}, {"epoch": 1.5}, {"epoch": 1 << 63}, {"at_s": "now"}, {"at_s": -1}, {"at_s": True},
        {"at_s": 10**400}, {"evidence": "abc"}, {"evidence": [1]}, {"evidence": None}, {"evidence": 0},
        {"evidence": False}, {"evidence": {}}, {"held_after": True}, {"held_after": None}, {"reason": ""}, {"by": None},
        {"change_id": 3}, {"expires_at_s": 5}, {"level": "suspend"},
    ],
)  # fmt: skip
def test_a_record_that_is_not_ours_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRecord):
        decode_revocation(json.dumps(plain(**fields)).encode())


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "restore", "new": plain(epoch=5)},
        {"kind": "revoke", "new": None},
        {"kind": "revoke", "new": plain(epoch=4)},
        {"kind": "revoke", "new": plain(epoch=5, target="agent:y")},
        {"kind": "obliterate", "new": plain(epoch=5)},
        {"kind": "restore", "new": None, "approvals": "mine"},
        {"kind": "restore", "new": None, "approvals": [{}] * 17},
    ],
)
def test_a_change_that_says_two_things_is_refused(fields: dict[str, Any]) -> None:
    change = {**plain(epoch=5, previous=None), **fields}
    with pytest.raises(BadRecord):
        decode_change(json.dumps(change).encode())


def test_points_and_acknowledgements_read_back() -> None:
    point = PointRecord("id", "name", "host", 7, "0.1", 5.0, 100.0)
    ack = Ack("id", "name", 7, 100.0, 31.5, "push")
    assert (decode_point(encode(point)), decode_ack(encode(ack))) == (point, ack)


@pytest.mark.parametrize(
    "fields", [{"name": "a\nb"}, {"epoch": "7"}, {"at_s": 10**400}, {"v": 2}, {"how": None}]
)
def test_an_acknowledgement_that_is_not_ours_is_refused(fields: dict[str, Any]) -> None:
    good = {"v": 1, "point": "i", "name": "n", "epoch": 7, "at_s": 1.0, "apply_us": 1.0, "how": "push"}
    with pytest.raises(BadRecord):
        decode_ack(json.dumps({**good, **fields}).encode())
