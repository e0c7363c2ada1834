"""`killcord guard` as its users run it: real programs, a real store, real signals and terminals."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from killswitch import Switch, Target
from killswitch.revocations import Revocation
from killswitch.storage.links import Link
from killswitch.storage.store import PREFIX, Keys, Store
from killswitch.supervise.cgroups import Cgroup
from killswitch.supervise.processes import Process, WalkedTree, can_walk, look_up
from tests.killswitch.conftest import ROOT, Server, until

pytestmark = pytest.mark.skipif(not can_walk(), reason="needs /proc as Linux has it")

FAMILY = Path(__file__).parents[1] / "killswitch" / "family.py"
WHY: dict[str, Any] = {"reason": "test", "by": "tester"}
WAYS = ["cgroup", "walk"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("valkey"))
    yield server
    server.close()


@pytest.fixture
def switch(server: Server) -> Iterator[Switch]:
    with Switch(server.url) as switch:
        yield switch


@pytest.fixture
def bot() -> Target:
    return Target("agent", f"bot-{uuid.uuid4().hex[:8]}")


class Guarded:
    """A running ``killcord guard``, and the directory in which a family under it counts."""

    def __init__(
        self, url: str, bot: Target, directory: Path, options: tuple[str, ...], command: tuple[str, ...]
    ) -> None:
        self.directory = directory
        self.evidence_path = directory / "evidence.json"
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "monitor.cli", "guard", "--redis", url, "--agent", bot.value,
                "--evidence", str(self.evidence_path), *options, "--", *command,
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        )  # fmt: skip
        self.keeper: int | None = None

    def counts(self) -> dict[str, int]:
        return {path.name: int(path.read_text()) for path in self.directory.iterdir() if path.name.isdigit()}

    def wait_for(self, members: int) -> None:
        until(lambda: len(self.counts()) == members, timeout_s=30)
        self.keeper = WalkedTree(self.process.pid).members()[0].pid

    def members(self) -> list[Process]:
        assert self.keeper is not None
        return WalkedTree(self.process.pid, {self.keeper}).members()

    def alive(self) -> list[str]:
        """Which of those that ever counted still live, wherever they are."""
        found = {pid: look_up(int(pid)) for pid in self.counts()}
        return [pid for pid, process in found.items() if process is not None and process.state not in "ZX"]

    def end(self, timeout_s: float = 30) -> tuple[int, str]:
        """Its exit status and what it said on standard error."""
        _, said = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, said

    def evidence(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.evidence_path.read_text())
        return found

    def stops(self) -> list[dict[str, Any]]:
        return [] if not self.evidence_path.exists() else list(self.evidence()["stops"])

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.communicate()


Start = Callable[..., Guarded]


@pytest.fixture
def start(server: Server, bot: Target, tmp_path: Path) -> Iterator[Start]:
    started: list[Guarded] = []

    def make(*command: str, options: tuple[str, ...] = (), url: str = server.url) -> Guarded:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        program = (
            (sys.executable, "-S", str(FAMILY), command[0], str(directory)) if len(command) == 1 else command
        )
        started.append(Guarded(url, bot, directory, options, program))
        return started[-1]

    yield make
    for guarded in started:
        guarded.close()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Both ways of holding a tree; the first where a control group may be made."""
    if request.param == "walk":
        return ("--no-cgroup",)
    made = Cgroup.create()
    if made is None:
        pytest.skip("no control group may be made here")
    made.remove()
    return ()


def assert_frozen(frozen: Guarded, witness: Guarded) -> None:
    before, then = frozen.counts(), sum(witness.counts().values())
    until(lambda: sum(witness.counts().values()) > then + 10)
    assert frozen.counts() == before


def assert_goes_on(guarded: Guarded) -> None:
    before = guarded.counts()
    until(lambda: all(guarded.counts()[pid] > count for pid, count in before.items()))


# -- a program that nobody stops ---------------------------------------------------------------------------------


def test_it_is_as_if_the_program_had_been_run_itself(start: Start) -> None:
    guarded = start("sh", "-c", "read line; echo got $line; echo oops >&2; exit 7")
    out, said = guarded.process.communicate("hello\n", timeout=30)
    assert (guarded.process.returncode, out, said) == (7, "got hello\n", "oops\n")


def test_a_program_ended_by_a_signal_says_so_as_in_a_shell(start: Start) -> None:
    assert start("sh", "-c", "kill -9 $$").end() == (137, "")


def test_a_program_that_is_not_there_is_127_and_one_that_is_none_126(start: Start, tmp_path: Path) -> None:
    assert start("no-such-program", "x").end() == (
        127,
        "killcord guard: no-such-program: No such file or directory\n",
    )
    assert start(str(tmp_path), "x").end()[0] == 126


def test_a_broken_pipe_ends_the_program_as_ever(start: Start) -> None:
    status, _ = start("sh", "-c", "(sleep 0.05; yes) | head -1; kill -PIPE $$").end()
    assert status == 128 + signal.SIGPIPE


def test_what_the_program_leaves_behind_is_waited_for_and_supervised(
    start: Start, switch: Switch, bot: Target
) -> None:
    daemon = start("orphan", options=("--grace", "0"))
    daemon.wait_for(1)
    until(lambda: len(daemon.members()) == 1)
    assert daemon.process.poll() is None
    switch.revoke(bot, **WHY)
    assert daemon.end()[0] == 1
    assert daemon.alive() == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_supervisor_is_passed_on(start: Start, signum: int) -> None:
    guarded = start("sh", "-c", f"trap 'exit 42' {signum}; echo ready; while :; do sleep 0.01; done")
    assert guarded.process.stdout is not None
    assert guarded.process.stdout.readline() == "ready\n"
    guarded.process.send_signal(signum)
    assert guarded.end() == (42, "")


def test_the_point_is_registered_with_the_programs_name(start: Start, switch: Switch) -> None:
    guarded = start("polite")
    guarded.wait_for(1)
    names = {point.name: point for point in switch.points() if point.live}
    found = [
        name for name in names if name.startswith("guard:python") and name.endswith(f":{guarded.process.pid}")
    ]
    assert len(found) == 1


def test_who_acts_must_be_said(server: Server) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "monitor.cli", "guard", "--redis", server.url, "--", "echo", "RAN"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "--agent" in ran.stderr


# -- refused from the start --------------------------------------------------------------------------------------


def test_a_revoked_agent_is_not_started(start: Start, switch: Switch, bot: Target) -> None:
    switch.revoke(bot, **WHY)
    guarded = start("echo", "RAN")
    out, said = guarded.process.communicate(timeout=30)
    assert (guarded.process.returncode, out) == (1, "")
    assert (
        said
        == f"killcord guard: nothing was run: {bot} is revoked by tester: test (change {switch.epoch()})\n"
    )


@pytest.mark.parametrize("level", ["step_up", "suspend"])
def test_a_held_or_suspended_agent_is_not_started(
    start: Start, switch: Switch, bot: Target, level: Any
) -> None:
    switch.revoke(bot, level=level, expires_at_s=time.time() + 60 if level == "suspend" else None, **WHY)
    guarded = start("echo", "RAN")
    assert guarded.process.communicate(timeout=30)[0] == ""
    assert guarded.process.returncode == 1


def test_without_a_store_nothing_is_run(start: Start) -> None:
    guarded = start("echo", "RAN", url="redis://127.0.0.1:1")
    assert guarded.process.communicate(timeout=30)[0] == ""
    assert guarded.process.returncode == 3


# -- revoked -----------------------------------------------------------------------------------------------------


def test_a_revocation_with_no_grace_kills_three_generations(
    start: Start, switch: Switch, bot: Target, way: tuple[str, ...]
) -> None:
    three = start("three", options=("--grace", "0", *way))
    three.wait_for(3)
    outcome = switch.revoke(bot, **WHY)
    status, said = three.end()
    assert (status, three.alive()) == (1, [])
    assert f"killed: {bot} is revoked by tester: test (change {outcome.epoch})" in said
    evidence = three.evidence()
    (stop,) = evidence["stops"]
    assert evidence["method"] == ("subreaper" if way else "cgroup")
    assert evidence["exit_status"] == 1
    assert stop["revocation"]["change_id"] == outcome.change_id
    assert stop["complete"]
    assert stop["generations"] == 3
    assert sorted(process["generation"] for process in stop["processes"]) == [1, 2, 3]
    assert 0 <= stop["first_signal_ms"] <= stop["all_gone_ms"]


def test_in_its_grace_a_program_may_end_itself(start: Start, switch: Switch, bot: Target) -> None:
    polite = start("polite", options=("--grace", "30"))
    polite.wait_for(1)
    switch.revoke(bot, **WHY)
    assert polite.end()[0] == 1
    assert len(polite.stops()) == 1


def test_after_the_grace_a_program_that_ignores_sigterm_is_killed(
    start: Start, switch: Switch, bot: Target, way: tuple[str, ...]
) -> None:
    three = start("three", options=("--grace", "0.3", *way))
    three.wait_for(3)
    switch.revoke(bot, **WHY)
    assert three.end()[0] == 1
    assert three.alive() == []
    assert three.stops()[0]["all_gone_ms"] >= 300


def test_restored_in_its_grace_it_is_ended_all_the_same(start: Start, switch: Switch, bot: Target) -> None:
    stubborn = start("stubborn", options=("--grace", "0.5"))
    stubborn.wait_for(1)
    switch.revoke_and_wait(bot, **WHY)
    switch.restore_and_wait(bot, **WHY)
    assert stubborn.end()[0] == 1
    assert stubborn.alive() == []


def test_asked_to_end_in_the_grace_it_is_killed_at_once(start: Start, switch: Switch, bot: Target) -> None:
    stubborn = start("stubborn", options=("--grace", "3600"))
    stubborn.wait_for(1)
    switch.revoke_and_wait(bot, **WHY)
    stubborn.process.terminate()
    assert stubborn.end()[0] == 1


def test_the_evidence_holds_no_argument_and_is_for_the_owner_alone(start: Start) -> None:
    guarded = start("sh", "-c", "exit 0", "--token=hunter2")
    assert guarded.end()[0] == 0
    text = guarded.evidence_path.read_text()
    assert "hunter2" not in text
    digest = hashlib.sha256(b"\0".join([b"sh", b"-c", b"exit 0", b"--token=hunter2"])).hexdigest()
    assert guarded.evidence()["argv_sha256"] == digest
    assert guarded.evidence()["stops"] == []
    assert stat.S_IMODE(guarded.evidence_path.stat().st_mode) == 0o600


def test_evidence_that_cannot_be_written_keeps_no_kill_from_happening(
    start: Start, switch: Switch, bot: Target
) -> None:
    guarded = start("stubborn", options=("--grace", "0", "--evidence", "/nonexistent/evidence.json"))
    guarded.wait_for(1)
    switch.revoke(bot, **WHY)
    status, said = guarded.end()
    assert (status, guarded.alive()) == (1, [])
    assert "--evidence" in said


# -- suspended, held, unheard ------------------------------------------------------------------------------------


def test_a_suspension_freezes_all_and_its_end_lets_it_go_on_where_it_was(
    start: Start, switch: Switch, bot: Target, way: tuple[str, ...]
) -> None:
    three = start("three", options=way)
    witness = start("stubborn", options=("--agent", "witness"))
    three.wait_for(3)
    witness.wait_for(1)
    switch.revoke(bot, level="suspend", expires_at_s=time.time() + 3600, **WHY)
    until(lambda: len(three.stops()) == 1)
    assert_frozen(three, witness)
    pids = set(three.counts())
    switch.restore(bot, **WHY)
    assert_goes_on(three)
    assert set(three.counts()) == pids
    until(lambda: three.stops()[0]["resumed_after_ms"] is not None)
    assert [stop["cause"] for stop in three.stops()] == ["held"]


def test_a_suspension_that_runs_out_by_itself_lets_it_go_on(
    start: Start, switch: Switch, bot: Target
) -> None:
    stubborn = start("stubborn")
    stubborn.wait_for(1)
    switch.revoke(bot, level="suspend", expires_at_s=time.time() + 1, **WHY)
    until(lambda: bool(stubborn.stops()))
    until(lambda: stubborn.stops()[0]["resumed_after_ms"] is not None)
    assert_goes_on(stubborn)


def test_a_program_that_forks_is_frozen_while_it_does(
    start: Start, switch: Switch, bot: Target, way: tuple[str, ...]
) -> None:
    forks = start("forks", options=way)
    witness = start("stubborn", options=("--agent", "witness"))
    witness.wait_for(1)
    (forks.directory / "go").touch()
    until(lambda: len(forks.counts()) > 3, timeout_s=30)
    switch.revoke(bot, level="step_up", **WHY)
    until(lambda: len(forks.stops()) == 1)
    assert forks.stops()[0]["complete"]
    assert_frozen(forks, witness)
    switch.restore(bot, **WHY)
    until(lambda: len(forks.counts()) == 31)


def test_what_somebody_continues_is_stopped_again(start: Start, switch: Switch, bot: Target) -> None:
    three = start("three", options=("--no-cgroup",))
    three.wait_for(3)
    switch.revoke(bot, level="step_up", **WHY)
    until(lambda: len(three.stops()) == 1)
    for process in three.members():
        os.kill(process.pid, signal.SIGCONT)
    until(lambda: {process.state for process in three.members()} == {"T"})


def test_a_frozen_program_that_is_revoked_gets_its_chance_to_end(
    start: Start, switch: Switch, bot: Target, way: tuple[str, ...]
) -> None:
    polite = start("polite", options=("--grace", "30", *way))
    polite.wait_for(1)
    switch.revoke(bot, level="step_up", **WHY)
    until(lambda: len(polite.stops()) == 1)
    switch.revoke(bot, **WHY)
    assert polite.end()[0] == 1
    assert [stop["cause"] for stop in polite.stops()] == ["held", "revoked"]


def test_a_frozen_program_that_is_asked_to_end_is_killed(start: Start, switch: Switch, bot: Target) -> None:
    polite = start("polite")
    polite.wait_for(1)
    switch.revoke(bot, level="step_up", **WHY)
    until(lambda: len(polite.stops()) == 1)
    polite.process.terminate()
    assert polite.end()[0] == 137


def test_without_news_for_one_lease_it_is_frozen_until_the_store_is_heard(
    start: Start, tmp_path: Path
) -> None:
    own = Server(tmp_path / "own")
    try:
        three = start("three", options=("--lease", "0.5"), url=own.url)
        three.wait_for(3)
        own.pause()
        until(lambda: len(three.stops()) == 1)
        assert three.stops()[0]["cause"] == "lost"
        witness = start("sh", "-c", "exit 0")
        before = three.counts()
        assert witness.end()[0] == 0
        assert three.counts() == before
        own.resume()
        assert_goes_on(three)
    finally:
        own.close()


def test_without_news_it_is_killed_if_that_was_chosen(start: Start, tmp_path: Path) -> None:
    own = Server(tmp_path / "own")
    try:
        three = start("three", options=("--lease", "0.5", "--on-lease", "kill", "--grace", "0"), url=own.url)
        three.wait_for(3)
        own.kill()
        status, said = three.end()
        assert (status, three.alive()) == (3, [])
        assert "nothing heard from the store" in said
    finally:
        own.close()


def test_an_announced_kill_freezes_and_kills_only_once_it_is_written(
    start: Start, switch: Switch, server: Server, bot: Target
) -> None:
    stubborn = start("stubborn", options=("--lease", "1", "--grace", "0"))
    stubborn.wait_for(1)
    record = Revocation(bot, "revoke", "test", "tester", time.time(), None, "announced", 10**6)
    link = Link(server.url, timeout_s=5)
    Store(link, Keys(PREFIX)).announce(record)
    until(lambda: len(stubborn.stops()) == 1)
    assert stubborn.stops()[0]["cause"] == "held"
    until(lambda: stubborn.stops()[0]["resumed_after_ms"] is not None)
    assert_goes_on(stubborn)
    link.close()
    switch.revoke(bot, **WHY)
    assert stubborn.end()[0] == 1


def test_the_hosts_sentinel_freezes_without_any_network(start: Start, tmp_path: Path) -> None:
    sentinel = tmp_path / "stop"
    stubborn = start("stubborn", options=("--sentinel", str(sentinel)))
    stubborn.wait_for(1)
    sentinel.touch()
    until(lambda: len(stubborn.stops()) == 1)
    assert stubborn.stops()[0]["cause"] == "lost"
    sentinel.unlink()
    until(lambda: stubborn.stops()[0]["resumed_after_ms"] is not None)
    assert_goes_on(stubborn)


def test_nobody_reading_what_it_says_changes_nothing(start: Start, switch: Switch, bot: Target) -> None:
    stubborn = start("stubborn", options=("--grace", "0"))
    stubborn.wait_for(1)
    assert stubborn.process.stderr is not None
    stubborn.process.stderr.close()
    switch.revoke(bot, level="step_up", **WHY)
    until(lambda: len(stubborn.stops()) == 1)
    switch.restore(bot, **WHY)
    until(lambda: stubborn.stops()[0]["resumed_after_ms"] is not None)
    assert_goes_on(stubborn)
    switch.revoke(bot, **WHY)
    assert stubborn.process.wait(30) == 1


# -- the supervisor itself is attacked ---------------------------------------------------------------------------


def test_killing_the_supervisor_kills_the_whole_tree(start: Start, way: tuple[str, ...]) -> None:
    three = start("three", options=way)
    three.wait_for(3)
    three.process.kill()
    until(lambda: three.alive() == [])


def test_killing_the_supervisor_kills_an_orphan_and_what_is_frozen(
    start: Start, switch: Switch, bot: Target, way: tuple[str, ...]
) -> None:
    daemon = start("orphan", options=way)
    daemon.wait_for(1)
    switch.revoke(bot, level="step_up", **WHY)
    until(lambda: len(daemon.stops()) == 1)
    daemon.process.kill()
    until(lambda: daemon.alive() == [])


def test_killing_the_supervisors_group_kills_the_whole_tree(start: Start) -> None:
    three = start("three")
    three.wait_for(3)
    os.killpg(three.process.pid, signal.SIGKILL)
    until(lambda: three.alive() == [])


def test_killing_the_keeper_kills_the_whole_tree(start: Start, way: tuple[str, ...]) -> None:
    three = start("three", options=way)
    three.wait_for(3)
    assert three.keeper is not None
    os.kill(three.keeper, signal.SIGKILL)
    status, said = three.end()
    assert (status, three.alive()) == (1, [])
    assert "somebody killed the process that keeps the program" in said


def test_a_supervisor_that_is_stopped_lets_nothing_go_on(start: Start, way: tuple[str, ...]) -> None:
    three = start("three", options=("--lease", "0.5", *way))
    witness = start("stubborn", options=("--agent", "witness"))
    three.wait_for(3)
    witness.wait_for(1)
    three.process.send_signal(signal.SIGSTOP)

    def is_frozen() -> bool:
        before, then = three.counts(), sum(witness.counts().values())
        until(lambda: sum(witness.counts().values()) > then + 10)
        return three.counts() == before

    until(is_frozen)
    three.process.send_signal(signal.SIGCONT)
    assert_goes_on(three)


# -- on a terminal -----------------------------------------------------------------------------------------------


class Shell:
    """An interactive shell with job control on a terminal of its own."""

    def __init__(self) -> None:
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.environ.update(PS1="$ ", PS2="> ", PYTHONPATH=str(ROOT))
            os.execvp("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def expect(self, text: str, timeout_s: float = 30.0) -> None:
        """Read on until `text` comes; what was read is forgotten up to its end."""
        deadline_s = time.monotonic() + timeout_s
        while text not in self.seen:
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, f"{text!r} did not come: {self.seen!r}"
            if select.select([self._terminal], [], [], left_s)[0]:
                self.seen += os.read(self._terminal, 4096).decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.close(self._terminal)
        os.waitpid(self.pid, 0)


@pytest.fixture
def shell() -> Iterator[Shell]:
    shell = Shell()
    yield shell
    shell.close()


def line(server: Server, bot: Target, script: str) -> str:
    return f"{sys.executable} -m monitor.cli guard --redis {server.url} --agent {bot.value} -- sh -c '{script}'\n"


def test_a_program_reads_the_terminal(shell: Shell, server: Server, bot: Target) -> None:
    shell.type(line(server, bot, "read a; echo go-$((40+2))-$a; exit 5"))
    shell.type("hello\n")
    shell.expect("go-42-hello")
    shell.type("echo status-$?-$((1+1))\n")
    shell.expect("status-5-2")


def test_ctrl_c_reaches_the_program_once(shell: Shell, server: Server, bot: Target) -> None:
    shell.type(
        line(
            server,
            bot,
            'n=0; trap "n=\\$((n+1)); echo int-\\$n" INT; echo rea""dy; read a; read a; echo n-$n',
        )
    )
    shell.expect("ready")
    shell.type("\x03")
    shell.expect("int-1")
    shell.type("\n\n\n")
    shell.expect("n-1")


def test_ctrl_z_gives_the_shell_the_terminal_and_fg_gives_it_back(
    shell: Shell, server: Server, bot: Target
) -> None:
    shell.type(line(server, bot, 'echo rea""dy; read a; echo go-$((40+2))-$a'))
    shell.expect("ready")
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.type("echo shell-$((3+4))\n")
    shell.expect("shell-7")
    shell.type("fg\n")
    shell.expect("guard")
    shell.type("again\n")
    shell.expect("go-42-again")


def test_after_a_kill_the_terminal_is_the_shells_again_and_as_it_was(
    shell: Shell, server: Server, bot: Target, switch: Switch
) -> None:
    shell.type(line(server, bot, 'stty -echo raw; echo rea""dy; sleep 100'))
    shell.expect("ready")
    killer = threading.Thread(target=lambda: switch.revoke(bot, **WHY))
    killer.start()
    shell.expect("killed:")
    killer.join()
    shell.type("echo status-$?-$((1+1)); stty -a\n")
    shell.expect("status-1-2")
    shell.expect(" icanon")
    shell.expect(" echo ")
