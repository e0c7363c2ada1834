"""The embedded engine: one process, its own durable log, the pure pipeline driven in log order.

    ingest ─► group commit ─► (acknowledged) ─► pipeline.step ─► alerts ─► feed
                                                     └─► revocation requests ─► killer

Whatever can change the pipeline's state goes through the log first: actions, verdicts, changes of the revocation state.
So after `kill -9` the last checkpoint and the log after it give the same state and the same outcomes; what people have
already been shown is recognised by its id and not shown twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from detectors import STATE_VERSION
from killswitch import Change
from killswitch.codec import decode_change, encode_change
from monitor import entries
from monitor.alerts import Alert
from monitor.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from monitor.config import Config
from monitor.entries import Actions, Entry, Judgement, Transition
from monitor.errors import LogError
from monitor.feed import now_text
from monitor.group_commit import GroupCommit
from monitor.observation import Observation, plain
from monitor.pipeline import Outcomes, Pipeline, RevocationRequest
from monitor.seen_ids import SeenIds
from monitor.segments import Frame, Record, SegmentedLog
from monitor.state_dir import StateDir

log = logging.getLogger("killcord.engine")

MAX_ENTRY_ACTIONS = 1000
"""Larger batches are cut into entries of this size: the event loop is never held for longer than one takes."""


_STOP = Record(b"", 0)


class Receipt(NamedTuple):
    """What became of a batch: both kinds are durable when it is given."""

    accepted: int
    duplicates: int


class Recovery(NamedTuple):
    """What was found on disk at start, for the log and the tests."""

    from_checkpoint: int
    replayed: int
    note: str
    torn_bytes: int


class Effects(Protocol):
    """Where the outcomes go."""

    def request(self, request: RevocationRequest) -> None:
        """Have the revocation written; never waits, never loses it, applies each `change_id` once."""

    def pending(self) -> list[RevocationRequest]:
        """Return the requests that are not written yet."""

    async def publish(self, messages: list[dict[str, Any]]) -> None:
        """Return when the feed messages are durable and on their way."""


class Shown(NamedTuple):
    """What the feed already holds: ids of alerts, and the last epoch whose transition was shown."""

    alert_ids: frozenset[str]
    epoch: int


class EmbeddedEngine:
    """Runs one pipeline over one log. All methods belong to one event loop; use as asynchronous context manager."""

    def __init__(self, config: Config, state: StateDir, effects: Effects, shown: Shown) -> None:
        self._config = config
        self._effects = effects
        self._shown = shown
        self._checkpoint_file = state.path / "checkpoint"
        self._log = SegmentedLog(state.path / "log", segment_bytes=config.log.segment_bytes)
        self._commit = GroupCommit(self._log, self._durable)
        self._queue: asyncio.Queue[tuple[int, Record]] = asyncio.Queue()  # bounded by `is_overloaded`
        self._seed = int.from_bytes(hashlib.sha256(state.secret()).digest()[:8], "little")
        self._seen = SeenIds(config.log.dedupe_ids, self._seed)
        self._scorer: asyncio.Task[None] | None = None
        self._checkpointing: asyncio.Future[None]
        self._checkpoint_due_s = 0.0
        self._unscored = 0
        self.pipeline = Pipeline(config)
        self.actions = 0
        self.alerts = 0
        self.epoch = shown.epoch
        self.seq = 0

    # -- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> EmbeddedEngine:
        self._checkpointing = asyncio.get_running_loop().create_future()
        self._checkpointing.set_result(None)
        self.recovery = await self._recover()
        await self._commit.__aenter__()
        self._checkpoint_due_s = time.monotonic() + self._config.log.checkpoint_interval_s
        self._scorer = asyncio.create_task(self._score(), name="score")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._commit.__aexit__(*error)
        if self._scorer and not self._scorer.done():
            await self._queue.put((0, _STOP))  # everything before it is scored first
        if self._scorer:
            await asyncio.gather(self._scorer, self._checkpointing, return_exceptions=True)
        if self._scorer and not self._scorer.cancelled() and self._scorer.exception() is None:
            await self._write_checkpoint()
        self._log.close()

    async def failed(self) -> None:
        """Return, by raising, when the engine can go on no longer; for the daemon to wait on."""
        if self._scorer:
            await asyncio.shield(self._scorer)

    # -- what comes in ------------------------------------------------------------------------------------------

    @property
    def backlog(self) -> int:
        """How many actions wait to be written or scored."""
        return self._commit.waiting + self._unscored

    @property
    def is_overloaded(self) -> bool:
        """Whether so many actions wait that no more are taken in."""
        return self.backlog >= self._config.server.max_backlog_actions

    async def ingest(self, observations: Sequence[Observation]) -> Receipt:
        """Return when every action is on disk, this batch's own and those that it repeats.

        Raises
        ------
        LogError
            If they could not be written. Nothing of the batch is acknowledged then; sending it again is right.
        """
        new = [action for action in observations if self._seen.is_new(action.agent_id, action.id)]
        chunks = [new[start : start + MAX_ENTRY_ACTIONS] for start in range(0, len(new), MAX_ENTRY_ACTIONS)]
        written = [(chunk, self._enqueue(Actions(time.time(), chunk))) for chunk in chunks]
        repeated_durable = self._commit.barrier() if len(new) < len(observations) else None
        failure: LogError | None = None
        for chunk, durable in written:
            try:
                await durable
            except LogError as error:
                failure = error
                self._forget(chunk)
        if failure:
            raise failure
        if repeated_durable:
            await repeated_durable
        return Receipt(len(new), len(observations) - len(new))

    @property
    def syncs(self) -> int:
        """How many group commits there were since start."""
        return self._commit.syncs

    def newest_actions(self, agent_id: str, limit: int) -> list[dict[str, Any]]:
        """Return an agent's newest actions, newest first, from the last two segments on disk. Blocks."""
        newest: deque[dict[str, Any]] = deque(maxlen=limit)
        for frame in self._log.read_newest(segments=2):
            entry = entries.decode(frame.payload)
            if isinstance(entry, Actions):
                for offset, action in enumerate(entry.observations):
                    if action.agent_id == agent_id:
                        newest.appendleft({"seq": frame.first_seq + offset, **plain(action)})
        return list(newest)

    async def judge(self, alert_id: str, verdict: str, by: str, reason: str) -> None:
        """Record a person's verdict on an alert."""
        await self._enqueue(Judgement(time.time(), alert_id, verdict, by, reason))

    async def note_change(self, change: Change) -> None:
        """Record a change of the revocation state, in the order of its epochs."""
        await self._enqueue(Transition(time.time(), encode_change(change)))

    def _enqueue(self, entry: Entry) -> asyncio.Future[int]:
        return self._commit.enqueue(Record(entries.encode(entry), entries.count(entry)))

    def _forget(self, actions: Sequence[Observation]) -> None:
        for action in actions:
            self._seen.forget(action.agent_id, action.id)

    def _durable(self, first_seq: int, record: Record) -> None:
        self._unscored += record.entries
        self._queue.put_nowait((first_seq, record))

    # -- scoring ------------------------------------------------------------------------------------------------

    async def _score(self) -> None:
        while True:
            first_seq, record = await self._queue.get()
            if record is _STOP:
                return
            await self._apply(first_seq, entries.decode(record.payload))
            self._unscored -= record.entries
            if time.monotonic() >= self._checkpoint_due_s and self._checkpointing.done():
                self._checkpointing = asyncio.create_task(self._write_checkpoint(), name="checkpoint")

    async def _apply(self, first_seq: int, entry: Entry) -> None:
        """Let one entry change the state, and see to what follows from it. The same live and on replay."""
        match entry:
            case Actions():
                outcomes = self.pipeline.step(entry.observations, entry.now_s, first_seq=first_seq)
                self.actions += len(entry.observations)
                await self._see_to(outcomes)
            case Judgement():
                self.pipeline.judge(entry.alert_id, entry.verdict)
            case Transition():
                await self._transition(decode_change(entry.change))
        self.seq = first_seq + entries.count(entry) - 1

    async def _see_to(self, outcomes: Outcomes) -> None:
        for request in outcomes.requests:  # the kill first: telling people can wait for the disk
            self._effects.request(request)
        self.alerts += len(outcomes.alerts)
        news = [alert_message(alert) for alert in outcomes.alerts if alert.id not in self._shown.alert_ids]
        if news:
            await self._effects.publish(news)

    async def _transition(self, change: Change) -> None:
        self.pipeline.transition(change)
        if change.epoch > self.epoch:
            self.epoch = change.epoch
            await self._effects.publish([transition_message(change)])

    # -- recovery -----------------------------------------------------------------------------------------------

    async def _recover(self) -> Recovery:
        checkpoint = read_checkpoint(self._checkpoint_file, self._fingerprint())
        note = checkpoint if isinstance(checkpoint, str) else "ok"
        start = 0
        if isinstance(checkpoint, Checkpoint) and checkpoint.seq < self._log.next_seq:
            start = checkpoint.seq
            self._take_up(checkpoint)
        replayed = 0
        for frame in self._log.read(start + 1):
            await self._replay(frame)
            replayed += frame.entries
        torn = self._log.torn.bytes_cut if self._log.torn else 0
        self._shown = Shown(frozenset(), self.epoch)  # from here on every alert is new
        return Recovery(start, replayed, note, torn)

    async def _replay(self, frame: Frame) -> None:
        entry = entries.decode(frame.payload)
        if isinstance(entry, Actions):
            for action in entry.observations:
                self._seen.is_new(action.agent_id, action.id)
        await self._apply(frame.first_seq, entry)
        await asyncio.sleep(0)

    def _take_up(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        self.pipeline.restore(state["pipeline"])
        self._seen.restore(state["seen"])
        self.actions, self.alerts, self.seq = state["actions"], state["alerts"], checkpoint.seq
        for request in state["pending"]:
            self._effects.request(msgspec.convert(request, RevocationRequest))

    async def _write_checkpoint(self) -> None:
        """Write the state after the last applied entry; everything that followed from it is durable by now.

        The state is copied before anything is awaited; scoring goes on while the copy is written.
        """
        self._checkpoint_due_s = time.monotonic() + self._config.log.checkpoint_interval_s
        state = {
            "pipeline": self.pipeline.dump(),
            "seen": self._seen.dump(),
            "actions": self.actions,
            "alerts": self.alerts,
            "pending": self._effects.pending(),
        }
        checkpoint = Checkpoint(self.seq, self._fingerprint(), state)
        await asyncio.to_thread(write_checkpoint, self._checkpoint_file, checkpoint)
        await asyncio.to_thread(self._drop_old, checkpoint.seq)

    def _drop_old(self, seq: int) -> None:
        limits = self._config.log
        horizon_s = time.time() - limits.retention_days * 86_400
        for segment in self._log.drop_before(seq, older_than_s=horizon_s, keep_bytes=limits.retention_bytes):
            log.info("retention: deleted %s", segment.name)

    def _fingerprint(self) -> str:
        """Name whatever the meaning of a checkpoint depends on."""
        config = self._config.model_dump_json(include={"detection", "response"})
        return hashlib.sha256(f"{STATE_VERSION}|{config}".encode()).hexdigest()


def alert_message(alert: Alert) -> dict[str, Any]:
    """Return the feed message of an alert."""
    return {"type": "alert", "ts": now_text(), "alert": msgspec.to_builtins(alert)}


def transition_message(change: Change) -> dict[str, Any]:
    """Return the feed message of a change of the revocation state."""
    new = change.new
    return {
        "type": "transition",
        "ts": now_text(),
        "transition": {
            "epoch": change.epoch,
            "change_id": change.change_id,
            "target": str(change.target),
            "kind": change.kind,
            "level": new.level if new else None,
            "previous_level": change.previous.level if change.previous else None,
            "reason": change.reason,
            "by": change.by,
            "at": change.at_s,
            "expires_at": new.expires_at_s if new else None,
            "evidence": list(new.evidence) if new else [],
        },
    }
