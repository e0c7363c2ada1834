"""The feed benchmark: its reading of what came, and one small real run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.feed_viewers import frames
from monitor.live.frames import text_frame

TEXTS = [b"short", b"x" * 126, b"y" * 70_000, b""]


def test_frames_of_every_length_are_read_and_end_where_they_end() -> None:
    data = b"".join(map(text_frame, TEXTS))
    found = list(frames(data))
    assert [text for text, _ in found] == TEXTS
    assert [data[end - len(text) : end] for text, end in found] == TEXTS
    assert found[-1][1] == len(data)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 100, 128])
def test_a_frame_that_is_cut_off_is_not_there(cut: int) -> None:
    data = text_frame(b"whole")
    assert [text for text, _ in frames(data + text_frame(b"x" * 126)[:cut])] == [b"whole"]


def test_pings_are_no_messages() -> None:
    ping = b"\x89\x04ping"  # RFC 6455 §5.5.2
    assert [text for text, _ in frames(ping + text_frame(b"text") + ping)] == [b"text"]


@pytest.mark.redis
@pytest.mark.timeout(240)
def test_a_small_run_loses_nothing_and_gets_a_reader_stuck() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.feed", "--quick", "--json"],
        capture_output=True,
        text=True,
        timeout=220,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["lost"], found["repeated"]) == (0, 0)
    assert [row["n"] for row in found["clients"]] == [1, 10]
    for row in found["clients"]:
        assert row["lost"] == row["broadcast_lost"] == 0
        for name in ("per_cpu_s", "p50_ms", "p99_ms"):
            assert row[name] > 0
            assert row[f"broadcast_{name}"] > 0
        assert abs(row["alert_bytes"] - row["broadcast_alert_bytes"]) <= 2, "not the same payload"
    assert found["ratio_to_broadcast"] > 0
    assert found["rss_growth_mb"] == found["stuck"]["rss_growth_mb"] >= 0
    assert min(found["stuck"]["told_missed"]) > 0, "it was not stuck"
    assert found["pipeline"].keys() >= {"alone_per_s", "watched_per_s", "ratio"}
    assert found["clock"]
    assert found["machine"]["cores"] >= 1
