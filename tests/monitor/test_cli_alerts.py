"""`killcord alerts`, `mute`, `mutes` and `unmute` as they are run, against a real daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitor.live.messages import alert_message
from monitor.log.segments import Record, SegmentedLog
from tests.monitor.alerts import alert
from tests.monitor.daemons import RunningDaemon

Run = Callable[..., subprocess.CompletedProcess[str]]
EVIL = "evil\x1b[2J\u202e\nbot"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon whose feed holds alerts from before it was started."""
    state = tmp_path_factory.mktemp("cli") / "state"
    log = SegmentedLog(state / "feed")
    alerts = [alert(number, agent=f"agent-{number}") for number in range(1, 9)]
    for each in (*alerts, alert(9, agent=EVIL), alert(10, agent="agent-1")):
        log.append(Record(msgspec.json.encode({**alert_message(each), "group": None})))
    log.sync()
    log.close()
    with RunningDaemon(state) as running:
        yield running


@pytest.fixture
def run(daemon: RunningDaemon) -> Run:
    def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", "monitor.cli", command, "--state", str(daemon.state), *arguments]
        return subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)

    return run


def listed(run: Run, *arguments: str) -> dict[str, Any]:
    done = run("alerts", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {group["id"]: group for group in json.loads(done.stdout)["alerts"]}


def test_alerts_are_listed_and_filtered(run: Run) -> None:
    done = run("alerts", "agent:agent-1,agent-2")
    head, *rows = done.stdout.splitlines()
    assert head.split() == [
        "ID",
        "LAST",
        "SEVERITY",
        "COUNT",
        "STATE",
        "ASSIGNEE",
        "AGENT",
        "SIGNAL",
        "TITLE",
    ]
    assert [row.split()[0] for row in rows] == ["al-1", "al-2"]
    assert "×2" in rows[0]
    assert run("alerts", "agent:nobody").stdout == "no alerts\n"
    assert list(listed(run, "--", "-agent:agent-*")) == ["al-9"]


def test_what_an_agent_chose_does_nothing_to_the_terminal(run: Run) -> None:
    out = run("alerts").stdout
    assert "evil·[2J··bot" in out
    assert out.replace("\n", "").isprintable()


def test_a_life_from_the_command_line(run: Run) -> None:
    assert run("alerts", "ack", "al-3", "al-4").returncode == 0
    assert run("alerts", "assign", "al-3", "--to", "bob", "--comment", "yours").returncode == 0
    assert run("alerts", "comment", "al-3", "--comment", "looking").returncode == 0
    again = run("alerts", "ack", "al-3", "al-5")
    assert again.returncode == 1, "one was refused"
    assert (again.stdout, "al-3: refused: " in again.stderr) == ("al-5: acknowledge, done\n", True)
    assert run("alerts", "close", "al-3", "--reason", "duplicate").returncode == 0
    found = listed(run, "id:al-3")["al-3"]
    assert (found["state"], found["reason"], found["assignee"], found["comments"]) == (
        "closed", "duplicate", "bob", 2,
    )  # fmt: skip
    assert "al-3" not in listed(run), "closed alerts are not listed unless asked for"
    assert run("alerts", "reopen", "al-3").returncode == 0
    assert run("alerts", "assign", "al-3", "--to-nobody").returncode == 0
    assert listed(run, "id:al-3")["al-3"]["assignee"] is None


def test_a_mute_from_the_command_line(run: Run) -> None:
    made = run("mute", "agent-7", "tool", "--for", "8h", "--reason", "a known migration", "--json")
    mute = json.loads(made.stdout)
    assert mute["until"] - mute["at"] == pytest.approx(8 * 3600)
    assert mute["id"] in run("mutes").stdout
    assert "al-7" not in listed(run)
    assert listed(run, "state:muted")["al-7"]["muted_by"] == mute["id"]
    assert run("mute", "agent-7", "tool", "--for", "1h", "--reason", "x").returncode == 1
    assert run("unmute", mute["id"]).returncode == 0
    assert run("unmute", mute["id"]).returncode == 1
    assert run("mutes").stdout == "nothing is muted\n"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("alerts", "ack"), "ID"),
        (("alerts", "close", "al-1"), "--reason"),
        (("alerts", "close", "al-1", "--reason", "bored"), "--reason"),
        (("alerts", "assign", "al-1"), "--to"),
        (("alerts", "colour:red"), "colour"),
        (("alerts", "--comment", "x"), "--comment"),
        (("mute", "agent-1", "tool", "--for", "long", "--reason", "x"), "--for"),
        (("mute", "agent-1", "tool", "--for", "1h"), "--reason"),
    ],
)
def test_a_wrong_use_names_what_is_wrong(run: Run, arguments: tuple[str, ...], names: str) -> None:
    done = run(*arguments)
    assert (done.returncode, names in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("alerts", "comment", "al-1"), "comment"),
        (("alerts", "ack", "al-1", "--reason", "benign"), "reason"),
        (("alerts", "ack", "al-77"), "al-77"),
        (("mute", "agent-1", "tool", "--for", "31d", "--reason", "x"), "for_s"),
        (("mute", "agent-1", "kill switch", "--for", "1d", "--reason", "x"), "signal"),
    ],
)
def test_what_the_daemon_refuses_is_told_in_its_words(
    run: Run, arguments: tuple[str, ...], names: str
) -> None:
    done = run(*arguments)
    assert (done.returncode, names in done.stderr) == (1, True), done.stderr


def test_without_a_daemon_it_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monitor.cli", "alerts", "ack", "al-1", "--state", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 3
