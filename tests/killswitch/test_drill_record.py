from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch.drills.drill_record import (
    CONTEXT,
    Drill,
    PointResult,
    decode,
    encode,
    evidence,
    read_evidence,
)
from killswitch.errors import BadRecord
from killswitch.trust.keyring import Keyring, PublicKey
from killswitch.trust.signing import Signer, seal

GOOD = PointResult(
    "id-1", "billing", "host", 7, ("agent:billing-bot",), 5.0, True, True, 0.9, 1.8, 1.1, 2.1, problem=""
)
DRILL = Drill("d1", "session:killcord-canary/d1", "alice", 1e9, 1000.0, "", 7, 1.2, True, (GOOD,))
SIGNER = Signer("daemon", b"\x01" * 32)
KEYRING = Keyring.founding(PublicKey("daemon", "daemon", SIGNER.public))


def bad(problem: str = "still allows it", **changes: Any) -> PointResult:
    return replace(GOOD, id="id-2", name="bad", problem=problem, **changes)


@pytest.mark.parametrize(
    ("drill", "verdict", "words"),
    [
        (DRILL, "passed", "all 1 enforcement points refused within 1.8 ms and allowed again"),
        (replace(DRILL, points=()), "no_points", "no live enforcement point: a kill now would stop nobody"),
        (replace(DRILL, points=(GOOD, bad())), "failed", "1 of 2 enforcement points failed the drill"),
        (replace(DRILL, problem="no store", points=()), "failed", "the drill failed: no store"),
        (replace(DRILL, inconclusive="the fleet is stopped"), "inconclusive", "the fleet is stopped"),
    ],
)
def test_the_verdict_follows_from_what_was_found(drill: Drill, verdict: str, words: str) -> None:
    assert drill.verdict == verdict
    assert str(drill).startswith(words)
    assert decode(encode(drill)) == drill


def test_latencies_are_the_writers_and_the_longest_lease_is_stated() -> None:
    points = tuple(replace(GOOD, id=str(ms), refused_writer_ms=float(ms)) for ms in range(1, 101))
    drill = replace(DRILL, points=(*points, bad(refused_writer_ms=None, lease_s=30.0)))
    assert (drill.latency_ms(0.5), drill.latency_ms(0.99), drill.latency_ms(1)) == (50.0, 99.0, 100.0)
    assert drill.lease_s == 30.0
    assert replace(DRILL, points=()).latency_ms(0.5) is None


def test_evidence_is_verified_without_anything_but_the_keyring() -> None:
    assert read_evidence(evidence(DRILL, SIGNER) + b"\n", KEYRING) == (DRILL, KEYRING.keys[0])


@pytest.mark.parametrize(
    ("old", "new"), [(b"alice", b"mallo"), (b'"epoch":7', b'"epoch":8'), (b"1.8", b"0.8")]
)
def test_a_changed_word_is_signed_by_nobody(old: bytes, new: bytes) -> None:
    data = evidence(DRILL, SIGNER)
    assert old in data
    assert read_evidence(data.replace(old, new), KEYRING)[1] is None


def test_a_signature_for_another_purpose_is_none() -> None:
    assert read_evidence(seal(SIGNER, b"killcord head v1", encode(DRILL)), KEYRING)[1] is None
    assert read_evidence(seal(SIGNER, CONTEXT, encode(DRILL)), KEYRING)[1] is not None
    assert read_evidence(seal(Signer("x", b"\x02" * 32), CONTEXT, encode(DRILL)), KEYRING)[1] is None
    assert read_evidence(encode(DRILL), KEYRING)[1] is None
    assert read_evidence(evidence(DRILL, SIGNER), None)[1] is None


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2}, {"statement": "else"}, {"verdict": "failed"}, {"points": {}}, {"points": [7]}, {"epoch": True},
        {"at_s": float("nan")}, {"by": None}, {"durable": 1}, {"points": [{"serves": "agent:x"}]},
        {"points": [{"serves": [7]}]}, {"promise_ms": "1"},
    ],
)  # fmt: skip
def test_what_is_no_drill_is_refused(fields: dict[str, Any]) -> None:
    plain = {**json.loads(encode(DRILL)), **fields}
    with pytest.raises(BadRecord):
        decode(json.dumps(plain).encode())


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_any_bytes_are_a_drill_or_a_bad_record(data: bytes) -> None:
    with pytest.raises(BadRecord):
        read_evidence(data, KEYRING)


def test_more_than_a_fleet_could_say_is_not_read() -> None:
    with pytest.raises(BadRecord, match="more than"):
        read_evidence(b"x" * (16 * 1024 * 1024 + 1), None)


def test_a_point_is_named_so_that_it_can_be_found() -> None:
    assert str(GOOD) == "billing (host, pid 7)"
