"""A file stops agents without a network, and so does whatever keeps it from being read."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch.clocks import lease_clock_s
from killswitch.errors import InvalidRequest, Refused, SentinelRefused
from killswitch.point import sentinel as module
from killswitch.point.sentinel import (
    MAX_BYTES,
    STALE_S,
    Sentinel,
    SentinelState,
    look,
    parse_sentinel,
    refusal,
)
from killswitch.targets import KINDS, Kind, Target
from tests.killswitch import records
from tests.killswitch.conftest import until

BILLING = Target("agent", "billing-bot")
NAMES: dict[Kind, object] = {"agent": "billing-bot", "tool": ["send_money", "read"], "session": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stop"


@pytest.fixture
def changes() -> list[SentinelState]:
    return []


@pytest.fixture
def sentinel(path: Path, changes: list[SentinelState]) -> Iterator[Sentinel]:
    with Sentinel(path, interval_s=0.01, on_change=changes.append) as sentinel:
        yield sentinel


def state(*targets: str, barred: bool = False, problem: str = "", looked_at_s: float = 0.0) -> SentinelState:
    return SentinelState("/stop", barred, frozenset(map(Target.parse, targets)), problem, looked_at_s)


def put(path: Path, content: str | bytes) -> None:
    """In one step, as the module says."""
    scratch = path.with_name("new")
    scratch.write_bytes(content if isinstance(content, bytes) else content.encode())
    scratch.rename(path)


# -- what a file says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"\n \n", b"fleet", b"fleet\n", b"# why: an incident\n", b"agent:a\nfleet"]
)
def test_an_empty_file_or_the_word_fleet_stops_everything(content: bytes) -> None:
    barred, _, problem = parse_sentinel(content)
    assert (barred, problem) == (True, "")


def test_lines_name_targets() -> None:
    content = b"# incident 7\nagent:billing-bot\n\n  tool:send_money \r\nhuman:z\xc3\xb6e@example.com\n"
    assert parse_sentinel(content) == (
        False,
        {BILLING, Target("tool", "send_money"), Target("human", "zöe@example.com")},
        "",
    )


@pytest.mark.parametrize(
    "content",
    [
        b"billing-bot",
        b"agent:",
        b"agent:a\nrobot:b",
        b"\xff\xfe",
        b"agent:\xff",
        b"agent:a\x00b",
        b"agent:" + b"a" * 600,
        b"agent_version:no-version",
        b"agent:a\n" * MAX_BYTES,
    ],
)
def test_what_cannot_be_understood_stops_everything_and_says_why(content: bytes) -> None:
    barred, _, problem = parse_sentinel(content)
    assert barred
    assert problem


@given(st.binary(max_size=200))
def test_any_content_stops_something(content: bytes) -> None:
    barred, targets, _ = parse_sentinel(content)
    assert barred or targets


@given(st.lists(records.targets(), min_size=1, max_size=5))
def test_every_target_can_be_written_into_a_file(targets: list[Target]) -> None:
    written = [
        target
        for target in targets
        if str(target) == str(target).strip() and len(str(target).splitlines()) == 1
    ]
    barred, found, problem = parse_sentinel("\n".join(map(str, written)).encode())
    assert problem == ""
    assert found == set(written)
    assert barred == (not written or Target("fleet") in written)


# -- what is refused ----------------------------------------------------------------------------------------------


def test_a_quiet_state_refuses_nothing() -> None:
    assert state().is_quiet
    assert refusal(state(), NAMES, 0.5) is None


@pytest.mark.parametrize(
    "target", ["agent:billing-bot", "tool:send_money", "tool:read"], ids=["a name", "first", "second"]
)
def test_what_is_named_is_refused(target: str) -> None:
    refused = refusal(state(target, "session:x"), NAMES, 0.5)
    assert isinstance(refused, Refused)
    assert target in str(refused)
    assert "/stop" in str(refused)


@pytest.mark.parametrize(
    "target", ["agent:other", "tool:billing-bot", "session:send_money", "agent_version:a@1"]
)
def test_what_is_not_named_goes_on(target: str) -> None:
    assert refusal(state(target), NAMES, 0.5) is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "fleet"])
def test_every_kind_of_target_can_be_stopped(kind: Kind) -> None:
    assert refusal(state(f"{kind}:a@1"), {kind: "a@1"}, 0.0)
    assert refusal(state(f"{kind}:a@1"), {kind: ("b@1", "a@1")}, 0.0)
    assert refusal(state(f"{kind}:a@1"), {kind: "b@1"}, 0.0) is None


@pytest.mark.parametrize("names", [{"agent": "a", "agent_version": "1"}, {"agent_version": "a@1"}])
def test_a_version_goes_with_its_agent_or_by_itself(names: dict[Kind, object]) -> None:
    assert refusal(state("agent_version:a@1"), names, 0.0)
    assert refusal(state("agent_version:a@2"), names, 0.0) is None


def test_names_that_are_none_are_left_to_the_check() -> None:
    assert refusal(state("agent:a"), {"agent": 7, "tool": "", "session": [None, "x\ny"]}, 0.0) is None  # type: ignore[dict-item]


@pytest.mark.parametrize("kind", ["barred", "problem", "stale"])
def test_a_file_that_bars_or_cannot_be_read_or_was_not_looked_at_refuses_everybody(kind: str) -> None:
    states = {
        "barred": state(barred=True),
        "problem": state(barred=True, problem="Permission denied"),
        "stale": state(looked_at_s=-1.0),
    }
    refused = refusal(states[kind], {}, STALE_S / 2)
    assert isinstance(refused, SentinelRefused)
    assert "/stop" in str(refused)


# -- real files ---------------------------------------------------------------------------------------------------


def is_barred(path: Path) -> bool:
    found = look(path, 0.0)
    assert found.barred == bool(refusal(found, NAMES, 0.0))
    return found.barred


def make_directory(path: Path) -> None:
    path.mkdir()


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def make_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [make_directory, make_dangling_link, make_loop, os.mkfifo])
def test_what_is_no_file_stops_everything(path: Path, make: Callable[[Path], None]) -> None:
    assert not is_barred(path)
    make(path)
    assert is_barred(path)
    assert look(path, 0.0).problem


def test_a_link_to_a_file_is_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("agent:billing-bot")
    path.symlink_to(tmp_path / "real")
    assert look(path, 0.0).targets == {BILLING}


def test_a_directory_that_is_missing_stops_everything(tmp_path: Path) -> None:
    """Nobody could put the file there: most likely the path is wrong."""
    assert is_barred(tmp_path / "missing" / "stop")
    (tmp_path / "file").write_text("")
    assert is_barred(tmp_path / "file" / "stop")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_stops_everything(path: Path) -> None:
    path.write_text("agent:other")
    path.chmod(0)
    assert "denied" in look(path, 0.0).problem


def test_a_device_stops_everything() -> None:
    assert is_barred(Path("/dev/zero"))


def test_a_path_no_file_can_have_stops_everything(tmp_path: Path) -> None:
    assert is_barred(tmp_path / ("x" * 300))


# -- the thread ---------------------------------------------------------------------------------------------------


def test_the_first_look_is_taken_at_once(path: Path) -> None:
    path.touch()
    with Sentinel(path) as sentinel:
        assert sentinel.refusal(NAMES)
        assert sentinel.quiet_until_s == 0.0


def test_a_file_that_appears_stops_and_one_that_goes_lets_go(
    path: Path, sentinel: Sentinel, changes: list[SentinelState]
) -> None:
    assert sentinel.refusal(NAMES) is None
    assert sentinel.quiet_until_s > lease_clock_s()
    put(path, "agent:billing-bot\n")
    until(lambda: len(changes) == 1)
    assert "agent:billing-bot" in str(sentinel.refusal(NAMES))
    assert sentinel.refusal({"agent": "other"}) is None
    assert sentinel.quiet_until_s == 0.0, "the fast path is closed while anything is stopped"
    put(path, "")
    until(lambda: len(changes) == 2)
    assert sentinel.refusal({"agent": "other"})
    path.unlink()
    until(lambda: len(changes) == 3)
    assert sentinel.refusal(NAMES) is None
    assert sentinel.state == changes[-1] or sentinel.state.same_as(changes[-1])


def test_the_same_content_again_is_no_news(
    path: Path, sentinel: Sentinel, changes: list[SentinelState]
) -> None:
    put(path, "agent:billing-bot")
    until(lambda: len(changes) == 1)
    looked_at_s = sentinel.state.looked_at_s
    put(path, "agent:billing-bot")
    until(lambda: sentinel.state.looked_at_s > looked_at_s + 0.05)
    assert len(changes) == 1


def test_a_listener_that_fails_does_not_end_the_looking(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: SentinelState) -> None:
        raise ZeroDivisionError

    with Sentinel(path, interval_s=0.01, on_change=fail) as sentinel:
        put(path, "agent:billing-bot")
        until(lambda: "could not be looked at" in caplog.text)
        path.unlink()
        until(lambda: sentinel.refusal(NAMES) is None)


def test_a_look_that_does_not_end_refuses_everybody_and_holds_nobody_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system that hangs, played by a read that waits."""
    hanging, go_on = threading.Event(), threading.Event()
    read = module._read

    def hang(at: Path) -> bytes | None:
        hanging.set()
        go_on.wait(30)
        return read(at)

    with Sentinel(path, interval_s=0.01) as sentinel:
        monkeypatch.setattr(module, "_read", hang)
        assert hanging.wait(10)
        assert "could not be looked at" in str(sentinel.refusal(NAMES, lease_clock_s() + STALE_S + 0.5))
        go_on.set()
        until(lambda: sentinel.refusal(NAMES) is None)


def test_a_thread_that_came_late_is_stood_in_for(path: Path) -> None:
    """After a fork there is none, and an interpreter that was held for a second is no reason to refuse."""
    with Sentinel(path, interval_s=0.5) as sentinel:
        late_s = lease_clock_s() + 10
        looked_at_s = sentinel.state.looked_at_s
        sentinel.refusal({}, late_s)
        assert sentinel.state.looked_at_s > looked_at_s


FORK = """
import os, sys, time
from pathlib import Path
from killswitch.clocks import lease_clock_s
from killswitch.point.sentinel import STALE_S, Sentinel
path = Path(sys.argv[1])
sentinel = Sentinel(path)
child = os.fork()
if child == 0:
    while lease_clock_s() <= sentinel.state.looked_at_s + STALE_S:
        time.sleep(0.05)
    assert sentinel.refusal({"agent": "a"}) is None
    path.touch()
    while sentinel.refusal({"agent": "a"}) is None:
        time.sleep(0.05)
    os._exit(7)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


# A network file system that hangs for the parent's thread at the moment of the fork.
HANG = """
import threading
from killswitch.point import sentinel as module
read, hanging = module._read, threading.Event()
def hang(at):
    if threading.current_thread() is not threading.main_thread():
        hanging.set()
        threading.Event().wait()
    return read(at)
module._read = hang
hanging.wait()
"""


@pytest.mark.parametrize("before_fork", ["", HANG], ids=["between looks", "in a look"])
def test_a_forked_process_goes_on_looking(path: Path, before_fork: str) -> None:
    root = Path(__file__).resolve().parents[2]
    script = FORK.replace("child = os.fork()", f"{before_fork}child = os.fork()")
    command = [sys.executable, "-c", script, str(path)]
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": str(root)}, timeout=20).returncode == 7


def test_after_closing_everything_is_refused(path: Path) -> None:
    sentinel = Sentinel(path)
    sentinel.close()
    assert sentinel.refusal(NAMES, lease_clock_s() + STALE_S + 1)
    assert sentinel.quiet_until_s < lease_clock_s() + STALE_S + 1


@pytest.mark.parametrize("interval_s", [0, -1, 0.6, float("nan")])
def test_an_interval_that_would_always_be_late_is_refused(path: Path, interval_s: float) -> None:
    with pytest.raises(InvalidRequest, match="interval_s"):
        Sentinel(path, interval_s=interval_s)


def test_a_listener_may_close_its_sentinel(path: Path) -> None:
    closed = threading.Event()

    def close(state: SentinelState) -> None:
        sentinel.close()
        closed.set()

    sentinel = Sentinel(path, interval_s=0.01, on_change=close)
    put(path, "")
    assert closed.wait(10)
    assert sentinel.refusal(NAMES)


def test_without_a_listener_a_file_stops_all_the_same(path: Path) -> None:
    with Sentinel(path, interval_s=0.01) as sentinel:
        put(path, "agent:billing-bot")
        until(lambda: sentinel.refusal(NAMES) is not None)
