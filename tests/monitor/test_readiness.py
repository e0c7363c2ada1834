"""Whether a kill would be enforced, as far as drills have shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from killswitch import PointStatus
from killswitch.drills.drill_record import Drill
from monitor.kill.readiness import drill_fields, newcomers, readiness
from tests.killswitch.test_drill_record import DRILL, bad

POINT = PointStatus("id-1", "billing", "host", 7, "0.1", 5.0, 1.0, live=True, applied_epoch=7, age_s=0.1)
NEW = replace(POINT, id="id-9", name="newcomer")
GOOD: dict[str, Any] = {"now_s": DRILL.at_s + 10, "interval_s": 60.0, "reachable": True, "points": [POINT]}


def test_ready_is_what_a_recent_drill_of_everybody_showed() -> None:
    assert readiness(DRILL, **GOOD) == (True, "")


@pytest.mark.parametrize(
    ("drill", "changed", "why"),
    [
        (DRILL, {"reachable": False}, "does not answer"),
        (DRILL, {"interval_s": 0}, "turned off"),
        (DRILL, {"points": []}, "no enforcement point lives"),
        (DRILL, {"points": [replace(POINT, live=False)]}, "no enforcement point lives"),
        (None, {}, "no drill yet"),
        (replace(DRILL, points=(bad(),)), {}, "did not pass: 1 of 1"),
        (replace(DRILL, points=()), {}, "did not pass: no live enforcement point"),
        (replace(DRILL, durable=False), {}, "on disk"),
        (DRILL, {"now_s": DRILL.at_s + 121}, "was 121 s ago"),
        (DRILL, {"points": [POINT, NEW]}, "not drilled yet: newcomer (host, pid 7)"),
        (DRILL, {"points": [replace(NEW, id=str(n)) for n in range(9)]}, "and 6 more"),
    ],
)
def test_anything_less_is_not_ready_and_says_why(
    drill: Drill | None, changed: dict[str, Any], why: str
) -> None:
    found = readiness(drill, **{**GOOD, **changed})
    assert not found.ready
    assert why in found.why


def test_a_server_that_cannot_say_what_is_on_disk_is_no_hindrance() -> None:
    assert readiness(replace(DRILL, durable=None), **GOOD).ready


def test_newcomers_are_those_that_no_drill_has_seen() -> None:
    assert newcomers(DRILL, [POINT, NEW]) == [NEW]
    assert newcomers(None, [POINT]) == [POINT]


def test_the_status_says_what_the_last_drill_found() -> None:
    assert drill_fields(None) is None
    assert drill_fields(DRILL) == {
        "at": 1e9, "verdict": "passed", "passed": True, "p50_ms": 1.8, "p99_ms": 1.8, "max_ms": 1.8, "points": 1,
        "failing": 0,
    }  # fmt: skip
