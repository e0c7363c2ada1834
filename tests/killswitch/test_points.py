from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from killswitch.errors import BadRecord, InvalidRequest
from killswitch.registry.points import (
    MAX_POINT_BYTES,
    Ack,
    Containment,
    PointRecord,
    PointStatus,
    decode_ack,
    decode_point,
    encode,
)

POINT = PointRecord("id", "name", "host", 7, "0.1", 5.0, 100.0)
ACK = Ack("id", "name", 7, 100.0, 31.5, "push")


def status(name: str) -> PointStatus:
    return PointStatus(name, name, "host", 7, "0.1", 5.0, 100.0, live=True, applied_epoch=0, age_s=0.1)


def test_what_a_point_serves_and_says_reads_back() -> None:
    point = replace(POINT, serves=("agent:billing-bot", "tenant:größe"))
    ack = replace(ACK, latency_ms=1.25, refuses=False)
    assert (decode_point(encode(point)), decode_ack(encode(ack))) == (point, ack)


def test_what_older_versions_wrote_is_read() -> None:
    point = {"v": 1, "id": "i", "name": "n", "host": "h", "pid": 7, "version": "0.1", "lease_s": 5.0}
    found = decode_point(json.dumps({**point, "connected_at_s": 1.0}).encode())
    assert found.serves == ()
    ack = {"v": 1, "point": "i", "name": "n", "epoch": 7, "at_s": 1.0, "apply_us": 1.0, "how": "push"}
    told = decode_ack(json.dumps(ack).encode())
    assert (told.latency_ms, told.refuses) == (None, None)


@pytest.mark.parametrize("serves", [["agent:x"] * 17, ["x" * 129], [""], ["a\nb"], [7], "agent:x", {}])
def test_a_list_of_the_served_that_is_none_is_refused(serves: Any) -> None:
    with pytest.raises(InvalidRequest, match="serves: "):
        replace(POINT, serves=tuple(serves) if isinstance(serves, list) else serves)
    with pytest.raises(BadRecord, match="serves: "):
        decode_point(encode(POINT).replace(b'"serves":[]', b'"serves":' + json.dumps(serves).encode()))


@pytest.mark.parametrize("name", ["latency_ms", "refuses", "apply_us"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", [1], {}])
def test_an_acknowledgement_says_numbers_and_claims(name: str, value: Any) -> None:
    plain = {**json.loads(encode(ACK)), name: value}
    with pytest.raises(BadRecord, match=name):
        decode_ack(json.dumps(plain).encode())


def test_the_longest_names_in_any_script_fit() -> None:
    name = "\U00020000" * 256
    point = replace(POINT, name=name, host=name, serves=("\U00020000" * 128,) * 16)
    assert decode_point(encode(point)) == point
    with pytest.raises(BadRecord, match="more than"):
        decode_point(b" " * (MAX_POINT_BYTES + 1))


def test_a_host_name_that_is_no_text_is_refused_as_one() -> None:
    with pytest.raises(BadRecord, match="host"):
        decode_point(encode(replace(POINT, host="h\udc80")))


def test_containment_says_who_does_not_enforce() -> None:
    good, deaf, broken = status("good"), status("deaf"), status("broken")
    whole = Containment(7, (good,), (), 3.14)
    assert (whole.contained, str(whole)) == (True, "enforced 1/1 in 3.1 ms")
    partial = Containment(7, (good,), (deaf,), 3.14, contrary=(broken,))
    assert (partial.contained, partial.total) == (False, 3)
    assert str(partial) == (
        "enforced 1/3 in 3.1 ms; missing: deaf (host, pid 7); heard it but checks otherwise: broken (host, pid 7)"
    )


def test_containment_without_points_promises_nothing() -> None:
    nobody = Containment(7, (), (), 3.14)
    assert str(nobody) == "no live enforcement point: nobody is known to enforce this"
    assert not Containment(7, (), (), 3.14, problem="the store is gone").contained
