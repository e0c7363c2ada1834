"""The record's signed checkpoints: when they are due, where they are kept, and how they leave this machine.

Each one is kept in a log beside the record, the newest in a file of its own too. A checkpoint that is kept elsewhere is
what shows that the record was cut or made anew, so each can be handed to a command of the operator's.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from monitor.log.segments import Record, SegmentedLog, read_log
from monitor.proof.checkpoints import Checkpoint, parse_checkpoint, sign_checkpoint
from monitor.proof.notes import Signer
from monitor.record.places import Places
from monitor.record.store import Store
from monitor.state_dir import write_private

log = logging.getLogger("killcord.record")

COMMAND_TIMEOUT_S: Final = 30.0


class Checkpointing:
    """Signs checkpoints of one record. For one thread.

    Attributes
    ----------
    size : int
        How many entries the newest checkpoint has.
    """

    def __init__(
        self, directory: Path, signer: Signer, *, interval_s: float, command: Sequence[str] = ()
    ) -> None:
        self._places = Places(directory)
        self._log = SegmentedLog(self._places.checkpoints)
        self._signer = signer
        self._interval_s = interval_s
        self._due_s = time.monotonic() + interval_s
        self._sender = _Sender(command) if command else None
        newest = None
        for newest in kept_checkpoints(directory):  # noqa: B007 - the last one is wanted
            pass
        self.size = parse_checkpoint(newest).size if newest else 0

    def sign_if_due(self, store: Store, *, is_urgent: bool = False) -> None:
        """Sign a checkpoint if the record has grown and the last one is old enough, or it is urgent."""
        if store.size != self.size and (is_urgent or time.monotonic() >= self._due_s):
            self.sign(store)

    def sign(self, store: Store) -> bytes:
        """Sign a checkpoint over all that is recorded, keep it, and return the note."""
        tree = store.tree()
        note = sign_checkpoint(Checkpoint(self._signer.name, tree.size, tree.root()), [self._signer])
        self._log.append(Record(note))
        self._log.sync()
        write_private(self._places.checkpoint, note)
        self.size = tree.size
        self._due_s = time.monotonic() + self._interval_s
        if self._sender:
            self._sender.send(note)
        return note

    def close(self) -> None:
        """Release the file; a checkpoint on its way out is waited for."""
        if self._sender:
            self._sender.close()
        self._log.close()


def kept_checkpoints(directory: Path) -> Iterator[bytes]:
    """Yield every signed checkpoint that a record keeps, oldest first; raises `LogError` at a damaged one."""
    for frame in read_log(Places(directory).checkpoints):
        yield frame.payload


class _Sender:
    """Hands checkpoints to a command, the newest that waits; a slow command holds nobody up."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._newest: bytes | None = None
        self._is_closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="send-checkpoints", daemon=True)
        self._thread.start()

    def send(self, note: bytes) -> None:
        with self._changed:
            self._newest = note
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(COMMAND_TIMEOUT_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._is_closing)
                note, self._newest = self._newest, None
            if note is None:
                return
            self._hand_over(note)

    def _hand_over(self, note: bytes) -> None:
        try:
            done = subprocess.run(
                self._command, input=note, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            log.error("the checkpoint was not sent out: %s", error)
        else:
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip()[-500:]
                log.error(
                    "the checkpoint was not sent out: the command ended with %d: %s", done.returncode, said
                )
