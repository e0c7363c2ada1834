"""The embedded engine: durable before acknowledged, and after a crash as if there had been none."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from detectors import MemorySpill
from killswitch import Target
from killswitch.revocations import Change, Request
from killswitch.revocations import apply as applied
from monitor.config import Config
from monitor.core.pipeline import Pipeline
from monitor.engines import embedded, state_format
from monitor.errors import LogError, LogFailed
from monitor.intake.observation import Observation
from monitor.log.checkpoint import encode_state
from monitor.log.segments import Record
from tests.monitor.engines import Node, ingest, shown_alerts, uninterrupted, until
from tests.monitor.streams import ENFORCE, START_S, WARM, config, habits, observed, p_of, strange

SELDOM = "[log]\ncheckpoint_interval_s = 1e6\n"
ALWAYS = "[log]\ncheckpoint_interval_s = 1e-6\n"


def configured(response: str = ENFORCE, log: str = SELDOM) -> Config:
    return config(response, more=log)


def story() -> list[list[Observation]]:
    """Habits in batches of twenty, and then some with strange actions of several agents among them."""
    calm = [habits(20, first=first) for first in range(0, WARM, 20)]
    wild = [
        [*habits(20, first=WARM + 20 * n), *observed(strange(n, f"agent-{n % 3}", after=WARM + 20 * n))]
        for n in range(8)
    ]
    return [*calm, *wild]


def assert_same_state(pipeline: Pipeline, other: Pipeline) -> None:
    """Equal to the last bit, and so are the p-values that follow."""
    assert encode_state(pipeline.dump()) == encode_state(other.dump())
    more = habits(40, first=WARM + 400)
    assert p_of([pipeline.step(more, START_S)]) == p_of([other.step(more, START_S)])


def made(agent: str, kind: Any, epoch: int, change_id: str = "by-hand") -> Change:
    change = applied(
        None,
        Request(kind, Target("agent", agent), "because", "alice", change_id),
        epoch=epoch,
        now_s=time.time(),
    )
    assert change is not None
    return change


# -- recovery -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log", [SELDOM, ALWAYS], ids=["no checkpoint", "checkpoints"])
async def test_after_a_crash_everything_is_as_if_there_had_been_none(tmp_path: Path, log: str) -> None:
    parts, images = story(), []
    async with Node(tmp_path / "first", configured(log=log)) as node:
        for number, batch in enumerate(parts):
            await node.engine.ingest(batch)
            if number in (3, 31, 34, 37):
                images.append((number, node.image(tmp_path / f"image-{number}")))
    for number, image in images:
        async with Node(image, configured(log=log)) as again:
            assert again.engine.recovery.torn_bytes == 0
            await ingest(again, *parts[number + 1 :])
            await again.scored()
            recovered, actions = again.engine.pipeline, again.engine.actions
        expected, outcomes = uninterrupted(image, configured())
        assert_same_state(recovered, expected)
        assert actions == sum(len(batch) for batch in parts)
        wanted = [alert.id for outcome in outcomes for alert in outcome.alerts]
        assert len(wanted) >= 8
        assert shown_alerts(image) == wanted, "each alert once, in order"
        assert again.engine.alerts == len(wanted)


async def test_a_checkpoint_saves_the_replay(tmp_path: Path) -> None:
    parts = story()
    async with Node(tmp_path / "state", configured()) as node:
        await ingest(node, *parts[:-1])
    async with Node(tmp_path / "state", configured()) as again:
        recovery = again.engine.recovery
        assert (recovery.from_checkpoint, recovery.replayed, recovery.note) == (again.engine.seq, 0, "ok")
        assert (again.engine.actions, again.engine.alerts) == (node.engine.actions, node.engine.alerts)
        await ingest(again, parts[-1])
        await again.scored()
    assert_same_state(again.engine.pipeline, uninterrupted(tmp_path / "state", configured())[0])


async def test_alerts_and_kills_that_a_crash_swallowed_come_after_it(tmp_path: Path) -> None:
    async with Node(tmp_path / "first", configured()) as node:
        await ingest(node, *story()[:-1])
        await node.scored()
        node.effects.may_publish.clear()
        node.effects.publishing.clear()
        before = list(node.effects.alert_ids)
        await ingest(node, observed(strange(90, "agent-3", after=WARM + 200)))
        await node.effects.publishing.wait()  # on disk and acknowledged, and nobody has been told
        image = node.image(tmp_path / "image")
    async with Node(image, configured()) as again:
        assert len(again.effects.alert_ids) == 1
        assert again.effects.alert_ids[0] not in before
        # Every kill is asked for again: which of them reached the store is not known here, and it applies each once.
        assert again.effects.requests == node.effects.requests
        assert again.effects.requests[-1].target == "agent:agent-3"


async def test_kills_that_were_pending_are_asked_for_again(tmp_path: Path) -> None:
    async with Node(tmp_path / "state", configured()) as node:
        node.effects.store_is_away = True
        await ingest(node, *story())
    assert len(node.effects.requests) == 3
    async with Node(tmp_path / "state", configured()) as again:
        assert again.engine.recovery.replayed == 0
        assert again.effects.requests == node.effects.requests


@pytest.mark.parametrize("verdict", ["dismissed", "confirmed"])
async def test_verdicts_and_changes_are_replayed(tmp_path: Path, verdict: str) -> None:
    async with Node(tmp_path / "first", configured("")) as node:
        await ingest(node, *story()[:-4])
        await node.scored()
        await node.engine.judge(node.effects.alert_ids[-1], verdict, "alice", "looked at it")
        await node.engine.note_change(made("agent-1", "revoke", 1))
        await ingest(node, *story()[-4:])
        await node.scored()
        image = node.image(tmp_path / "image")
    async with Node(image, configured("")) as again:
        assert again.engine.recovery.from_checkpoint == 0
        assert encode_state(again.engine.pipeline.dump()) == encode_state(node.engine.pipeline.dump())
        assert again.engine.epoch == node.engine.epoch == 1
        assert again.effects.published == [], "the change was shown before the crash"


async def test_a_change_is_shown_once_and_its_epoch_kept(tmp_path: Path) -> None:
    async with Node(tmp_path / "state", configured()) as node:
        await node.engine.note_change(made("agent-1", "revoke", 7))
        await node.scored()
        (message,) = node.effects.published
    assert message["transition"]["target"] == "agent:agent-1"
    assert (message["transition"]["epoch"], message["transition"]["kind"]) == (7, "revoke")
    async with Node(tmp_path / "state", configured()) as again:
        assert again.engine.epoch == 7
        await again.engine.note_change(made("agent-1", "revoke", 7))
        await again.scored()
        assert again.effects.published == []


# -- kills that are none ---------------------------------------------------------------------------------------------


async def test_a_kill_that_is_no_request_frees_its_agent_and_people_are_told_once(tmp_path: Path) -> None:
    """Also after a crash, when the log is replayed and the kill is refused once more."""
    async with Node(tmp_path / "first", configured()) as node:
        await ingest(node, *story())
        await node.scored()
        request = node.effects.requests[-1]
        agent_id = request.target.removeprefix("agent:")
        assert agent_id in node.engine.pipeline.dump()["stopped"]
        await asyncio.gather(*(node.engine.withdraw(request, "reason: too long") for _ in range(2)))
        await node.engine.withdraw(request, "reason: too long")
        await until(lambda: agent_id not in node.engine.pipeline.dump()["stopped"])
        await ingest(node, habits(20, first=WARM + 400))
        await node.scored()
        (alert,) = [a["alert"] for a in node.effects.published if a["alert"]["verdict"] == "kill_refused"]
        assert (alert["agent_id"], alert["severity"]) == (agent_id, "critical")
        assert "reason: too long" in alert["title"]
        image = node.image(tmp_path / "image")
    async with Node(image, configured()) as again:
        assert request in again.effects.requests, "replay asks for it again"
        await again.engine.withdraw(request, "reason: too long")
        await again.scored()
        assert again.effects.alert_ids == []
        assert encode_state(again.engine.pipeline.dump()) == encode_state(node.engine.pipeline.dump())
    assert_same_state(uninterrupted(image, configured())[0], node.engine.pipeline)


async def test_a_change_that_cannot_be_recorded_is_counted_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with Node(tmp_path / "state", configured()) as node:
        monkeypatch.setattr(node.engine._log, "append", _refuse)
        with pytest.raises(LogError):
            await node.engine.note_change(made("agent-0", "revoke", 1))
        assert node.engine.unrecorded_changes == 1
        assert "agent:agent-0" in caplog.text


# -- checkpoints ----------------------------------------------------------------------------------------------------


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "note"),
    [
        (damage, "the checkpoint is damaged"),
        (Path.unlink, "no checkpoint (No such file or directory)"),
        (lambda file: file.write_bytes(b""), "the checkpoint is damaged"),
    ],
    ids=["flipped", "lost", "empty"],
)
async def test_a_checkpoint_that_cannot_be_read_only_costs_time(tmp_path: Path, harm: Any, note: str) -> None:
    async with Node(tmp_path / "state", configured()) as node:
        await ingest(node, *story())
    harm(tmp_path / "state" / "checkpoint")
    async with Node(tmp_path / "state", configured()) as again:
        assert (again.engine.recovery.note, again.engine.recovery.from_checkpoint) == (note, 0)
        assert again.engine.recovery.replayed == node.engine.actions
        assert_same_state(again.engine.pipeline, node.engine.pipeline)
        assert again.effects.alert_ids == []


async def test_a_checkpoint_is_never_of_a_half_applied_entry(tmp_path: Path) -> None:
    """While people are being told of an entry's alerts its effects on the models must not be in any checkpoint."""
    async with Node(tmp_path / "first", configured(log=ALWAYS)) as node:
        await ingest(node, *story()[:-1])
        await node.scored()
        node.effects.may_publish.clear()
        node.effects.publishing.clear()
        both = [habits(20, first=WARM + 160), observed(strange(90, "agent-3", after=WARM + 200))]
        await asyncio.gather(*(node.engine.ingest(batch) for batch in both))
        await node.effects.publishing.wait()
        await until(node.engine._checkpointing.done)
        image = node.image(tmp_path / "image")
    async with Node(image, configured()) as again:
        assert again.engine.recovery.from_checkpoint > 0
    assert_same_state(again.engine.pipeline, uninterrupted(image, configured())[0])


async def test_a_checkpoint_remembers_no_id_that_is_not_on_disk(tmp_path: Path) -> None:
    """Else an action that was lost with the disk would be called a duplicate when it is sent again."""
    lost = habits(1, first=9000)
    async with Node(tmp_path / "state", configured(log=ALWAYS)) as node:
        node.effects.may_publish.clear()
        await node.engine.note_change(made("agent-0", "step_up", 1))  # scoring stands at this entry
        await node.effects.publishing.wait()
        append, reached, go_on = node.engine._log.append, threading.Event(), threading.Event()

        def broken(*records: Record) -> list[int]:
            reached.set()
            assert go_on.wait(30)
            raise LogFailed("the disk is gone")

        node.engine._log.append = broken  # type: ignore[method-assign]
        sending = asyncio.create_task(node.engine.ingest(lost))
        assert await asyncio.to_thread(reached.wait, 30)
        checkpointing = node.engine._checkpointing
        node.effects.may_publish.set()
        await until(lambda: node.engine._checkpointing is not checkpointing)  # taken with the id in flight
        go_on.set()
        with pytest.raises(LogFailed):
            await sending
        await until(node.engine._checkpointing.done)
        node.engine._log.append = append  # type: ignore[method-assign]
        image = node.image(tmp_path / "image")
    async with Node(image, configured()) as again:
        assert (await again.engine.ingest(lost)).accepted == 1


async def test_a_checkpoint_that_cannot_be_written_is_reported_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedded, "write_checkpoint", full)
    with caplog.at_level(logging.ERROR):
        async with Node(tmp_path / "state", configured(log=ALWAYS)) as node:
            await ingest(node, *story()[:3])
    assert "No space left" in caplog.text
    async with Node(tmp_path / "state", configured()) as again:
        assert again.engine.actions == 60


# -- more agents than memory has room for ----------------------------------------------------------------------------

CROWD = 96
"""Agents that take turns in a memory of 64: each gives way and comes back, again and again."""


def crowded(log: str = SELDOM, *, detection: str = "max_agents = 64") -> Config:
    return config(ENFORCE, detection=detection, more=log)


def crowd(batches: int) -> list[list[Observation]]:
    """Habits of a crowd in batches that end within a round, and some strange actions."""
    made = [habits(100, first=first, agents=CROWD) for first in range(0, 100 * batches, 100)]
    for number in range(batches // 2, batches, 5):
        after = 100 * number
        made[number] += observed(strange(number, f"agent-{number % CROWD}", after=after, agents=CROWD))
    return made


def assert_same_with_store(node: Node, other: Pipeline, store: MemorySpill) -> None:
    spill = node.engine._spill
    assert encode_state(node.engine.pipeline.dump()) == encode_state(other.dump())
    assert list(spill._slot_of) == list(store._models)
    assert all(spill.peek(agent) == model for agent, model in store._models.items())


@pytest.mark.parametrize("log", [SELDOM, ALWAYS], ids=["no checkpoint", "checkpoints"])
async def test_agents_that_gave_way_are_after_a_crash_as_if_there_had_been_none(
    tmp_path: Path, log: str
) -> None:
    parts, images = crowd(50), []
    async with Node(tmp_path / "first", crowded(log)) as node:
        for number, batch in enumerate(parts):
            await node.engine.ingest(batch)
            if number in (2, 26, 41):
                images.append((number, node.image(tmp_path / f"image-{number}")))
    for number, image in images:
        async with Node(image, crowded(log)) as again:
            await ingest(again, *parts[number + 1 :])
            await again.scored()
            # The store's files are closed at the end, so it is compared before.
            shutil.copytree(image / "log", tmp_path / f"read-{number}" / "log")
            store = MemorySpill(1_000_000)
            expected, outcomes = uninterrupted(tmp_path / f"read-{number}", crowded(), store)
            assert_same_with_store(again, expected, store)
        wanted = [alert.id for outcome in outcomes for alert in outcome.alerts]
        assert len(wanted) >= 4
        assert shown_alerts(image) == wanted, "each alert once, in order"
    enough, roomy = uninterrupted(tmp_path / "first", crowded(detection="max_agents = 1000"))
    assert p_of(roomy) == p_of(outcomes), "and as if there had been room for all"
    assert (
        enough.calibration("agent-90")
        == expected.calibration("agent-90")
        != Pipeline(crowded()).calibration("x")
    )


@pytest.mark.parametrize("harm", ["lost", "short", "flipped"])
async def test_a_damaged_store_forgets_agents_and_stops_nobody(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Node(tmp_path / "state", crowded()) as node:
        await ingest(node, *crowd(6))
    (path,) = (tmp_path / "state" / "spill").iterdir()
    content = path.read_bytes()
    path.write_bytes({"lost": b"", "short": content[:10_000], "flipped": bytes(len(content))}[harm])
    async with Node(tmp_path / "state", crowded()) as again:
        assert again.engine.recovery.note == "ok"
        await ingest(again, habits(200, first=600, agents=CROWD))
        await again.scored()
        assert again.engine.actions == node.engine.actions + 200
    assert "forgotten" in caplog.text


async def test_the_store_of_another_configuration_is_neither_used_nor_lost(tmp_path: Path) -> None:
    state, other = tmp_path / "state", crowded(detection="max_agents = 65")
    async with Node(state, crowded()) as node:
        await ingest(node, *crowd(6))
    (kept,) = (state / "spill").iterdir()
    async with Node(state, other) as again:
        assert "another configuration" in again.engine.recovery.note
        assert len(again.engine._spill) == CROWD - 65  # replayed into a file of its own
        image = again.image(tmp_path / "image")
    assert (image / "spill" / kept.name).exists()
    async with Node(image, crowded()) as back:  # before any checkpoint was written under the other one
        assert (back.engine.recovery.note, back.engine.recovery.replayed) == ("ok", 0)
        assert [path.name for path in (image / "spill").iterdir() if path.name == kept.name] == [kept.name]
        shutil.copytree(image / "log", tmp_path / "read" / "log")
        store = MemorySpill(1_000_000)
        assert_same_with_store(back, uninterrupted(tmp_path / "read", crowded(), store)[0], store)


async def test_without_a_store_agents_are_forgotten(tmp_path: Path) -> None:
    async with Node(tmp_path / "state", crowded(detection="max_agents = 64\nmax_spilled = 0")) as node:
        await ingest(node, *crowd(6))
        await node.scored()
        seen = [node.engine.pipeline.calibration(f"agent-{number}").seen for number in range(CROWD)]
        assert seen.count(0) == CROWD - 64
    assert list((tmp_path / "state" / "spill").iterdir()) == []


# -- another configuration ------------------------------------------------------------------------------------------


async def test_models_continue_under_another_mode_and_nothing_past_is_acted_upon(tmp_path: Path) -> None:
    async with Node(tmp_path / "first", configured('mode = "alert"')) as node:
        await ingest(node, *story())
        await node.scored()
        crashed = node.image(tmp_path / "crashed")
    assert node.effects.requests == []
    for state, replayed in ((tmp_path / "first", 0), (crashed, node.engine.actions)):
        async with Node(state, configured(ENFORCE)) as again:
            assert again.engine.recovery.replayed == replayed
            assert again.effects.requests == [], "nobody is killed today for what was only told of then"
            assert again.effects.published == []
            await ingest(again, observed(strange(90, "agent-0", after=WARM + 200)))
            await again.scored()
            assert [request.target for request in again.effects.requests] == ["agent:agent-0"]


async def test_a_checkpoint_of_another_version_still_says_what_is_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Node(tmp_path / "state", configured('mode = "alert"')) as node:
        await ingest(node, *story())
    shutil.rmtree(tmp_path / "state" / "feed")  # so that only the checkpoint knows
    monkeypatch.setattr(state_format, "FORMAT", -1)
    async with Node(tmp_path / "state", configured(ENFORCE)) as again:
        assert "another configuration or version" in again.engine.recovery.note
        assert again.engine.recovery.replayed == node.engine.actions
        assert again.effects.requests == []
        assert again.effects.published == []
        assert again.engine.pipeline.calibration("agent-0").state == "calibrated"
        await ingest(again, observed(strange(90, "agent-0", after=WARM + 200)))
        await again.scored()
        assert len(again.effects.requests) == 1


async def test_a_state_that_cannot_be_taken_up_is_learned_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Node(tmp_path / "state", configured("")) as node:
        await ingest(node, *story())
        monkeypatch.setattr(
            node.engine.pipeline, "dump", lambda: {**Pipeline.dump(node.engine.pipeline), "policy": 7}
        )
    monkeypatch.undo()
    async with Node(tmp_path / "state", configured("")) as again:
        assert "cannot be continued from" in again.engine.recovery.note
        assert again.engine.recovery.replayed == node.engine.actions
        assert_same_state(again.engine.pipeline, node.engine.pipeline)
        assert again.effects.requests == []
        assert await again.engine.ingest(story()[0]) == (0, 20)


async def test_a_checkpoint_ahead_of_the_log_is_not_used(tmp_path: Path) -> None:
    async with Node(tmp_path / "state", configured()) as node:
        await ingest(node, *story()[:3])
    shutil.rmtree(tmp_path / "state" / "log")
    async with Node(tmp_path / "state", configured()) as again:
        assert again.engine.recovery.note == "the checkpoint is ahead of the log"
        assert (await again.engine.ingest(story()[0])).accepted == 20


async def test_a_lost_secret_starts_the_models_anew(tmp_path: Path) -> None:
    async with Node(tmp_path / "state", configured()) as node:
        await ingest(node, *story()[:3])
    (tmp_path / "state" / "secret").write_bytes(bytes(32))
    async with Node(tmp_path / "state", configured()) as again:
        assert "another configuration" in again.engine.recovery.note


# -- ingest ---------------------------------------------------------------------------------------------------------


async def test_an_action_counts_once_also_within_a_batch_and_after_a_restart(tmp_path: Path) -> None:
    batch = habits(5)
    async with Node(tmp_path / "state", configured()) as node:
        assert await node.engine.ingest([*batch, *batch[:2]]) == (5, 2)
        assert await node.engine.ingest([*batch, *habits(1, first=5)]) == (1, 5)
        await node.scored()
        image = node.image(tmp_path / "image")
    for state in (tmp_path / "state", image):
        async with Node(state, configured()) as again:
            assert await again.engine.ingest(batch) == (0, 5)
            assert again.engine.actions == 6


async def test_large_batches_are_cut_into_entries(tmp_path: Path) -> None:
    async with Node(tmp_path / "state", configured()) as node:
        assert (await node.engine.ingest(habits(2500))).accepted == 2500
        assert [frame.entries for frame in node.engine._log.read()] == [1000, 1000, 500]
        await node.scored()
        assert (node.engine.seq, node.engine.actions) == (2500, 2500)


async def test_what_could_not_be_written_may_be_sent_again(tmp_path: Path) -> None:
    async with Node(tmp_path / "state", configured()) as node:
        append = node.engine._log.append
        node.engine._log.append = _refuse  # type: ignore[method-assign]
        batch = habits(3)
        outcomes = await asyncio.gather(
            node.engine.ingest(batch), node.engine.ingest(batch), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [LogError, LogError], (
            "a repetition is not durable either"
        )
        node.engine._log.append = append  # type: ignore[method-assign]
        assert await node.engine.ingest(batch) == (3, 0)


async def test_a_sender_that_went_away_may_send_again(tmp_path: Path) -> None:
    async with Node(tmp_path / "state", configured()) as node:
        append = node.engine._log.append
        node.engine._log.append = _refuse  # type: ignore[method-assign]
        sending = asyncio.create_task(node.engine.ingest(habits(3)))
        await asyncio.sleep(0)
        sending.cancel()
        await until(lambda: node.engine.backlog == 0)
        node.engine._log.append = append  # type: ignore[method-assign]
        assert await node.engine.ingest(habits(3)) == (3, 0)


async def test_what_came_too_late_is_not_remembered_as_seen(tmp_path: Path) -> None:
    async with Node(tmp_path / "state", configured()) as node:
        await node.engine._commit.__aexit__()
        with pytest.raises(LogError, match="shutting down"):
            await node.engine.ingest(habits(3))
    async with Node(tmp_path / "state", configured()) as again:
        assert await again.engine.ingest(habits(3)) == (3, 0)


async def test_too_many_waiting_actions_are_an_overload_until_they_are_scored(tmp_path: Path) -> None:
    small = config(ENFORCE, more="[server]\nmax_backlog_actions = 30\n")
    async with Node(tmp_path / "state", small) as node:
        node.effects.may_publish.clear()
        await node.engine.note_change(made("agent-0", "step_up", 1))
        overloaded = []
        for first in (0, 20):
            await node.engine.ingest(habits(20, first=first))
            overloaded.append(node.engine.is_overloaded)
        assert overloaded == [False, True]
        node.effects.may_publish.set()
        await until(lambda: not node.engine.is_overloaded)


async def test_a_feed_that_fails_stops_the_engine_loudly(tmp_path: Path) -> None:
    async with Node(tmp_path / "state", configured()) as node:
        await node.feed.__aexit__(None, None, None)
        await node.engine.note_change(made("agent-0", "revoke", 1))
        failed = asyncio.create_task(node.engine.failed())
        await asyncio.wait([failed], timeout=30)
        assert isinstance(failed.exception(), LogError)
    assert not (tmp_path / "state" / "checkpoint").exists()


# -- reading back ---------------------------------------------------------------------------------------------------


async def test_an_agents_newest_actions_come_newest_first(tmp_path: Path) -> None:
    async with Node(tmp_path / "state", configured()) as node:
        await ingest(node, habits(20), habits(20, first=20))
        found = node.engine.newest_actions("agent-1", 3)
        assert [action["id"] for action in found] == ["a-37", "a-33", "a-29"]
        assert [action["seq"] for action in found] == [38, 34, 30]
        assert node.engine.newest_actions("nobody", 3) == []


async def test_retention_keeps_what_recovery_needs(tmp_path: Path) -> None:
    kept = config(
        ENFORCE,
        more="[log]\nsegment_bytes = 65536\nretention_days = 1e-9\nretention_bytes = 1048576\n",
    )
    async with Node(tmp_path / "state", kept) as node:
        for first in range(0, 3000, 500):
            await ingest(node, habits(500, first=first))
    segments = sorted((tmp_path / "state" / "log").glob("*.seg"))
    assert int(segments[0].stem) > 1
    async with Node(tmp_path / "state", kept) as again:
        assert (again.engine.recovery.note, again.engine.actions) == ("ok", 3000)
        assert_same_state(again.engine.pipeline, node.engine.pipeline)


def _refuse(*_: Record) -> list[int]:
    raise LogError("the disk is full")
