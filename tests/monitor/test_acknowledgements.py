"""How quickly each point confirmed each change."""

from __future__ import annotations

import pytest

from killswitch import Ack, Change, Target
from monitor.live import acknowledgements as module
from monitor.live.acknowledgements import MAX_CHANGES, Acknowledgements


class Clock:
    """Time is what the test says."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def change(epoch: int, target: Target = Target("agent", "a")) -> Change:  # noqa: B008 - frozen
    return Change(epoch, f"c-{epoch}", "restore", target, None, None, "because", "alice", 0.0)


def ack(epoch: int, point: str = "p1") -> Ack:
    return Ack(point, f"name of {point}", epoch, 0.0, 1.0, "push", latency_ms=1.5, refuses=False)


def test_latency_runs_from_the_push_and_points_are_counted_once(clock: Clock) -> None:
    known = Acknowledgements()
    known.note_change(change(7))
    found = []
    for point in ("p1", "p2", "p1"):
        clock.now_s += 0.0025
        found.append(known.message(ack(7, point), live=3)["acknowledgement"])
    assert [one["latency_ms"] for one in found] == [2.5, 5.0, 7.5]
    assert [one["confirmed"] for one in found] == [1, 2, 2]
    assert found[0] | {"latency_ms": 0} == {
        "point_id": "p1",
        "epoch": 7,
        "point": "name of p1",
        "latency_ms": 0,
        "confirmed": 1,
        "live": 3,
        "own_ms": 1.5,
        "refuses": False,
        "drill": False,
    }


def test_a_change_that_was_not_seen_pushed_has_no_latency() -> None:
    message = Acknowledgements().message(ack(3), live=1)
    assert message["type"] == "acknowledgement"
    assert message["acknowledgement"]["latency_ms"] is None
    assert message["acknowledgement"]["confirmed"] == 1


def test_only_the_newest_changes_are_remembered(clock: Clock) -> None:
    known = Acknowledgements()
    for epoch in range(MAX_CHANGES + 1):
        known.note_change(change(epoch))
    assert known.message(ack(0), live=1)["acknowledgement"]["latency_ms"] is None
    assert known.message(ack(1), live=1)["acknowledgement"]["latency_ms"] == 0.0


def test_no_more_points_confirm_than_are_said_to_be_live() -> None:
    assert Acknowledgements().message(ack(3), live=0)["acknowledgement"]["live"] == 1


def test_a_drills_change_is_marked_so() -> None:
    known = Acknowledgements()
    known.note_change(change(7, Target("session", "killcord-canary/1")))
    assert known.message(ack(7), live=1)["acknowledgement"]["drill"] is True


def test_each_points_latency_is_observed_once_for_each_change(clock: Clock) -> None:
    observed: list[float] = []
    known = Acknowledgements(observed.append)
    for epoch in (7, 8):
        known.note_change(change(epoch))
        for point in ("p1", "p2", "p1"):
            clock.now_s += 0.5
            known.message(ack(epoch, point), live=2)
    known.message(ack(3), live=2)
    assert observed == [0.5, 1.0, 0.5, 1.0]
