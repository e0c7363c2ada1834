"""`killcord doctor` as it is run, on a daemon that runs, is frozen, is killed, and has a wrong configuration."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from killswitch import Guard
from monitor.doctor.checks import CHECKS
from tests.monitor.daemons import FAST_CONFIG, RunningDaemon
from tests.monitor.test_daemon import habits

Run = Callable[..., tuple[int, dict[str, dict[str, Any]]]]
ACTIONS = 1200


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path_factory.mktemp("doctor") / "state", FAST_CONFIG) as running:
        yield running


def doctor(state: Path, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit status, and what was found by the checks' names."""
    command = [sys.executable, "-m", "monitor.cli", "doctor", "--json", "--state", str(state), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["failed"] == sum(check["status"] == "fail" for check in told["checks"])
    return done.returncode, {check["name"]: check for check in told["checks"]}


def statuses(found: dict[str, dict[str, Any]], status: str) -> set[str]:
    return {name for name, check in found.items() if check["status"] == status}


def test_a_running_daemon_fails_in_nothing(daemon: RunningDaemon) -> None:
    with Guard.connect(daemon.redis_url, name="point-1"):
        daemon.send(habits(ACTIONS))
        daemon.wait_until_scored(ACTIONS)
        status, found = doctor(daemon.state)
    assert (status, statuses(found, "fail")) == (0, set())
    for name in (
        "daemon",
        "answers",
        "ready",
        "events",
        "store",
        "store-users",
        "points",
        "action-log",
        "config",
    ):
        assert found[name]["status"] == "ok", found[name]
    assert found["config"]["found"].endswith("state.toml is valid"), "it found the daemon's own configuration"
    assert "drills are turned off" in found["config-values"]["found"]


def test_people_read_only_what_is_wrong_unless_they_ask_for_all(daemon: RunningDaemon) -> None:
    def text(*options: str) -> str:
        command = [sys.executable, "-m", "monitor.cli", "doctor", "--state", str(daemon.state), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout

    short, long = text(), text("--all")
    assert "WARN keys: no operator is enrolled" in short
    assert "       → make keys for people with killcord keys new" in short
    assert "ok   daemon" not in short
    assert "ok   daemon: process" in long
    assert short.splitlines()[-1].startswith(f"{len(CHECKS)} checks: 0 failed, ")


def test_a_daemon_that_hangs_does_not_make_the_doctor_hang(daemon: RunningDaemon) -> None:
    os.kill(daemon.process.pid, signal.SIGSTOP)
    try:
        since_s = time.monotonic()
        status, found = doctor(daemon.state)
        assert time.monotonic() - since_s < 60
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)
    assert status == 1
    assert "does not answer" in found["answers"]["found"]
    assert found["store"]["status"] == "ok", "the store is another process"


def test_drills_that_stop_and_drills_that_fail_are_told(daemon: RunningDaemon) -> None:
    def drill() -> None:
        command = [
            sys.executable,
            "-m",
            "monitor.cli",
            "drill",
            "--state",
            str(daemon.state),
            "--timeout",
            "1",
        ]
        subprocess.run(command, capture_output=True, timeout=60, check=False)

    with Guard.connect(daemon.redis_url, name="point-1"):
        drill()
        assert doctor(daemon.state)[1]["drill"]["status"] == "ok"
        with Guard.connect(daemon.redis_url, name="newcomer"):
            found = doctor(daemon.state)[1]["drill"]
        assert (found["status"], "newcomer" in found["found"]) == ("warn", True)


def test_what_is_broken_while_the_daemon_is_down_is_all_told_at_once(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path / "state") as daemon:
        daemon.send(habits(200))
        daemon.wait_until_scored(200)
        daemon.request("POST", "/v1/actions", b'{"id": "1"}', role="sensor")
        daemon.kill()
        state = daemon.state
        state.chmod(0o755)
        (state / "journal" / "00000000000000000001-x.json.damaged").write_text("{")
        (state / "keyring.json").write_text("{")
        (state.with_suffix(".toml")).write_text("[server]\nhots = 1\n")
        (log := min((state / "log").glob("*.seg"))).write_bytes(b"hello" * 10 + log.read_bytes())
        status, found = doctor(state, "--config", str(state.with_suffix(".toml")))
        for path, content in ((state / "keyring.json", None), (log, log.read_bytes()[50:])):
            path.unlink() if content is None else path.write_bytes(content)
        (state.with_suffix(".toml")).write_text(FAST_CONFIG)
        daemon.start()
    assert status == 1
    assert statuses(found, "fail") == {"daemon", "state", "kept-kills", "keys", "config", "action-log"}
    assert found["dead-letters"]["status"] == "warn"
    assert all(found[name]["advice"] for name in (*statuses(found, "fail"), *statuses(found, "warn")))


def test_without_an_installation_there_is_nothing_to_examine(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monitor.cli", "doctor", "--state", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "no state directory" in done.stderr) == (3, True)
    assert not (tmp_path / "none").exists()
