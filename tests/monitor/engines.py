"""An embedded engine over real logs and a real feed; only the store is a list of what was asked of it."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detectors import Spill
from monitor.alerts.book import Book
from monitor.alerts.desk import Desk
from monitor.alerts.keeper import Keeper
from monitor.config import Config
from monitor.core.pipeline import Outcomes, Pipeline, RevocationRequest
from monitor.daemon import _feedback
from monitor.engines.embedded import EmbeddedEngine
from monitor.intake.observation import Observation
from monitor.live.feed import Feed
from monitor.live.shown import read_feed
from monitor.live.stored import stored_messages
from monitor.log import entries
from monitor.log.entries import Actions, Judgement, Transition, Withdrawal
from monitor.log.segments import SegmentedLog
from monitor.state_dir import StateDir, write_private
from tests.monitor.streams import SECRET

DEADLINE_S = 30.0


class Effects:
    """Publishes to the feed; keeps requests, and calls them pending while `store_is_away`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.requests: list[RevocationRequest] = []
        self.published: list[dict[str, Any]] = []
        self.scores: dict[int, list[float]] = {}
        self.applied_to = 0
        self.recorded_to = sys.maxsize
        self.store_is_away = False
        self.may_publish = asyncio.Event()
        self.may_publish.set()
        self.publishing = asyncio.Event()

    def request(self, request: RevocationRequest) -> None:
        self.requests.append(request)

    def pending(self) -> list[RevocationRequest]:
        return self.requests if self.store_is_away else []

    def scored(self, first_seq: int, p: Sequence[float], evidence: Sequence[float]) -> None:
        self.scores[first_seq] = list(p)

    def applied(self, seq: int) -> None:
        self.applied_to = seq

    def recorded(self) -> int:
        return self.recorded_to

    async def publish(self, messages: list[dict[str, Any]]) -> None:
        self.publishing.set()
        await self.may_publish.wait()
        self.published += messages
        await self._desk.publish(messages)

    @property
    def alert_ids(self) -> list[str]:
        """Ids of the alerts that people were shown by this engine."""
        return [message["alert"]["id"] for message in self.published if message["type"] == "alert"]


class Node:
    """One engine on a state directory, as an asynchronous context manager whose end is a clean stop."""

    def __init__(self, state: Path, config: Config) -> None:
        self.path = state
        self._config = config

    async def __aenter__(self) -> Node:
        state = StateDir(self.path)
        if not (self.path / "secret").exists():
            write_private(self.path / "secret", SECRET)
        self.feed_log = SegmentedLog(self.path / "feed")
        keeper = Keeper(Book(self._config.alerts))
        shown = read_feed(self.feed_log, keeper)
        self.feed = await Feed(
            self.feed_log, recent=1000, client_buffer=100, on_durable=keeper.note
        ).__aenter__()
        self.desk = Desk(self.feed, keeper.book)
        self.effects = Effects(self.desk)
        self.engine = EmbeddedEngine(self._config, state, self.effects, shown)
        await self.engine.__aenter__()
        self.feedback = await _feedback(self.desk, self.engine).__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.effects.may_publish.set()
        await self.feedback.__aexit__()
        await self.engine.__aexit__(None, None, None)
        await self.feed.__aexit__(None, None, None)
        self.feed_log.close()

    async def scored(self) -> None:
        """Wait until everything taken in has been scored and seen to."""
        await until(lambda: self.engine.backlog == 0)

    def image(self, to: Path) -> Path:
        """Copy the directory as a `kill -9` would leave it this instant, but for files that are just being replaced."""
        return Path(shutil.copytree(self.path, to, ignore=shutil.ignore_patterns(".*.new")))


async def until(claim: Callable[[], bool]) -> None:
    """Return as soon as the claim holds; fail if it does not within half a minute."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not claim():
        assert time.monotonic() < deadline_s, "did not come true in time"
        await asyncio.sleep(0.002)


def uninterrupted(state: Path, config: Config, spill: Spill | None = None) -> tuple[Pipeline, list[Outcomes]]:
    """What one pipeline makes of everything in a state directory's log. Call it while no engine holds the log."""
    from killswitch.storage.codec import decode_change

    pipeline, outcomes = Pipeline(config, spill=spill), []
    log = SegmentedLog(state / "log")
    for frame in log.read():
        match entries.decode(frame.payload):
            case Actions(now_s, observations):
                outcomes.append(pipeline.step(observations, now_s, first_seq=frame.first_seq))
            case Judgement(_, alert, verdict):
                pipeline.judge(alert, verdict)
            case Withdrawal(_, change_id, target, at_s):
                pipeline.withdraw(change_id, target, at_s)
            case Transition(_, change):
                pipeline.transition(decode_change(change))
    log.close()
    return pipeline, outcomes


def shown_alerts(state: Path) -> list[str]:
    """Ids of the alerts in a state directory's feed, in order. Call it while no feed holds the log."""
    import json

    log = SegmentedLog(state / "feed")
    messages = [json.loads(message.text) for message in stored_messages(log, 0, log.next_seq)]
    log.close()
    return [message["alert"]["id"] for message in messages if message["type"] == "alert"]


async def ingest(node: Node, *batches: list[Observation]) -> None:
    for batch in batches:
        await node.engine.ingest(batch)
