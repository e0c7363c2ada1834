"""The chaos benchmark: its judgement, its record, and a short real run."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos_judge import Kill, judge, longest_allow_ns
from benchmarks.chaos_record import ALLOWED, BARRED, REVOKED, Reading, Recorder, Run

TARGET = 7
STARTED = {0: 0, 1: 150, 2: 1_000}


def kill(*, asked: int = 100, until: float = math.inf, is_first: bool = True) -> Kill:
    return Kill(TARGET, asked, asked, asked + 10, until, "switch, confirmed", is_first)


def run(answer: int, first: int, last: int, instance: int = 0) -> Run:
    return Run("point", instance, TARGET, answer, first, first, last)


def violation(the_kill: Kill, *runs: Run) -> str | None:
    finding = judge(the_kill, runs, STARTED, lease_ns=1_000, slack_ns=50)
    return None if finding is None else finding.violation


def test_allowing_within_the_lease_keeps_the_promise() -> None:
    assert violation(kill(), run(ALLOWED, 0, 1_150), run(REVOKED, 1_160, 9_000)) is None
    assert longest_allow_ns(kill(), [run(ALLOWED, 0, 1_150)], since_ns=100) == 1_050


def test_allowing_beyond_the_lease_is_late() -> None:
    assert violation(kill(), run(ALLOWED, 0, 1_151), run(REVOKED, 1_160, 9_000)) == "late"
    assert (
        violation(kill(), run(ALLOWED, 0, 50), run(BARRED, 51, 2_000), run(ALLOWED, 2_001, 2_002)) == "late"
    )


def test_allowing_again_after_having_refused_is_a_wrong_restore() -> None:
    assert (
        violation(kill(), run(ALLOWED, 0, 100), run(REVOKED, 110, 200), run(ALLOWED, 210, 220))
        == "wrong restore"
    )


def test_a_point_that_was_started_after_the_confirmation_may_never_allow() -> None:
    assert violation(kill(), run(ALLOWED, 160, 170, instance=1)) == "wrong restore"


def test_what_is_allowed_after_a_restoration_was_asked_is_right() -> None:
    restored = kill(until=500)
    assert violation(restored, run(REVOKED, 110, 510), run(ALLOWED, 520, 9_000)) is None
    assert violation(restored, run(REVOKED, 110, 490), run(ALLOWED, 495, 9_000)) == "wrong restore"


def test_a_check_that_lasted_until_after_the_restoration_was_asked_proves_nothing() -> None:
    slow = Run("point", 0, TARGET, ALLOWED, 495, 530, 9_000)
    assert violation(kill(until=500), run(REVOKED, 110, 490), slow) is None


def test_a_refusal_that_may_be_of_an_earlier_kill_proves_no_enforcement() -> None:
    again = kill(is_first=False)
    assert violation(again, run(REVOKED, 110, 120), run(ALLOWED, 130, 140), run(REVOKED, 150, 900)) is None
    assert violation(again, run(REVOKED, 110, 120), run(ALLOWED, 130, 1_200)) == "late"


def test_the_record_outlives_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "record"
    reading = Reading(path, "point", 0)
    recorder = Recorder(path)
    recorder.watch([3, TARGET])
    recorder.note(1, ALLOWED, 10, 11)
    recorder.note(1, ALLOWED, 20, 21)
    recorder.note(1, REVOKED, 30, 32)
    assert reading.ended() == [Run("point", 0, TARGET, ALLOWED, 10, 11, 20)]
    assert reading.current() == [Run("point", 0, TARGET, REVOKED, 30, 32, 30)]
    recorder.watch([])
    assert reading.ended() == [Run("point", 0, TARGET, REVOKED, 30, 32, 30)]
    assert reading.current() == []


@pytest.mark.redis
def test_a_short_run_keeps_every_promise() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", "--rounds", "3", "--points", "4", "--json", "--no-thefts"],
        capture_output=True,
        text=True,
        timeout=115,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["rounds"] == 3
    assert result["kills"] > 0
    zeros = ("lost_kills", "wrong_restores", "late_beyond_lease", "stuck_refusals")
    assert {name: result[name] for name in zeros} == dict.fromkeys(zeros, 0)
