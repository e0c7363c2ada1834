"""The daemon's drills: a real daemon, real enforcement points in this process, one of them broken on purpose."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from killswitch import Guard, Keyring
from killswitch.drills.drill_record import Drill
from monitor.kill.drill_log import DrillLog, read_line
from monitor.kill.drills import Drills, drill_alert
from tests.killswitch.test_drill_record import DRILL, KEYRING, SIGNER, bad
from tests.monitor.daemons import FAST_CONFIG, RunningDaemon

OFTEN = FAST_CONFIG.replace("interval_s = 0.0", "interval_s = 2.0")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path / "state", OFTEN) as running:
        yield running


def status(daemon: RunningDaemon) -> dict[str, Any]:
    from websockets.sync.client import connect

    url = daemon.url.replace("http", "ws") + "/v1/feed"
    with connect(url, additional_headers={"Authorization": f"Bearer {daemon.tokens['on-call']}"}) as feed:
        while True:
            message = json.loads(feed.recv(timeout=10))
            if message["type"] == "status":
                found: dict[str, Any] = message["status"]
                return found


def is_ready(daemon: RunningDaemon) -> bool:
    return daemon.metric("killcord_kill_ready") == 1


def test_points_are_drilled_and_the_daemon_says_that_it_is_ready(daemon: RunningDaemon) -> None:
    assert not is_ready(daemon)
    assert daemon.metric("killcord_drill_age_seconds") == float("inf")
    with (
        Guard.connect(daemon.redis_url, name="first"),
        Guard.connect(daemon.redis_url, name="second") as guard,
    ):
        daemon.wait_for(lambda: is_ready(daemon), "the first drill")
        told = status(daemon)
        assert (told["kill_ready"], told["kill_ready_why"]) == (True, "")
        assert (told["last_drill"]["passed"], told["last_drill"]["points"]) == (True, 2)
        assert 0 < told["last_drill"]["p50_ms"] <= told["last_drill"]["p99_ms"]
        assert daemon.metric("killcord_drill_failures_total") == 0
        assert daemon.metric("killcord_drill_age_seconds") < 10
        daemon.wait_for(lambda: daemon.metric("killcord_kill_latency_seconds_count") >= 2, "the latencies")
        guard.check(agent="billing-bot")
    daemon.wait_for(lambda: not is_ready(daemon), "that nobody is left")
    daemon.wait_for(
        lambda: "no enforcement point lives" in status(daemon)["kill_ready_why"], "the status that says so"
    )
    assert daemon.get("/v1/agents")["agents"] == []
    assert daemon.get("/v1/alerts")["alerts"] == []


def test_each_drill_is_kept_signed_and_survives_the_daemon(daemon: RunningDaemon) -> None:
    with Guard.connect(daemon.redis_url, name="first"):
        daemon.wait_for(lambda: is_ready(daemon), "the first drill")
        keyring = Keyring.load(daemon.state / "keyring.json")
        kept = DrillLog(daemon.state / "drills.ndjson", None, keyring).last(10)
        assert kept[0].signed_by == "daemon"
        assert kept[0].drill.verdict == "passed"
        daemon.kill()
        daemon.start()
        daemon.wait_for(lambda: is_ready(daemon), "what the last daemon knew, or a new drill")


def test_a_point_that_does_not_stop_raises_one_alert(daemon: RunningDaemon) -> None:
    program = f"""
import sys, threading
from killswitch import Guard
guard = Guard.connect({daemon.redis_url!r}, name="broken", lease_s=60)
guard._follower.refuses = lambda target: False
print("ready", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as broken:
        assert broken.stdout is not None
        assert broken.stdout.readline() == "ready\n"
        daemon.wait_for(lambda: daemon.metric("killcord_drill_failures_total") >= 2, "two drills that fail")
        assert not is_ready(daemon)
        (group,) = daemon.get("/v1/alerts")["alerts"]
        alert = group["alert"]
        broken.communicate()
    assert (alert["verdict"], alert["severity"]) == ("drill_failed", "critical")
    assert "broken" in alert["title"]
    assert "would still have allowed the canary" in alert["reasons"][0]["sentence"]


def test_a_failure_is_told_once_and_again_when_it_is_another(tmp_path: Path) -> None:
    drills = Drills(DrillLog(tmp_path / "drills.ndjson"))
    failed = replace(DRILL, points=(bad(),))
    other = replace(DRILL, points=(bad(), replace(bad(), id="id-3")))
    story = [failed, failed, other, failed, DRILL, failed]
    assert [drills.is_news(drill) for drill in story] == [True, False, True, False, False, True]
    unreachable: Drill = replace(DRILL, points=(), problem="no store")
    assert [drills.is_news(unreachable) for _ in range(2)] == [True, False]


def test_after_a_failure_the_next_drill_comes_sooner(tmp_path: Path) -> None:
    drills = Drills(DrillLog())
    assert drills.next_after_s(3600) == 3600
    for failed, expected_s in ((1, 60), (2, 120), (3, 240), (7, 3600), (99, 3600)):
        drills.failed_in_a_row = failed
        assert drills.next_after_s(3600) == expected_s


def test_a_hundred_failing_points_are_one_alert_of_bounded_size() -> None:
    many = replace(DRILL, points=tuple(replace(bad(), id=str(number)) for number in range(100)))
    alert = drill_alert(many, 1e9)
    assert "100 of 100 enforcement points failed" in alert.title
    assert len(alert.reasons) == 20
    assert alert.id != drill_alert(replace(many, id="another"), 1e9).id


def test_the_log_gives_back_what_was_kept_newest_first(tmp_path: Path) -> None:
    kept = DrillLog(tmp_path / "drills.ndjson", SIGNER, KEYRING)
    assert kept.newest() is None
    drills = [replace(DRILL, id=f"d{number}", at_s=float(number)) for number in range(5)]
    for drill in drills:
        assert kept.add(drill).signed_by == "daemon"
    assert [each.drill.id for each in kept.last(3)] == ["d4", "d3", "d2"]
    assert {each.signed_by for each in kept.last(9)} == {"daemon"}
    kept.add(replace(DRILL, id="one", only="billing"))
    newest = kept.newest()
    assert newest is not None
    assert newest.id == "d4"  # the drill of one point says nothing of the fleet


def test_the_log_outlives_torn_ends_and_junk(tmp_path: Path) -> None:
    file = tmp_path / "drills.ndjson"
    kept = DrillLog(file, SIGNER, KEYRING)
    kept.add(DRILL)
    with file.open("ab") as raw:
        raw.write(b'{"v":1,"evid')
    kept.add(replace(DRILL, id="after"))
    with file.open("ab") as raw:
        raw.write(b'[]\n{"evidence":7}\n\xff\n')
    assert [each.drill.id for each in kept.last(9)] == ["after", "d1"]
    assert read_line(b"", None) is None


def test_a_changed_line_is_signed_by_nobody(tmp_path: Path) -> None:
    file = tmp_path / "drills.ndjson"
    DrillLog(file, SIGNER, KEYRING).add(DRILL)
    file.write_bytes(file.read_bytes().replace(b"alice", b"mallo"))
    assert [each.signed_by for each in DrillLog(file, None, KEYRING).last(9)] == [""]


def test_the_log_begins_anew_before_it_grows_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.kill.drill_log.MAX_BYTES", 2000)
    monkeypatch.setattr("monitor.kill.drill_log.TAIL_BYTES", 1500)
    kept = DrillLog(tmp_path / "drills.ndjson", SIGNER, KEYRING)
    for number in range(9):
        kept.add(replace(DRILL, id=f"d{number}"))
    assert (tmp_path / "drills.1.ndjson").exists()
    assert (tmp_path / "drills.ndjson").stat().st_size < 4000
    newest = kept.newest()
    assert newest is not None
    assert newest.id == "d8"


def test_without_a_file_the_drills_of_this_process_are_known() -> None:
    kept = DrillLog()
    kept.add(DRILL)
    assert [(each.drill, each.signed_by) for each in kept.last(2)] == [(DRILL, "")]
    assert kept.newest() == DRILL
