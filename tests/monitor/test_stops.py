"""Who is stopped in a history under another policy, and what the pipeline hears of it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from killswitch import Change, Target
from killswitch.revocations import Request, apply
from monitor.core.alerts import change_id
from monitor.core.findings import Finding
from monitor.core.pipeline import Pipeline, RevocationRequest
from monitor.core.stops import Stops

NOW_S = 1_795_000_000.0
SUSPENDED_S = 600.0


class Heard:
    """A pipeline that only listens: which agents it was told are stopped, freed, held or not killed after all."""

    def __init__(self) -> None:
        self.changes: list[str] = []

    def transition(self, change: Change) -> None:
        self.changes.append("freed" if change.new is None else change.new.level)

    def withdraw(self, change_id: str, target: str, at_s: float) -> None:
        self.changes.append(f"withdrawn {change_id} {target} {at_s:.0f}")


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def stops(heard: Heard) -> Stops:
    return Stops(cast("Pipeline", heard))


def finding() -> Finding:
    return Finding(
        agent_id="bot",
        ts="",
        session_id=None,
        tool="t",
        sentence="s",
        p=0.1,
        outcome="suspend",
        why="w",
        alert_id="al-1",
        action_id="a-1",
    )


def wish(level: Any = "suspend", target: str = "agent:bot") -> RevocationRequest:
    ends_s = NOW_S + SUSPENDED_S if level == "suspend" else None
    return RevocationRequest(change_id("al-1"), target, level, "strange", NOW_S, ends_s, ("al-1", "a-1"))


def change(*kinds: Any, ids: str = "by-hand", agent: str = "bot") -> Change:
    """The last of several changes in a row, by people unless the id says otherwise."""
    record, made = None, None
    for epoch, kind in enumerate(kinds, 1):
        ends_s = NOW_S + 60 if kind == "suspend" else None
        now_s = NOW_S + 3600 if kind == "expire" else NOW_S
        request = Request(kind, Target("agent", agent), "why", "alice", f"{ids}-{epoch}", ends_s)
        made = apply(record, request, epoch=epoch, now_s=now_s)
        assert made is not None
        record = made.new
    assert made is not None
    return made


def test_a_kill_stops_its_agent_until_it_ends(stops: Stops, heard: Heard) -> None:
    found = finding()
    assert stops.kill(wish(), found)
    assert "bot" in stops
    assert stops.prevents("bot") is found
    stops.expire(NOW_S + SUSPENDED_S - 1)
    assert "bot" in stops
    stops.expire(NOW_S + SUSPENDED_S)
    assert "bot" not in stops
    assert stops.prevents("bot") is None
    assert heard.changes == ["suspend", "freed"]


def test_a_revocation_does_not_end_by_itself(stops: Stops, heard: Heard) -> None:
    stops.kill(wish("revoke"), finding())
    stops.expire(NOW_S + 1e9)
    assert "bot" in stops
    stops.take(change("revoke", "restore"))
    assert "bot" not in stops
    assert heard.changes == ["revoke", "freed"]


def test_a_hold_stops_nobody_and_is_heard_of(stops: Stops, heard: Heard) -> None:
    assert stops.kill(wish("step_up"), finding())
    assert "bot" not in stops
    assert heard.changes == ["step_up"]


@pytest.mark.parametrize("target", ["agent:bot\x00", "agent:", "robot:bot"])
def test_what_is_no_request_stops_nobody_and_is_withdrawn(stops: Stops, heard: Heard, target: str) -> None:
    assert not stops.kill(wish(target=target), finding())
    assert heard.changes == [f"withdrawn auto-al-1 {target} {NOW_S:.0f}"]


def test_people_stop_and_free_an_agent(stops: Stops, heard: Heard) -> None:
    stops.take(change("suspend"))
    assert "bot" in stops
    assert stops.prevents("bot") is None, "no policy did that"
    stops.take(change("suspend", "expire"))
    assert "bot" not in stops
    stops.take(change("revoke"))
    stops.take(change("revoke", "restore"))
    assert "bot" not in stops
    assert heard.changes == ["suspend", "freed", "revoke", "freed"]


def test_the_longer_of_two_stops_counts(stops: Stops, heard: Heard) -> None:
    stops.kill(wish(), finding())
    stops.take(change("suspend"))
    assert stops.prevents("bot") is None, "people would have stopped it anyway"
    stops.take(change("suspend", "expire"))
    assert "bot" in stops
    assert heard.changes == ["suspend", "suspend"], "nobody freed it"
    stops.take(change("revoke"))
    stops.expire(NOW_S + SUSPENDED_S)
    assert "bot" in stops
    assert heard.changes == ["suspend", "suspend", "revoke"]


@pytest.mark.parametrize("kinds", [("suspend",), ("revoke",), ("step_up",), ("suspend", "expire")])
def test_what_a_policy_of_then_did_is_passed_over(stops: Stops, heard: Heard, kinds: tuple[str, ...]) -> None:
    stops.take(change(*kinds, ids=change_id("al-then")))
    stops.kill(wish("revoke"), finding())
    stops.take(change(*kinds, ids=change_id("al-then")))
    assert "bot" in stops
    assert heard.changes == ["revoke"]


def test_the_end_of_a_kill_of_then_is_passed_over_whoever_noted_it(stops: Stops, heard: Heard) -> None:
    ended = change("suspend", "expire")  # its own id is nobody's: only a stop by hand that we know of can end
    stops.take(ended)
    assert heard.changes == []


def test_a_hold_by_people_is_heard_of_unless_the_agent_is_stopped(stops: Stops, heard: Heard) -> None:
    stops.take(change("step_up"))
    assert heard.changes == ["step_up"]
    stops.kill(wish(), finding())
    stops.take(change("step_up"))
    assert heard.changes == ["step_up", "suspend"]
    assert "bot" in stops


def test_a_hold_after_a_suspension_of_then_does_not_stop(stops: Stops, heard: Heard) -> None:
    stops.take(change("suspend", "step_up"))
    assert "bot" not in stops
    assert heard.changes == []


def test_what_is_no_agent_changes_nothing(stops: Stops, heard: Heard) -> None:
    tool = apply(None, Request("revoke", Target("tool", "bot"), "why", "al", "x"), epoch=1, now_s=NOW_S)
    assert tool is not None
    stops.take(tool)
    assert "bot" not in stops
    assert heard.changes == []
