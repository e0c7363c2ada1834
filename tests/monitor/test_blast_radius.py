"""Who would be stopped: every kind of target, by what enforcement points are told of an action."""

from __future__ import annotations

from typing import Any

import pytest

from killswitch import Target
from killswitch.targets import KINDS
from monitor.core.activity import Activity
from monitor.core.blast_radius import MAX_NAMED, UNKNOWN_TENANT, WINDOW_S, BlastRadius
from monitor.core.inventory import Inventory
from tests.monitor.test_activity import seen

NOW_S = 100_000.0


class Fleet:
    def __init__(self) -> None:
        self.activity, self.inventory = Activity(), Inventory(10_000)

    def act(self, agent: str, *, ago_s: float = 10.0, **fields: Any) -> Fleet:
        action = seen(agent, 5.0, **fields)
        self.activity.note(action, 1, 0.5, 0.1, NOW_S - ago_s)
        self.inventory.note(action, 0.5, NOW_S - ago_s)
        return self

    def radius(self, target: str) -> dict[str, Any]:
        found = BlastRadius(Target.parse(target), self.activity, self.inventory, NOW_S)
        for agent in self.activity.agents():
            found.add(agent)
        return found.fields()


@pytest.fixture
def fleet() -> Fleet:
    return (
        Fleet()
        .act(
            "billing",
            session_id="run-1",
            tool="pay",
            credential="kid-7",
            agent_version="2",
            on_behalf_of=("alice",),
        )
        .act("coder", session_id="run-2", tool="edit", on_behalf_of=("alice", "billing"), agent_version="1")
        .act("tester", session_id="run-3", tool="edit", on_behalf_of=("bob",), credential="kid-7")
        .act("loner", tool="read")
    )


@pytest.mark.parametrize(
    ("target", "agents", "sessions", "delegates", "humans"),
    [
        ("agent:billing", ["billing"], ["run-1"], ["coder"], ["alice"]),
        ("agent:nobody", [], [], [], []),
        ("agent_version:billing@2", ["billing"], ["run-1"], [], ["alice"]),
        ("agent_version:billing@1", [], [], [], []),
        ("session:run-3", ["tester"], ["run-3"], [], ["bob"]),
        ("human:alice", ["billing", "coder"], ["run-1", "run-2"], ["coder"], ["alice"]),
        ("human:billing", [], [], [], []),
        ("delegation:billing", ["coder"], ["run-2"], ["coder"], ["alice"]),
        ("credential:kid-7", ["billing", "tester"], ["run-1", "run-3"], [], ["alice", "bob"]),
        ("tool:edit", ["coder", "tester"], ["run-2", "run-3"], [], ["alice", "bob"]),
        ("tool:read", ["loner"], [], [], []),
        ("tenant:acme", [], [], [], []),
        ("fleet", ["billing", "coder", "loner", "tester"], ["run-1", "run-2", "run-3"], [], ["alice", "bob"]),
    ],
)
def test_each_kind_of_target_stops_what_its_points_would_refuse(
    fleet: Fleet, target: str, agents: list[str], sessions: list[str], delegates: list[str], humans: list[str]
) -> None:
    found = fleet.radius(target)
    assert (found["target"], found["agents"], found["delegates"]) == (target, agents, delegates)
    assert ([one["session_id"] for one in found["sessions"]], found["humans"]) == (sessions, humans)
    assert found["counts"] == {
        "agents": len(agents),
        "sessions": len(sessions),
        "delegates": len(delegates),
        "humans": len(humans),
    }


def test_no_kind_of_target_is_forgotten(fleet: Fleet) -> None:
    for kind in KINDS:
        assert fleet.radius("fleet" if kind == "fleet" else f"{kind}:a@b")["target"]


def test_what_happened_before_the_last_hour_does_not_count() -> None:
    fleet = (
        Fleet().act("a", ago_s=WINDOW_S + 1, session_id="old").act("a", ago_s=WINDOW_S - 1, session_id="new")
    )
    assert [one["session_id"] for one in fleet.radius("agent:a")["sessions"]] == ["new"]
    assert Fleet().act("b", ago_s=WINDOW_S + 1).radius("fleet")["agents"] == []


def test_it_says_what_a_kill_would_not_reach_or_cannot_know(fleet: Fleet) -> None:
    assert "delegation:billing" in fleet.radius("agent:billing")["note"]
    assert fleet.radius("agent:loner")["note"] is None
    assert fleet.radius("tenant:acme")["note"] == UNKNOWN_TENANT


def test_of_a_large_fleet_the_latest_are_named_and_all_are_counted() -> None:
    fleet = Fleet()
    for number in range(MAX_NAMED + 5):
        fleet.act(f"agent-{number:05}")
    found = fleet.radius("fleet")
    assert (len(found["agents"]), found["counts"]["agents"]) == (MAX_NAMED, MAX_NAMED + 5)
