from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from killswitch.clocks import lease_clock_s
from killswitch.supervise.cgroups import Cgroup
from killswitch.supervise.processes import GroupTree, Process, WalkedTree, can_walk, look_up, send
from tests.killswitch.conftest import ROOT, until

pytestmark = pytest.mark.skipif(not can_walk(), reason="needs /proc as Linux has it")

FAMILY = Path(__file__).with_name("family.py")
UNDER = """
import os, signal, subprocess, sys
sys.path.insert(0, sys.argv[1])
from killswitch.supervise.processes import adopt_orphans
adopt_orphans()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, setpgroup=0)
print(child, flush=True)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
print("empty", flush=True)
sys.stdin.read()
"""


class Family:
    """A running family below a subreaper of its own, and the directory that its members count in."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self._root = subprocess.Popen(
            [sys.executable, "-c", UNDER, str(ROOT), sys.executable, "-S", str(FAMILY), kind, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._root.stdout is not None
        self.main = int(self._root.stdout.readline())
        self.tree = WalkedTree(self._root.pid)

    def wait_for(self, members: int) -> list[Process]:
        until(lambda: len(self.counts()) == members)
        return self.tree.members()

    def counts(self) -> dict[str, int]:
        return {path.name: int(path.read_text()) for path in self.directory.iterdir() if path.name.isdigit()}

    def close(self) -> None:
        self.tree.kill(soon())
        self._root.kill()
        self._root.communicate()


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Callable[[str], Family]]:
    started: list[Family] = []

    def start(kind: str) -> Family:
        started.append(Family(kind, tmp_path / f"family-{len(started)}"))
        return started[-1]

    yield start
    for one in started:
        one.close()


def soon() -> float:
    return lease_clock_s() + 10


def assert_frozen(frozen: Family, witness: Family) -> None:
    """While the witness goes on counting, the frozen one does not."""
    before, then = frozen.counts(), sum(witness.counts().values())
    until(lambda: sum(witness.counts().values()) > then + 10)
    assert frozen.counts() == before


def test_all_three_generations_are_found_in_whatever_session(family) -> None:
    found = family("three").wait_for(3)
    assert sorted(process.generation for process in found) == [1, 2, 3]


def test_a_double_forked_daemon_stays_in_the_tree(family) -> None:
    daemon = family("orphan")
    until(lambda: len(daemon.counts()) == 1 and len(daemon.tree.members()) == 1)
    assert str(daemon.tree.members()[0].pid) in daemon.counts()


def test_freezing_stops_every_generation_and_thawing_lets_it_go_on(family) -> None:
    three, witness = family("three"), family("stubborn")
    three.wait_for(3)
    witness.wait_for(1)
    assert three.tree.freeze(soon())
    assert {process.state for process in three.tree.members()} == {"T"}
    assert_frozen(three, witness)
    before = three.counts()
    three.tree.thaw()
    until(lambda: all(three.counts()[pid] > count for pid, count in before.items()))


def test_freezing_catches_up_with_a_program_that_forks_meanwhile(family) -> None:
    forks, witness = family("forks"), family("stubborn")
    witness.wait_for(1)
    (forks.directory / "go").touch()
    until(lambda: len(forks.tree.members()) > 3)
    assert forks.tree.freeze(soon())
    members = forks.tree.members()
    assert_frozen(forks, witness)
    assert {process.pid for process in forks.tree.members()} == {process.pid for process in members}
    forks.tree.thaw()
    until(lambda: len(forks.tree.members()) == 31)


def test_what_was_stopped_before_is_not_continued(family) -> None:
    three = family("three")
    members = three.wait_for(3)
    child = next(process for process in members if process.generation == 2)
    os.kill(child.pid, signal.SIGSTOP)
    until(lambda: (look_up(child.pid) or child).state == "T")
    assert three.tree.freeze(soon())
    three.tree.thaw()
    until(lambda: sum(process.state == "T" for process in three.tree.members()) == 1)
    assert look_up(child.pid).state == "T"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="ends its first thread by a system call's number")
def test_a_program_that_looks_dead_because_its_first_thread_ended_is_not_overlooked(family) -> None:
    headless, witness = family("headless"), family("stubborn")
    headless.wait_for(1)
    witness.wait_for(1)
    until(lambda: "State:\tZ" in Path(f"/proc/{headless.main}/status").read_text())
    assert headless.tree.freeze(soon())
    assert_frozen(headless, witness)
    headless.tree.thaw()
    before = headless.counts()
    until(lambda: headless.counts() != before)
    assert headless.tree.kill(soon())
    assert headless.tree.members() == []


def test_killing_takes_all_and_says_when_they_are_gone(family) -> None:
    three = family("three")
    three.wait_for(3)
    assert three.tree.kill(soon())
    assert three.tree.members() == []


def test_killing_outruns_a_program_that_forks(family) -> None:
    forks = family("forks")
    (forks.directory / "go").touch()
    until(lambda: len(forks.tree.members()) > 3)
    assert forks.tree.kill(soon())
    assert forks.tree.members() == []


def test_killing_takes_what_is_frozen(family) -> None:
    three = family("three")
    three.wait_for(3)
    assert three.tree.freeze(soon())
    assert three.tree.kill(soon())


def test_a_deadline_that_has_passed_is_said_so(family) -> None:
    three = family("three")
    three.wait_for(3)
    assert three.tree.freeze(lease_clock_s()) is False


def test_what_was_met_is_collected(family) -> None:
    three = family("three")
    three.wait_for(3)
    three.tree.seen.clear()
    three.tree.kill(soon())
    assert len(three.tree.seen) == 3


def test_no_signal_goes_to_another_process_with_the_same_id() -> None:
    sleeper = subprocess.Popen(["sleep", "100"])
    now = look_up(sleeper.pid)
    assert now is not None
    before = Process(now.pid, now.start_ticks - 1, now.parent, "S", "sleep")
    assert send(before, signal.SIGKILL) is False
    assert send(now, signal.SIGKILL) is True
    assert sleeper.wait(5) == -signal.SIGKILL
    assert send(now, signal.SIGKILL) is False


def test_a_name_may_hold_anything(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.write_text("#!/bin/sh\nsleep 100 & wait\n")
    program.chmod(0o700)
    process = subprocess.Popen([program], start_new_session=True)
    until(lambda: (look_up(process.pid) or Process(0, 0, 0, "", "")).name == "a) S 1 (b")
    assert look_up(process.pid).parent == os.getpid()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_group_is_all_that_is_reached_without_proc(family) -> None:
    three = family("three")
    three.wait_for(3)
    group = GroupTree(three.main)
    assert group.freeze(soon())
    until(lambda: sum(process.state == "T" for process in three.tree.members()) == 2)
    group.thaw()
    until(lambda: sum(process.state == "T" for process in three.tree.members()) == 0)
    assert group.kill(soon())
    assert [process.generation for process in three.tree.members()] == [1]  # it had left the group
    assert group.members() == []


def test_no_group_is_no_reason_to_signal_our_own() -> None:
    nobody = GroupTree()
    assert nobody.members() == []
    assert nobody.freeze(soon()) is False
    assert nobody.kill(soon())


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    made = Cgroup.create()
    if made is None:
        pytest.skip("no control group may be made here")
    yield made
    made.kill()
    until(lambda: not made.pids())
    made.remove()
    assert not made.path.exists()


def test_a_control_group_is_frozen_and_killed_at_one_stroke(cgroup: Cgroup) -> None:
    sleeper = subprocess.Popen(["sleep", "100"], preexec_fn=cgroup.join)
    assert cgroup.pids() == {sleeper.pid}
    assert cgroup.freeze(soon())
    cgroup.thaw()
    cgroup.kill()
    assert sleeper.wait(5) == -signal.SIGKILL


def test_what_left_the_control_group_is_still_in_the_tree(cgroup: Cgroup, family) -> None:
    three = family("three")
    members = three.wait_for(3)
    for process in members[:2]:
        (cgroup.path / "cgroup.procs").write_text(str(process.pid))
    tree = WalkedTree(three.tree._root, (), cgroup)
    witness = family("stubborn")
    witness.wait_for(1)
    assert tree.freeze(soon())
    assert len(tree.stopped) == 1
    assert_frozen(three, witness)
    assert tree.kill(soon())
    assert tree.members() == []
