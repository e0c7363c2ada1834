"""The replay benchmark: its judgement of alerts, and one real run over a small recording of our own making."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.labelled import Label, judge_alerts, read_labels
from tests.kafka import stories


def labels(*codes: str) -> list[Label]:
    """``a1!`` is an attack action in session 1 of agent a, ``a1`` a benign one."""
    return [Label(code[0], code[1], code.endswith("!")) for code in codes]


def judged(alerted: set[str], *codes: str) -> dict[str, Any]:
    return judge_alerts([str(number) for number in range(len(codes))], labels(*codes), alerted)


def test_a_session_is_found_by_any_of_its_attack_actions() -> None:
    result = judged({"2"}, "a1!", "a1!", "a1!", "b2!")
    assert (result["attack_sessions"], result["attack_sessions_alerted"]) == (2, 1)
    assert (result["attack_actions"], result["attack_actions_alerted"]) == (4, 1)
    assert result["attack_actions_before_alert_median"] == 2


def test_benign_actions_after_the_first_attack_action_count_neither_way() -> None:
    result = judged({"0", "2", "4"}, "a1", "a1!", "a1", "a2", "b1")
    assert result["benign_actions"] == 3
    assert result["benign_actions_not_counted"] == 1
    assert result["false_alerts"] == 2
    assert result["false_alerts_per_1000_benign"] == pytest.approx(666.6667)
    assert result["attack_sessions_alerted"] == 0


def test_sessions_of_two_agents_with_one_name_are_two_sessions() -> None:
    assert judged(set(), "a1!", "b1!")["attack_sessions"] == 2


def test_a_stream_without_attacks_has_no_recall() -> None:
    result = judged(set(), "a1", "a1")
    assert (result["attack_session_recall"], result["false_alerts_per_1000_benign"]) == (None, 0)


def test_labels_must_match_the_actions() -> None:
    with pytest.raises(ValueError, match="zip"):
        judge_alerts(["1", "2"], labels("a1"), set())


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    work = stories.work(seed=3, agents=5, rounds=300)
    bad = [{**action, "label": "attack"} for action in stories.hijack("clerk-1", work)]
    lines = [json.dumps({"label": "benign", **action}) for action in [*work, *bad]]
    (tmp_path / "actions.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return tmp_path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.replay", *arguments], capture_output=True, text=True, timeout=110
    )


@pytest.mark.redis
def test_a_hijack_in_a_recording_is_found_by_a_real_daemon(recording: Path) -> None:
    done = run("--stream", str(recording), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["accepted"], result["rejected"], result["dropped"]) == (1504, 0, 0)
    assert result["labels"]["attack_sessions_alerted"] == result["labels"]["attack_sessions"] == 1
    assert result["labels"]["benign_actions"] == 1500
    assert result["alerted_actions"] >= result["labels"]["attack_actions_alerted"] >= 1
    assert (result["refused_by_guard"], result["guard"]["connected"]) == (0, True)
    assert result["actions_per_s"] > 0


def test_without_a_recording_it_says_what_to_give(tmp_path: Path) -> None:
    assert run().returncode == 2
    done = run("--stream", str(tmp_path))
    assert done.returncode == 2
    assert "is no recording" in done.stderr


def test_a_recording_without_labels_has_none(tmp_path: Path) -> None:
    plain = tmp_path / "actions.jsonl"
    plain.write_text(json.dumps({"agent_id": "a", "tool": "t"}) + "\n")
    assert read_labels(plain) is None
