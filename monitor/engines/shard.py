"""The pipeline over records of a topic, and what must be kept of it; knows no Faust and no Kafka.

Theory of operation
-------------------
A record's offset may be committed only when nothing that follows from the record can be lost any more: its dead letters
and alerts are written, its kills are in the store, *and* what it taught the models is in a checkpoint. So offsets are
committed once a checkpoint, not once a record. After a crash the records since the checkpoint come again, meet the very
models they met before, and give the same outcomes under the same ids: the store applies a `change_id` once, and readers
of alerts know an alert by its `id`. That is the embedded engine's recovery with the topic as the log.

What people do in the store (a kill by hand, a restoration) is not in the topic. It is taken as it comes; on replay it
therefore comes earlier than it did.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence

from killswitch import Change
from monitor.config import Config
from monitor.core.alerts import Alert
from monitor.core.pipeline import Pipeline, RevocationRequest
from monitor.engines.state_format import fingerprint
from monitor.intake.action import Action, parse_document
from monitor.intake.dead_letters import DeadLetter, DeadLetters
from monitor.intake.observation import Observation, Observer
from monitor.intake.seen_ids import SeenIds
from monitor.kill.killer import BY
from monitor.log.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from monitor.state_dir import StateDir


class Shard:
    """One pipeline with its memory of ids and its checkpoint. All methods belong to one event loop.

    Parameters
    ----------
    request
        Has a revocation written; never waits, applies each `change_id` once.
    publish
        Returns when the alerts are durable.
    """

    def __init__(
        self,
        config: Config,
        state: StateDir,
        request: Callable[[RevocationRequest], None],
        publish: Callable[[Sequence[Alert]], Awaitable[None]],
    ) -> None:
        secret = state.secret()
        self._config = config
        self._request = request
        self._publish = publish
        self._file = state.path / "cluster-checkpoint"
        self._pipeline = Pipeline(config)
        full = config.log.store_args == "full"
        self._observer = Observer(secret, store_args=full, follows_sessions=False)  # replay observes again
        self._seed = int.from_bytes(hashlib.sha256(secret).digest()[:8], "little")
        self._fingerprint = fingerprint(config, self._seed)
        self._seen = SeenIds(config.log.dedupe_ids, self._seed)
        self._dead_letters = DeadLetters(state.path / "dead-letters.ndjson")
        self._lifted: set[str] = (
            set()
        )  # kills of ours that ended; few: the blast-radius guard let them through
        self._since_checkpoint = 0
        self.actions = 0
        self.epoch = 0

    @property
    def is_full(self) -> bool:
        """Whether a checkpoint is due because no more ids could be told from repeated ones after a crash."""
        return self._since_checkpoint >= self._config.log.dedupe_ids // 4

    def resume(self) -> str:
        """Take up the last checkpoint; returns in words what was found. Blocks."""
        found = read_checkpoint(self._file, self._fingerprint)
        if isinstance(found, str):
            return f"{found}; the models start anew"
        self._pipeline.restore(found.state["pipeline"])
        self._seen.restore(found.state["seen"])
        self.actions, self.epoch = found.seq, found.state["epoch"]
        return f"the models have seen {found.seq} actions"

    async def take(self, value: bytes, timestamp_s: float) -> None:
        """Do all that one record asks for: what it may still lack then are its kills, see `Killer.pending`.

        Parameters
        ----------
        value
            What `POST /v1/actions` takes: an action, an array, or NDJSON. What is malformed becomes a dead letter.
        timestamp_s
            The record's own time, so that a repeated record is repeated exactly.
        """
        actions = await self._parse(value)
        outcomes = self._pipeline.step(
            actions, timestamp_s if timestamp_s > 0 else time.time(), first_seq=self.actions + 1
        )
        self.actions += len(actions)
        self._since_checkpoint += len(actions)
        for request in outcomes.requests:
            self._ask(request)
        if outcomes.alerts:
            await self._publish(outcomes.alerts)

    def note_change(self, change: Change) -> None:
        """Take note of a change in the store, in the order of its epochs."""
        self.epoch = change.epoch
        if change.new is None and change.previous and change.previous.by == BY:
            self._lifted.add(change.previous.change_id)
        elif change.by == BY:
            return  # the pipeline knew when it asked; before that, on replay, it must not know
        self._pipeline.transition(change)

    async def save(self) -> None:
        """Write the checkpoint; nothing else may run meanwhile. Costs a copy of the models on disk."""
        state = {"pipeline": self._pipeline.dump(), "seen": self._seen.dump(), "epoch": self.epoch}
        checkpoint = Checkpoint(self.actions, self._fingerprint, state)
        await asyncio.to_thread(write_checkpoint, self._file, checkpoint)
        self._since_checkpoint = 0

    def _ask(self, request: RevocationRequest) -> None:
        if request.change_id in self._lifted:  # a repeated record, and the agent has been restored since
            self._pipeline.withdraw(request.change_id, request.target, request.at_s)
        else:
            self._request(request)

    async def _parse(self, value: bytes) -> list[Observation]:
        actions: list[Observation] = []
        letters: list[DeadLetter] = []
        for parsed in parse_document(value):
            if not isinstance(parsed, Action):
                letters.append(DeadLetter(parsed.document, parsed.field, str(parsed)))
            elif self._seen.is_new(parsed.agent_id, parsed.id):
                actions.append(self._observer.observe(parsed))
        if not value.strip():
            letters.append(DeadLetter(value, "", "an empty record"))
        if letters:
            await asyncio.to_thread(self._dead_letters.write, letters)
        return actions
