"""`killcord drill`, `status` and `kill` as they are run: real processes against a real daemon and real points."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults import Server
from killswitch import Guard, Keyring
from tests.killswitch.conftest import refuses, until
from tests.monitor.daemons import RunningDaemon

Run = Callable[..., subprocess.CompletedProcess[str]]
WHY = ("--reason", "test", "--by", "tester")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path_factory.mktemp("cli") / "state") as running:
        yield running


@pytest.fixture
def guard(daemon: RunningDaemon) -> Iterator[Guard]:
    with Guard.connect(daemon.redis_url, name="billing", serves=("agent:billing-bot",)) as guard:
        yield guard


@pytest.fixture
def run(daemon: RunningDaemon) -> Run:
    def run(*arguments: str, state: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "monitor.cli", *arguments, "--state", str(state or daemon.state)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_a_drill_that_passes_says_so_in_a_table(run: Run, guard: Guard, daemon: RunningDaemon) -> None:
    done = run("drill", "--by", "tester")
    assert done.returncode == 0, done.stderr
    assert "billing (" in done.stdout
    assert "PASSED: The one enforcement point refused a revoked canary within" in done.stdout
    assert run("status").stdout.splitlines()[-1].startswith("ready for a kill: ")
    assert daemon.get("/v1/revocations")["revocations"] == []


def test_a_drills_evidence_and_reports_are_written_and_verified(
    run: Run, guard: Guard, tmp_path: Path
) -> None:
    evidence, html, markdown = (tmp_path / name for name in ("drill.json", "drill.html", "drill.md"))
    done = run("drill", "--json", "--report", str(html), "--evidence", str(evidence), "--by", "tester")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["passed"], told["signed_by"], told["by"]) == (True, "daemon", "tester")
    assert told["points"][0]["serves"] == ["agent:billing-bot"]
    assert "under 60 seconds" in html.read_text()
    assert run("drill", "--report", str(markdown)).returncode == 0
    assert "**Yes.**" in markdown.read_text()
    verified = run("drill", "--verify", str(evidence))
    assert (verified.returncode, verified.stdout.split(";")[0]) == (0, "signed by daemon (daemon)")
    evidence.write_bytes(evidence.read_bytes().replace(b'"tester"', b'"nobody"'))
    changed = run("drill", "--verify", str(evidence))
    assert changed.returncode == 1
    assert changed.stdout.startswith("NOT VERIFIED")


def test_the_log_of_drills_is_verified_line_by_line(
    run: Run, guard: Guard, daemon: RunningDaemon, tmp_path: Path
) -> None:
    assert run("drill").returncode == 0
    keyring = str(daemon.state / "keyring.json")
    arguments = ("drill", "--json", "--verify", str(daemon.state / "drills.ndjson"), "--keyring", keyring)
    found = run(*arguments, state=tmp_path / "elsewhere")
    assert found.returncode == 0, found.stderr
    assert all(each["verified"] for each in json.loads(found.stdout))


def test_what_is_no_evidence_is_refused(run: Run, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    for content in (b"", b"{}", b'{"v": 1, "evidence": 7}\n'):
        junk.write_bytes(content)
        refused = run("drill", "--verify", str(junk))
        assert refused.returncode == 1
        assert "killcord: " in refused.stderr
    assert run("drill", "--verify", str(tmp_path / "nothing")).returncode == 1
    assert run("drill", "--report", "report.pdf").returncode == 2


def test_a_drill_without_points_shows_nothing_and_fails(run: Run) -> None:
    done = run("drill")
    assert done.returncode == 1
    assert "NO POINTS: No live enforcement point" in done.stdout
    assert (
        run("status")
        .stdout.splitlines()[-1]
        .startswith("not known to be ready for a kill: no enforcement point")
    )


def test_a_point_that_would_not_stop_fails_the_drill(run: Run, guard: Guard, daemon: RunningDaemon) -> None:
    guard._follower.refuses = lambda target: False
    done = run("drill")
    assert done.returncode == 1
    assert "would still have allowed the canary" in done.stdout
    assert "did not pass" in run("status").stdout


def test_only_the_points_that_were_named_are_judged(run: Run, guard: Guard) -> None:
    assert run("drill", "--point", "billing").returncode == 0
    assert run("drill", "--point", "nobody").returncode == 1


def test_a_drill_of_another_store_says_nothing_about_the_daemons(
    run: Run, daemon: RunningDaemon, guard: Guard, tmp_path: Path
) -> None:
    other = Server(tmp_path / "valkey")
    before = (
        (daemon.state / "drills.ndjson").read_bytes() if (daemon.state / "drills.ndjson").exists() else b""
    )
    with Guard.connect(other.url, name="elsewhere"):
        done = run("drill", "--redis", other.url)
    other.close()
    assert "elsewhere" in done.stdout
    assert done.returncode == 0, (done.stdout, done.stderr)
    after = (
        (daemon.state / "drills.ndjson").read_bytes() if (daemon.state / "drills.ndjson").exists() else b""
    )
    assert after == before


def test_status_names_the_points_and_what_they_serve(run: Run, guard: Guard) -> None:
    assert "  billing (" in (text := run("status").stdout)
    assert "serves agent:billing-bot" in text
    told: dict[str, Any] = json.loads(run("status", "--json").stdout)
    assert [point["serves"] for point in told["points"] if point["name"] == "billing" and point["live"]] == [
        ["agent:billing-bot"]
    ]
    assert isinstance(told["kill_ready"], bool)


def test_a_kill_names_who_confirmed_with_both_latencies(run: Run, guard: Guard) -> None:
    done = run("kill", "agent:x", *WHY, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["contained"], told["missing"], told["contrary"]) == (0, True, [], [])
    (latency,) = told["latencies"]
    assert latency["point"].startswith("billing (")
    assert latency["writer_ms"] > 0
    assert latency["own_ms"] is not None
    assert run("restore", "agent:x", *WHY).returncode == 0


def test_a_kill_that_nobody_is_known_to_enforce_is_not_done(run: Run) -> None:
    done = run("kill", "agent:y", *WHY)
    assert done.returncode == 1
    assert "nobody is known to enforce this" in done.stdout
    assert run("restore", "agent:y", *WHY).returncode == 0
    assert run("kill", "agent:y", *WHY, "--allow-no-points").returncode == 0
    assert run("restore", "agent:y", *WHY).returncode == 0


def test_a_point_with_a_keyring_passes_too(run: Run, daemon: RunningDaemon) -> None:
    keyring = Keyring.load(daemon.state / "keyring.json")
    with Guard.connect(daemon.redis_url, name="wary", keyring=keyring) as guard:
        until(lambda: not refuses(guard, agent="x"), 30.0)  # once the daemon has vouched for the state
        done = run("drill", "--point", "wary")
    assert done.returncode == 0, done.stdout
