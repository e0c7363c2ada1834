from __future__ import annotations

import enum
import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from killswitch import (
    Guard,
    InvalidRequest,
    InvalidTarget,
    NotReady,
    Revoked,
    SentinelRefused,
    StepUpRequired,
    StoreUnreachable,
    Switch,
    Target,
    UncheckableAction,
)
from tests.killswitch.conftest import refuses, until

WHY = {"reason": "test", "by": "tester"}
Connect = Callable[..., Guard]


def kill(switch: Switch, guard: Guard, target: str, **options: Any) -> None:
    """Revoke and wait until this guard has it."""
    outcome = switch.revoke(Target.parse(target), **WHY, **options)
    until(lambda: guard.status().epoch >= outcome.epoch)


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("agent:a", {"agent": "a"}),
        ("session:s", {"agent": "a", "session": "s"}),
        ("tool:t", {"agent": "a", "tool": "t"}),
        ("credential:k", {"agent": "a", "credential": "k"}),
        ("tenant:acme", {"agent": "a", "tenant": "acme"}),
        ("human:alice", {"agent": "a", "human": "alice"}),
        ("human:alice", {"agent": "a", "human": ("bob", "alice")}),
        ("delegation:d2", {"agent": "a", "delegation": ["d1", "d2", "d3"]}),
        ("delegation:d", {"agent": "a", "delegation": "d"}),
        ("agent_version:a@2", {"agent": "a", "agent_version": "2"}),
        ("agent_version:a@2", {"agent": "a", "agent_version": "a@2"}),
        ("agent_version:a@2", {"agent_version": "a@2"}),
        ("fleet", {"agent": "anybody"}),
    ],
)
def test_whatever_is_revoked_refuses_an_action_that_touches_it(
    switch: Switch, guard: Guard, target: str, names: dict[str, Any]
) -> None:
    guard.check(**names)
    kill(switch, guard, target)
    with pytest.raises(Revoked) as caught:
        guard.check(**names)
    assert str(caught.value.target) == target
    switch.restore(Target.parse(target), **WHY)
    until(lambda: not refuses(guard, **names))


def test_a_revocation_touches_nobody_else(switch: Switch, guard: Guard) -> None:
    for target in ("agent:a", "session:a", "agent_version:a@1", "human:a", "delegation:a", "tenant:a"):
        kill(switch, guard, target)
    guard.check(agent="b", session="b", agent_version="2", human=["b"], delegation="b", tool="a", tenant="b")


def test_the_refusal_says_what_who_and_why(switch: Switch, guard: Guard) -> None:
    switch.revoke(Target("agent", "a"), reason="exfiltrates", by="alice", evidence=("action-7",))
    until(lambda: refuses(guard, agent="a"))
    with pytest.raises(Revoked, match="agent:a is revoked by alice: exfiltrates") as caught:
        guard.check(agent="a")
    assert caught.value.revocation.evidence == ("action-7",)


def test_a_refusal_can_be_handed_to_another_process(switch: Switch, guard: Guard) -> None:
    switch.revoke_and_wait(Target("agent", "a"), reason="exfiltrates", by="alice")
    with pytest.raises(Revoked) as caught:
        guard.check(agent="a")
    received = pickle.loads(pickle.dumps(caught.value))
    assert (str(received), received.revocation) == (str(caught.value), caught.value.revocation)


def test_the_strongest_of_several_refusals_is_reported(switch: Switch, guard: Guard) -> None:
    kill(switch, guard, "agent:a", level="step_up")
    with pytest.raises(StepUpRequired):
        guard.check(agent="a", session="s")
    kill(switch, guard, "session:s", level="suspend", expires_at_s=time.time() + 60)
    with pytest.raises(Revoked) as caught:
        guard.check(agent="a", session="s")
    assert caught.value.revocation.level == "suspend"


def test_a_suspension_ends_by_itself_at_the_point(switch: Switch, guard: Guard) -> None:
    end_s = time.time() + 0.5
    kill(switch, guard, "agent:a", level="suspend", expires_at_s=end_s)
    assert refuses(guard, agent="a")
    until(lambda: not refuses(guard, agent="a"))
    assert time.time() >= end_s


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({}, "names nothing"),
        ({"agent": None}, "names nothing"),
        ({"agent": ""}, "agent: is empty"),
        ({"agent": 7}, "agent: expected text, not int"),
        ({"agent": b"a"}, "agent: expected text, not bytes"),
        ({"agent": []}, "names nothing"),
        ({"human": ()}, "names nothing"),
        ({"agent": [["a"]]}, "agent: expected text, not list"),
        ({"session": "", "agent": "a"}, "session: is empty"),
        ({"agent": "a", "human": ("bob", "")}, "human: is empty"),
        ({"agent": "a", "human": {"bob"}}, "human: expected text, not set"),
        ({"agent": "a", "delegation": ("x", 3)}, "delegation: expected text, not int"),
        ({"agent_version": "2"}, "of which agent"),
        ({"agent": "a", "agent_version": 2}, "agent_version: expected text, not int"),
        ({"agent": "a", "agent_version": ""}, "agent_version: is empty"),
        ({"robot": "r2", "agent": "a"}, "robot: not one of agent"),
        ({"fleet": None, "agent": "a"}, "fleet: not one of agent"),
    ],
)
def test_a_check_that_could_not_be_revoked_is_refused(guard: Guard, names: dict[str, Any], says: str) -> None:
    with pytest.raises(UncheckableAction, match=says):
        guard.check(**names)


class Name(str, enum.Enum):  # noqa: UP042 - a StrEnum prints as its value, this one does not
    """A str that prints as something else."""

    BOT = "bot"


def test_an_enum_is_refused_as_the_name_it_stands_for(switch: Switch, guard: Guard) -> None:
    guard.check(agent=Name.BOT)
    kill(switch, guard, "agent:bot")
    assert refuses(guard, agent=Name.BOT)
    assert refuses(guard, agent="x", human=(Name.BOT,)) is False


def test_a_guard_that_has_read_nothing_yet_refuses(prefix: str, connect: Connect) -> None:
    guard = connect("redis://127.0.0.1:1", wait=False)
    with pytest.raises(NotReady):
        guard.check(agent="a")


def test_connecting_to_nothing_says_so_in_time() -> None:
    started_s = time.monotonic()
    with pytest.raises(StoreUnreachable, match="is it running"):
        Guard.connect("redis://127.0.0.1:1", timeout_s=0.3)
    assert time.monotonic() - started_s < 2


def test_a_closed_guard_refuses_and_is_off_the_registry(switch: Switch, connect: Connect) -> None:
    guard = connect()
    until(lambda: len(switch.points()) == 1)
    guard.close()
    guard.close()
    assert switch.points() == []
    with pytest.raises(NotReady, match="closed"):
        guard.check(agent="a")


def test_leaving_the_with_block_closes_the_guard(url: str, prefix: str) -> None:
    with Guard.connect(url, prefix=prefix) as guard:
        guard.check(agent="a")
    assert refuses(guard, agent="a")


def test_a_quiet_guard_keeps_its_lease(connect: Connect) -> None:
    guard = connect(lease_s=0.5)
    first_s = time.monotonic()
    until(lambda: refuses(guard, agent="a") or time.monotonic() > first_s + 1.5)
    guard.check(agent="a")
    assert 0 < guard.status().lease_remaining_s <= 0.5


def test_the_status_tells_how_it_stands(switch: Switch, guard: Guard) -> None:
    kill(switch, guard, "agent:a")
    status = guard.status()
    assert (status.name, status.epoch, status.revocations, status.connected) == ("the-guard", 1, 1, True)
    assert (status.store_regressed, status.kept, status.failures, status.last_error) == (False, 0, 0, "")


@pytest.mark.parametrize("lease_s", [0, -1, 0.01, 1e9, float("nan")])
def test_a_senseless_lease_is_refused(url: str, lease_s: float) -> None:
    with pytest.raises(InvalidRequest, match="lease_s"):
        Guard.connect(url, lease_s=lease_s)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 600])
def test_a_senseless_name_is_refused(url: str, name: str) -> None:
    with pytest.raises(InvalidTarget, match="name"):
        Guard.connect(url, name=name)


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no Redis URL"):
        Switch("http://localhost").snapshot()


def test_two_guards_of_one_name_are_two_points(switch: Switch, connect: Connect) -> None:
    connect(name="replica")
    connect(name="replica")
    until(lambda: [point.name for point in switch.points()] == ["replica", "replica"])


def test_allowing_leaves_nothing_behind_in_memory(switch: Switch, guard: Guard) -> None:
    for number in range(20):
        kill(switch, guard, f"agent:other-{number}")
    names: dict[str, Any] = {"agent": "a", "session": "s", "tool": "t", "human": "h"}
    for _ in range(100):
        guard.check(**names)
    before = sys.getallocatedblocks()
    for _ in range(2000):
        guard.check(**names)
    assert sys.getallocatedblocks() - before < 100  # the follower's thread may have a few of its own


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_follows_by_itself(switch: Switch, guard: Guard) -> None:
    kill(switch, guard, "agent:old")
    ready_read, ready_write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            assert refuses(guard, agent="old")
            guard.check(agent="new")
            os.write(ready_write, b"!")
            until(lambda: refuses(guard, agent="new"))
            assert guard.status().point != ""
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.read(ready_read, 1) == b"!"
    switch.revoke(Target("agent", "new"), **WHY)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert refuses(guard, agent="new")


def test_a_sentinel_file_stops_everything_and_what_runs(connect: Connect, tmp_path: Path) -> None:
    file = tmp_path / "killed"
    guard = connect(sentinel=file)
    guard.check(agent="bot")
    with guard.watch(agent="bot") as watch:
        file.touch()
        assert watch.wait(5)
    with pytest.raises(SentinelRefused, match="killed"):
        guard.check(agent="bot")
    file.write_text("agent:other\n")
    until(lambda: not refuses(guard, agent="bot"))
    assert refuses(guard, agent="other")
    file.unlink()
    until(lambda: not refuses(guard, agent="other"))
