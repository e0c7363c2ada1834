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
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import msgspec

from killswitch import Change
from killswitch.storage.codec import decode_change, encode_change
from monitor.config import Config
from monitor.core.alerts import refused_kill_alert
from monitor.core.pipeline import Outcomes, Pipeline, RevocationRequest
from monitor.engines.contract import Effects, Receipt, Recovery, Shown
from monitor.engines.state_format import fingerprint
from monitor.errors import LogError
from monitor.intake.observation import Observation, plain
from monitor.intake.seen_ids import SeenIds
from monitor.live.messages import alert_message, transition_message
from monitor.log import entries
from monitor.log.checkpoint import FOREIGN, Checkpoint, read_any_checkpoint, write_checkpoint
from monitor.log.entries import Actions, Entry, Judgement, Transition, Withdrawal
from monitor.log.group_commit import GroupCommit
from monitor.log.segments import Frame, Record, SegmentedLog
from monitor.log.spill import SpillFile
from monitor.metrics import LAG_BOUNDS_S, Histogram
from monitor.state_dir import StateDir

log = logging.getLogger("killcord.engine")

MAX_ENTRY_ACTIONS = 1000
"""Larger batches are cut into entries of this size: the event loop is never held for longer than one takes."""

_STOP = Record(b"", 0)


class EmbeddedEngine:
    """Runs one pipeline over one log. All methods belong to one event loop; use as asynchronous context manager."""

    def __init__(self, config: Config, state: StateDir, effects: Effects, shown: Shown) -> None:
        self._config = config
        self._effects = effects
        self._shown = shown
        self.directory = state.path
        self._checkpoint_file = state.path / "checkpoint"
        self._log = SegmentedLog(state.path / "log", segment_bytes=config.log.segment_bytes)
        self._commit = GroupCommit(self._log, self._durable, self._refused)
        self._queue: asyncio.Queue[tuple[int, Record, float]] = asyncio.Queue()  # bounded by `is_overloaded`
        self._seed = int.from_bytes(hashlib.sha256(state.secret()).digest()[:8], "little")
        self._fingerprint = fingerprint(config, self._seed)
        self._spill = SpillFile(state.directory("spill"), config.detection.max_spilled)
        self._begin_anew()
        self._scorer: asyncio.Task[None] | None = None
        self._checkpointing: asyncio.Future[None]
        self._checkpoint_due_s = 0.0
        self._history_to = 0  # up to here replay only teaches: what followed from it was seen to, long ago
        self._unscored = 0
        self.actions = 0
        self.alerts = 0
        self.epoch = shown.epoch
        self.seq = 0
        self.unrecorded_changes = 0
        self.severities: Counter[str] = Counter()  # of this run
        self.scoring_lag = Histogram(LAG_BOUNDS_S)
        self._withdrawn: set[str] = set()  # of this run: replaying a kill has it refused once more
        self._is_recovered = asyncio.Event()

    # -- life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> EmbeddedEngine:
        self._checkpointing = asyncio.get_running_loop().create_future()
        self._checkpointing.set_result(None)
        self.recovery = await self._recover()
        await self._commit.__aenter__()
        self._checkpoint_due_s = time.monotonic() + self._config.log.checkpoint_interval_s
        self._scorer = asyncio.create_task(self._score(), name="score")
        self._is_recovered.set()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._commit.__aexit__(*error)
        if self._scorer and not self._scorer.done():
            await self._queue.put((0, _STOP, 0.0))  # everything before it is scored first
        if self._scorer:
            await asyncio.gather(self._scorer, self._checkpointing, return_exceptions=True)
        if self._scorer and not self._scorer.cancelled() and self._scorer.exception() is None:
            await self._write_checkpoint(self._snapshot(), self._commit.barrier())
        self._spill.close()
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
        written: list[asyncio.Future[int]] = []
        try:
            for chunk in chunks:
                durable = self._enqueue(Actions(time.time(), chunk))
                written.append(durable)
        except BaseException:
            for chunk in chunks[len(written) :]:
                self._forget(chunk)
            raise
        repeated_durable = self._commit.barrier() if len(new) < len(observations) else None
        for durable in written:
            await durable
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
        """Record a change of the revocation state, in the order of its epochs; raises `LogError` if that fails."""
        try:
            await self._enqueue(Transition(time.time(), encode_change(change)))
        except LogError:
            self.unrecorded_changes += 1
            log.critical(
                "change %d (%s of %s) is in force, but could not be recorded; see the disk of the state "
                "directory",
                change.epoch,
                change.kind,
                change.target,
            )
            raise

    async def withdraw(self, request: RevocationRequest, why: str) -> None:
        """Record that an automatic kill can never be carried out, so that its agent does not count as stopped."""
        await self._is_recovered.wait()
        if request.change_id not in self._withdrawn:
            evidence = list(request.evidence)
            await self._enqueue(
                Withdrawal(time.time(), request.change_id, request.target, request.at_s, evidence, why)
            )

    def _enqueue(self, entry: Entry) -> asyncio.Future[int]:
        return self._commit.enqueue(Record(entries.encode(entry), entries.count(entry)))

    def _forget(self, actions: Sequence[Observation]) -> None:
        for action in actions:
            self._seen.forget(action.agent_id, action.id)

    def _refused(self, record: Record) -> None:
        """Forget the ids of actions that did not become durable, also if their sender has gone away since."""
        entry = entries.decode(record.payload)
        if isinstance(entry, Actions):
            self._forget(entry.observations)

    def _durable(self, first_seq: int, record: Record) -> None:
        self._unscored += record.entries
        self._queue.put_nowait((first_seq, record, time.monotonic()))

    # -- scoring ------------------------------------------------------------------------------------------------

    async def _score(self) -> None:
        while True:
            first_seq, record, durable_s = await self._queue.get()
            if record is _STOP:
                return
            await self._apply(first_seq, entries.decode(record.payload))
            self._unscored -= record.entries
            self.scoring_lag.observe(time.monotonic() - durable_s)
            if time.monotonic() >= self._checkpoint_due_s and self._checkpointing.done():
                # The state is taken here, between two entries: once a task of its own runs, one may be half applied.
                writing = self._write_checkpoint(self._snapshot(), self._commit.barrier())
                self._checkpointing = asyncio.create_task(writing, name="checkpoint")

    async def _apply(self, first_seq: int, entry: Entry) -> None:
        """Let one entry change the state, and see to what follows from it. The same live and on replay."""
        match entry:
            case Actions():
                outcomes = self.pipeline.step(entry.observations, entry.now_s, first_seq=first_seq)
                self.actions += len(entry.observations)
                self.alerts += len(outcomes.alerts)
                self._effects.scored(first_seq, outcomes.p, outcomes.evidence)
                await self._see_to(outcomes, is_history=first_seq <= self._history_to)
            case Judgement():
                self.pipeline.judge(entry.alert_id, entry.verdict)
            case Withdrawal():
                await self._withdraw(entry, is_history=first_seq <= self._history_to)
            case Transition():
                await self._transition(decode_change(entry.change))
        self.seq = first_seq + entries.count(entry) - 1
        self._effects.applied(self.seq)

    async def _see_to(self, outcomes: Outcomes, *, is_history: bool) -> None:
        for request in outcomes.requests:  # the kill first: telling people can wait for the disk
            if is_history or self._was_told_otherwise(request):
                self.pipeline.withdraw(request.change_id, request.target, request.at_s)
            else:
                self._effects.request(request)
        news = [alert for alert in outcomes.alerts if alert.id not in self._shown.alert_ids]
        if news and not is_history:
            self.severities.update(alert.severity for alert in news)
            await self._effects.publish([alert_message(alert) for alert in news])

    def _was_told_otherwise(self, request: RevocationRequest) -> bool:
        """Return whether people were shown this alert without a kill, under another configuration that was.

        Then replaying it under this one must not kill an agent today for what it did in the past.
        """
        told = any(alert_id in self._shown.alert_ids for alert_id in request.evidence)
        return told and request.change_id not in self._shown.change_ids

    async def _withdraw(self, entry: Withdrawal, *, is_history: bool) -> None:
        if entry.change_id in self._withdrawn:
            return
        self._withdrawn.add(entry.change_id)
        self.pipeline.withdraw(entry.change_id, entry.target, entry.at_s)
        alert = refused_kill_alert(entry.change_id, entry.target, entry.why, entry.evidence, entry.now_s)
        if not is_history and alert.id not in self._shown.alert_ids:
            await self._effects.publish([alert_message(alert)])

    async def _transition(self, change: Change) -> None:
        self.pipeline.transition(change)
        if change.epoch > self.epoch:
            self.epoch = change.epoch
            await self._effects.publish([transition_message(change)])

    # -- recovery -----------------------------------------------------------------------------------------------

    async def _recover(self) -> Recovery:
        found = read_any_checkpoint(self._checkpoint_file)
        note, start = (found, 0) if isinstance(found, str) else self._take_up(found)
        replayed = 0
        for frame in self._log.read(start + 1):
            await self._replay(frame)
            replayed += frame.entries
        self._effects.applied(self.seq)
        torn = self._log.torn.bytes_cut if self._log.torn else 0
        self._shown = Shown(frozenset(), frozenset(), self.epoch)  # from here on every alert is new
        return Recovery(start, replayed, note, torn)

    async def _replay(self, frame: Frame) -> None:
        entry = entries.decode(frame.payload)
        if isinstance(entry, Actions):
            for action in entry.observations:
                self._seen.is_new(action.agent_id, action.id)
        await self._apply(frame.first_seq, entry)
        await asyncio.sleep(0)

    def _take_up(self, checkpoint: Checkpoint) -> tuple[str, int]:
        """Continue from the checkpoint; return in words what was found, and the number after which to replay.

        One that cannot be continued from still says up to where everything was seen to.
        """
        note, start = "ok", checkpoint.seq
        if checkpoint.seq >= self._log.next_seq:
            note, start = "the checkpoint is ahead of the log", 0
        elif checkpoint.fingerprint != self._fingerprint:
            note, start = FOREIGN, 0
        else:
            try:
                self._restore(checkpoint)
            except Exception as error:  # a state of another version: it must not keep us from starting
                log.error("the checkpoint cannot be continued from", exc_info=error)
                self._begin_anew()
                note, start = f"the checkpoint cannot be continued from ({error!r})", 0
        self._history_to = checkpoint.seq
        for request in checkpoint.state["pending"]:
            self._effects.request(msgspec.convert(request, RevocationRequest))
        return note, start

    def _begin_anew(self) -> None:
        self._spill.begin_anew()
        self.pipeline = Pipeline(self._config, spill=self._spill)
        self._seen = SeenIds(self._config.log.dedupe_ids, self._seed)

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        self._spill.restore(state["spill"])
        self.pipeline.restore(state["pipeline"])
        self._seen.restore(state["seen"])
        self.actions, self.alerts, self.seq = state["actions"], state["alerts"], checkpoint.seq

    def _snapshot(self) -> Checkpoint:
        """Return a copy of the state after the last applied entry; everything that followed from it is durable."""
        self._checkpoint_due_s = time.monotonic() + self._config.log.checkpoint_interval_s
        state = {
            "pipeline": self.pipeline.dump(),
            "spill": self._spill.dump(),
            "seen": self._seen.dump(),
            "actions": self.actions,
            "alerts": self.alerts,
            "pending": self._effects.pending(),
        }
        return Checkpoint(self.seq, self._fingerprint, state)

    async def _write_checkpoint(self, checkpoint: Checkpoint, ids_durable: asyncio.Future[None]) -> None:
        """Write the checkpoint once every action whose id it remembers is on disk; scoring goes on meanwhile.

        Without that wait an action lost in a crash would be called a duplicate when it is sent again. A checkpoint that
        cannot be written is reported: it only saves time.
        """
        try:
            await ids_durable
            await asyncio.to_thread(self._spill.sync)
            await asyncio.to_thread(write_checkpoint, self._checkpoint_file, checkpoint)
            self._spill.settle(checkpoint.state["spill"])
            await asyncio.to_thread(self._drop_old, checkpoint.seq)
        except (LogError, OSError) as error:
            log.error("no checkpoint: %s", error)

    def _drop_old(self, seq: int) -> None:
        limits = self._config.log
        horizon_s = time.time() - limits.retention_days * 86_400
        unneeded = min(seq, self._effects.recorded() + 1)
        for segment in self._log.drop_before(
            unneeded, older_than_s=horizon_s, keep_bytes=limits.retention_bytes
        ):
            log.info("retention: deleted %s", segment.name)
