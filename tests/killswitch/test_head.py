from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch.errors import BadRecord
from killswitch.trust.head import EMPTY, MAX_HEAD_BYTES, Head, decode_head, digest, encode_head, moved

RECORDS = st.dictionaries(st.binary(min_size=1, max_size=12), st.binary(min_size=1, max_size=40), max_size=6)


@given(RECORDS, st.binary(min_size=1, max_size=12), st.binary(min_size=1, max_size=40))
def test_the_digest_follows_every_change_of_one_record(
    records: dict[bytes, bytes], target: bytes, new: bytes
) -> None:
    before = records.get(target, b"")
    set_digest = moved(digest(records), target, before, new)
    assert set_digest == digest({**records, target: new})
    assert moved(set_digest, target, new, b"") == digest({k: v for k, v in records.items() if k != target})


@given(RECORDS, RECORDS)
def test_different_states_have_different_digests(one: dict[bytes, bytes], other: dict[bytes, bytes]) -> None:
    assert (digest(one) == digest(other)) == (one == other)


def test_a_record_under_a_name_is_not_the_same_text_cut_elsewhere() -> None:
    assert digest({b"ab": b"c"}) != digest({b"a": b"bc"})
    assert digest({}) == EMPTY


@given(
    st.integers(1, 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128),
    st.none() | st.integers(0, 2**2048 - 1), st.floats(0, 1e10),
)  # fmt: skip
def test_a_head_reads_as_it_was_written(epoch: int, change_id: str, state: int | None, at_s: float) -> None:
    head = Head(epoch, change_id, "ab" * 32, state, at_s)
    assert decode_head(encode_head(head)) == head


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps(value).encode()
))  # fmt: skip
def test_any_bytes_are_a_head_or_a_bad_record(data: bytes) -> None:
    with pytest.raises(BadRecord):
        decode_head(data)


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2}, {"v": True}, {"epoch": 0}, {"epoch": True}, {"epoch": 1.0}, {"at_s": -1}, {"at_s": "x"},
        {"change_id": ""}, {"change_id": None}, {"change_sha256": "AB" * 32}, {"change_sha256": "ab"},
        {"change_sha256": 5}, {"state": "00"}, {"state": 5}, {"state": "g" * 512},
    ],
)  # fmt: skip
def test_a_head_that_is_not_ours_is_refused(fields: dict[str, Any]) -> None:
    plain = {"v": 1, "epoch": 1, "change_id": "c", "change_sha256": "", "state": None, "at_s": 1.0}
    decode_head(json.dumps(plain).encode())
    with pytest.raises(BadRecord):
        decode_head(json.dumps(plain | fields).encode())


def test_a_longer_head_than_any_is_not_even_looked_at() -> None:
    with pytest.raises(BadRecord, match="more than"):
        decode_head(b" " * (MAX_HEAD_BYTES + 1))
