"""What people say of alerts teaches the models: once, durably, and also if the daemon dies before it could."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitor.alerts import feedback as module
from monitor.alerts.life import Change
from monitor.config import Config
from monitor.errors import LogError
from monitor.intake.observation import Observation
from monitor.log import entries
from monitor.log.entries import Judgement
from monitor.log.segments import Record, read_log
from tests.monitor.engines import Node, ingest, until
from tests.monitor.streams import START_S, WARM, config, habits, observed, strange

SELDOM: Config = config(more="[log]\ncheckpoint_interval_s = 1e6\n")


def closing(reason: Any, comment: str | None = None) -> Change:
    return Change(kind="close", by="alice", at_s=START_S, reason=reason, comment=comment)


def judgements(state: Path) -> list[tuple[str, str, str, str]]:
    """Every judgement in the action log, in order."""
    found = (entries.decode(frame.payload) for frame in read_log(state / "log"))
    return [(e.alert_id, e.verdict, e.by, e.reason) for e in found if isinstance(e, Judgement)]


async def attacked(node: Node, times: int = 2) -> list[str]:
    """Have agent-0 do something strange again and again; returns the ids of the newest group's alerts."""
    await ingest(node, habits(WARM))
    for number in range(times + 1):  # the first is of another kind: after it, a transition is no news
        await ingest(node, observed(strange(number, after=WARM)))
    await node.scored()
    group = next(node.desk.book.newest_first())
    assert group.count == times
    return node.desk.book.alert_ids(group)


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        ("false_positive", "dismissed"),
        ("benign", "dismissed"),
        ("confirmed", "confirmed"),
        ("duplicate", None),
    ],
)
async def test_closing_judges_every_alert_of_the_group(
    tmp_path: Path, reason: str, verdict: str | None
) -> None:
    async with Node(tmp_path, SELDOM) as node:
        alerts = await attacked(node, 3)
        await node.desk.change(alerts[:1], closing(reason, "looked at it"))
        await node.scored()
        assert [node.engine.pipeline.awaits_verdict(each) for each in alerts] == [verdict is None] * 3
    expected = [(each, verdict, "alice", f"{reason}: looked at it") for each in alerts] if verdict else []
    assert judgements(tmp_path) == expected


async def test_a_verdict_counts_once_however_often_the_group_is_closed(tmp_path: Path) -> None:
    async with Node(tmp_path, SELDOM) as node:
        alerts = await attacked(node)
        await node.desk.change(alerts[:1], closing("benign"))
        await node.scored()
        await node.desk.change(alerts[:1], Change(kind="reopen", by="bob", at_s=START_S))
        await node.desk.change(alerts[:1], closing("confirmed"))
    assert [verdict for _, verdict, _, _ in judgements(tmp_path)] == ["dismissed"] * 2


async def died_between(tmp_path: Path, reason: str) -> tuple[Path, list[str]]:
    """A state directory as a daemon leaves it that dies after it wrote the change, before it wrote the judgements."""
    async with Node(tmp_path / "first", SELDOM) as node:
        alerts = await attacked(node)

        async def die(_: Any) -> None:
            raise AssertionError("the daemon is dead")

        node.desk.teach = die
        with pytest.raises(AssertionError, match="dead"):
            await node.desk.change(alerts[:1], closing(reason))
        return node.image(tmp_path / "image"), alerts


@pytest.mark.parametrize(("reason", "verdict"), [("false_positive", "dismissed"), ("confirmed", "confirmed")])
async def test_what_a_crash_kept_from_being_judged_is_made_up_for_once(
    tmp_path: Path, reason: str, verdict: str
) -> None:
    image, alerts = await died_between(tmp_path, reason)
    assert judgements(image) == []
    async with Node(image, SELDOM):
        owed = [(each, verdict, "alice", reason) for each in alerts]
        assert judgements(image) == owed
        again = Path(shutil.copytree(image, tmp_path / "again"))
    async with Node(again, SELDOM) as node:
        assert judgements(again) == owed, "it is in the log already"
        await node.scored()
        assert not any(map(node.engine.pipeline.awaits_verdict, alerts))
    async with Node(again, SELDOM):
        assert judgements(again) == owed, "from a checkpoint too"


async def test_who_reopens_before_the_verdict_was_recorded_takes_it_back(tmp_path: Path) -> None:
    async with Node(tmp_path, SELDOM) as node:
        alerts = await attacked(node)

        async def fail(_: Any) -> None:
            """As with an action log that cannot be written, until the daemon is stopped."""

        node.desk.teach = fail
        await node.desk.change(alerts[:1], closing("benign"))
        await node.desk.change(alerts[:1], Change(kind="reopen", by="bob", at_s=START_S))
    async with Node(tmp_path, SELDOM) as node:
        assert all(map(node.engine.pipeline.awaits_verdict, alerts))
    assert judgements(tmp_path) == []


async def test_what_cannot_be_recorded_is_recorded_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Node(tmp_path, SELDOM) as node:
        alerts = await attacked(node)
        node.feedback._retry_s = 0.01
        append = node.engine._log.append

        def refuse(*_: Record) -> list[int]:
            raise LogError("the disk is full")

        node.engine._log.append = refuse  # type: ignore[method-assign]
        changed = await node.desk.change(alerts[:1], closing("benign"))
        assert [group.id for group in changed.groups] == alerts[:1], "the change itself is durable"
        assert "teach nothing yet" in caplog.text
        node.engine._log.append = append  # type: ignore[method-assign]
        await until(lambda: not any(map(node.engine.pipeline.awaits_verdict, alerts)))
    assert [each for each, _, _, _ in judgements(tmp_path)] == alerts
    assert module.RETRY_S >= 1


# -- calibration ----------------------------------------------------------------------------------------------------


def odd(number: int) -> list[Observation]:
    """The same thing again, long after: something its agent did not use to do, forty habits apart."""
    calm = habits(40, first=WARM + 40 * number)
    action = strange(number, after=WARM + 40 * (number + 1))
    known = {"host": "partner.example", "body": "figures " * 400}
    return [*calm, *observed(msgspec.structs.replace(action, args=known))]


async def alerts_of_repetitions(state: Path, reason: str, rounds: int) -> list[int]:
    """Which repetitions were called anomalous, when each alert is closed with that reason."""
    flagged = []
    async with Node(state, SELDOM) as node:
        await ingest(node, habits(WARM))
        for number in range(rounds):
            await ingest(node, odd(number))
            await node.scored()
            alerts = [message["alert"] for message in node.effects.published]
            new = [
                alert["id"]
                for alert in alerts
                if alert["action_id"] == f"strange-{number}" and alert["verdict"] == "anomalous"
            ]
            await node.desk.change(new, closing(reason))
            await node.scored()
            flagged += [number] * len(new)
    return flagged


async def test_what_is_dismissed_raises_no_alert_any_more_and_what_is_confirmed_always_does(
    tmp_path: Path,
) -> None:
    """Measured: dismissed three times it is normal, here where the budget lets one action in a hundred be flagged."""
    rounds = 15
    dismissed = await alerts_of_repetitions(tmp_path / "dismissed", "false_positive", rounds)
    assert dismissed == [0, 1, 2]
    assert await alerts_of_repetitions(tmp_path / "confirmed", "confirmed", rounds) == list(range(rounds))
    assert await alerts_of_repetitions(tmp_path / "duplicate", "duplicate", rounds) == list(range(rounds))
