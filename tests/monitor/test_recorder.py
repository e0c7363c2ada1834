"""The recorder: everything that its logs hold, once, in order, whatever dies."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from monitor.config import RecordSettings
from monitor.errors import RecordUnavailable
from monitor.live.messages import alert_message
from monitor.log import entries
from monitor.log.audit import Entry as Act
from monitor.log.entries import Actions
from monitor.log.segments import Record, SegmentedLog
from monitor.record.entry import decode_content, decode_leaf
from monitor.record.host import RecorderHost
from monitor.record.keys import known_key
from monitor.record.query import Query, matching
from monitor.record.reader import Reader
from monitor.record.recorder import Recorder, Scores
from monitor.record.store import Store
from monitor.record.verify import verify
from tests.monitor.alerts import alert
from tests.monitor.streams import habits

NOW_S = 1_795_000_000.0
SETTINGS = RecordSettings(checkpoint_interval_s=0.2)


class Logs:
    """The logs that a daemon would write, in a state directory."""

    def __init__(self, state: Path) -> None:
        self.actions = SegmentedLog(state / "log")
        self.feed = SegmentedLog(state / "feed")
        self.acts = SegmentedLog(state / "audit")
        self.count = 0

    def act(self, count: int) -> int:
        """Have so many actions acknowledged together; return the number of the first."""
        made = [replace(one, task="Pay the invoice") for one in habits(count, first=self.count)]
        self.count += count
        (first,) = self.actions.append(Record(entries.encode(Actions(NOW_S, made)), count))
        self.actions.sync()
        return first

    def alert(self) -> int:
        payload = json.dumps(alert_message(alert(1))).encode()
        (seq,) = self.feed.append(Record(payload))
        self.feed.sync()
        return seq

    def do(self, what: str) -> int:
        act = Act(NOW_S, "alice", "analyst", "127.0.0.1", what, "agent:agent-0", "done", {})
        (seq,) = self.acts.append(Record(msgspec.json.encode(act)))
        self.acts.sync()
        return seq


def told(record: Path) -> list[dict[str, object]]:
    """Return what the record holds, oldest first, without what it says of itself."""
    leaves = [decode_leaf(found.leaf) for found in Reader(record).entries()]
    return [leaf for leaf in leaves if leaf["type"] != "record"]


def ids(record: Path) -> list[str]:
    return [str(leaf["event_id"]) for leaf in told(record)]


def test_every_source_is_recorded_up_to_where_it_may_be_read(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.act(3)
    logs.alert()
    logs.do("GET /v1/agents")
    with Store(tmp_path / "record") as store:
        recorder = Recorder(tmp_path, store)
        assert recorder.record() == 0
        recorder.may_read("actions", 3)
        recorder.may_read("feed", 1)
        recorder.may_read("acts", 1)
        assert recorder.record() == 5
        assert recorder.record() == 0
    assert ids(tmp_path / "record") == ["action-1", "action-2", "action-3", "feed-1", "act-1"]


def test_actions_have_the_scores_that_were_told_and_their_task_in_the_content(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    first = logs.act(2)
    logs.act(1)
    with Store(tmp_path / "record") as store:
        recorder = Recorder(tmp_path, store)
        recorder.scored(first, Scores([0.25, float("nan")], [0.0, 1.5]))
        assert recorder.record() == 2
        recorder.may_read("actions", 3)
        assert recorder.record() == 1
    scored, unscored, missed = told(tmp_path / "record")
    assert scored["risk"] == {"p": 0.25, "evidence": 0.0}
    assert unscored["risk"] == {"evidence": 1.5}
    assert "risk" not in missed


def test_a_new_recorder_goes_on_where_the_record_ends(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    for _ in range(3):
        logs.act(5)
        with Store(tmp_path / "record") as store:
            recorder = Recorder(tmp_path, store)
            recorder.may_read("actions", logs.count)
            while recorder.record():
                pass
    assert ids(tmp_path / "record") == [f"action-{number}" for number in range(1, 16)]


def test_a_state_that_was_brought_back_from_an_older_copy_is_recorded_from_where_it_ends(
    tmp_path: Path,
) -> None:
    logs = Logs(tmp_path)
    logs.act(5)
    with Store(tmp_path / "record") as store:
        store.append([], {})
        recorder = Recorder(tmp_path, store)
        recorder.may_read("actions", 5)
        recorder.record()
    logs.actions.close()
    for segment in (tmp_path / "log").glob("*.seg"):
        segment.unlink()
    again = Logs.__new__(Logs)
    again.actions, again.count = SegmentedLog(tmp_path / "log"), 0
    again.act(2)
    with Store(tmp_path / "record") as store:
        recorder = Recorder(tmp_path, store)
        recorder.may_read("actions", 2)
        recorder.record()
        recorder.record()
        again.act(1)
        recorder.may_read("actions", 3)
        recorder.record()
    assert ids(tmp_path / "record")[-1] == "action-3"
    kinds = [
        decode_leaf(found.leaf)["record"]["kind"]
        for found in matching(Reader(tmp_path / "record"), Query(("type:record",)))
    ]
    assert kinds == ["source_restored"]


# -- the process ----------------------------------------------------------------------------------------------------


async def until(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        await asyncio.sleep(0.02)


async def test_the_process_records_signs_and_says_how_far_it_is(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    async with RecorderHost(tmp_path, SETTINGS) as host:
        first = logs.act(10)
        host.scored(first, [0.5] * 10, [0.0] * 10)
        await until(lambda: host.recorded.cursors.get("actions") == 10)
        assert host.behind == 0
        host.may_read("feed", logs.alert())
        await until(lambda: host.recorded.size == 11)
        await until(lambda: host.recorded.checkpoint_size == 11)
        host.may_read("acts", logs.do("POST /v1/revocations"))
    key = known_key(tmp_path)
    assert key is not None
    report = verify(tmp_path / "record", [key])
    assert (report.problems, report.size) == ([], 12)
    assert report.newest is not None
    assert report.newest.size == 12  # signed once more at the end


async def test_a_recorder_that_was_killed_is_started_again_and_misses_nothing(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    async with RecorderHost(tmp_path, SETTINGS) as host:
        for _ in range(3):
            first = logs.act(100)
            host.scored(first, [0.5] * 100, [0.0] * 100)
            await asyncio.sleep(0.1)
            restarts = host.restarts
            assert host._process is not None
            host._process.send_signal(signal.SIGKILL)
            host.scored(logs.act(7), [0.5] * 7, [0.0] * 7)
            await until(lambda restarts=restarts: host.restarts > restarts)  # type: ignore[misc]
        await until(lambda: host.recorded.cursors.get("actions") == logs.count)
        assert host.trouble == ""
    assert ids(tmp_path / "record") == [f"action-{number}" for number in range(1, logs.count + 1)]


async def test_somebody_is_forgotten(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    async with RecorderHost(tmp_path, SETTINGS) as host:
        host.scored(logs.act(20), [0.5] * 20, [0.0] * 20)
        count = await host.forget("agent:agent-1", "alice@example.com", "she asked")
    theirs = list(matching(Reader(tmp_path / "record"), Query(("agent:agent-1", "type:action"))))
    assert count == len(theirs) == 5
    for found in Reader(tmp_path / "record").entries():
        is_left = b'"content"' in found.leaf and found.number not in [one.number for one in theirs]
        assert bool(decode_content(found.content).get("task")) == is_left
    key = known_key(tmp_path)
    assert key is not None
    assert verify(tmp_path / "record", [key]).problems == []


async def test_a_record_that_was_tampered_with_is_set_aside_and_said_so(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    async with RecorderHost(tmp_path, SETTINGS) as host:
        host.scored(logs.act(20), [0.5] * 20, [0.0] * 20)
    (tmp_path / "record" / "pruned").write_bytes(b"\0" * 32)  # as if 65,536 entries had been deleted
    heard: list[str] = []
    async with RecorderHost(tmp_path, SETTINGS) as host:
        host.tell_set_aside(lambda told: heard.append(told.why))
        host.may_read("actions", 20)
        await until(lambda: host.recorded.cursors.get("actions") == 20)
    assert len(heard) == 1
    assert "missing" in heard[0]
    assert len(list(tmp_path.glob("record.damaged-*"))) == 1
    assert ids(tmp_path / "record") == [f"action-{number}" for number in range(1, 21)]


async def test_nothing_waits_for_a_recorder_that_cannot_run(tmp_path: Path) -> None:
    (tmp_path / "record").write_bytes(b"")
    async with RecorderHost(tmp_path, SETTINGS) as host:
        await until(lambda: "status" in host.trouble)
        host.scored(1, [0.5], [0.0])
        with pytest.raises(RecordUnavailable):
            await host.forget("agent:a", "alice", "asked")
        (tmp_path / "record").unlink()
        Logs(tmp_path).act(1)
        await until(lambda: host.recorded.cursors.get("actions") == 1)


async def test_each_checkpoint_is_handed_to_the_operators_command(tmp_path: Path) -> None:
    out = tmp_path / "elsewhere"
    settings = RecordSettings(
        checkpoint_interval_s=0.1, checkpoint_command=("sh", "-c", f"cat > {out}.new && mv {out}.new {out}")
    )
    logs = Logs(tmp_path)
    async with RecorderHost(tmp_path, settings) as host:
        host.scored(logs.act(3), [0.5] * 3, [0.0] * 3)
        await until(out.exists)
    assert out.read_bytes() == (tmp_path / "record" / "checkpoint").read_bytes()
