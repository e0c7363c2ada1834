"""The recorder's process: ``python -m monitor.record.process STATE``, started by the daemon, ended by closing its pipe.

What it is told comes in by standard input, how far it is goes out by standard output (`monitor.record.pipe`). It is of
no consequence when it dies: the next one goes on where the record ends.
"""

from __future__ import annotations

import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

import numpy as np

from monitor.config import RecordSettings
from monitor.errors import LogError, LogFailed, MonitorError, RecordDamaged
from monitor.record.checkpointing import Checkpointing
from monitor.record.keys import open_key
from monitor.record.noted import note
from monitor.record.pipe import (
    Forget,
    Forgotten,
    MayRead,
    Recorded,
    Scored,
    SetAside,
    ToDaemon,
    ToRecorder,
    Trouble,
    framed,
    read_all,
)
from monitor.record.places import RECORD
from monitor.record.recorder import Recorder, Scores
from monitor.record.retention import Limits, Retention
from monitor.record.store import Store
from monitor.state_dir import StateDir

MAX_WAITING: Final = 20_000
TICK_S: Final = 1.0
RETRY_S: Final = 5.0


class _Process:
    def __init__(self, state: StateDir, settings: RecordSettings, store: Store) -> None:
        self._store = store
        self._recorder = Recorder(state.path, store)
        self._checkpoints = Checkpointing(
            state.path / RECORD,
            open_key(state, settings.origin),
            interval_s=settings.checkpoint_interval_s,
            command=settings.checkpoint_command,
        )
        limits = Limits(settings.retention_days, settings.content_days, settings.retention_bytes)
        self._retention = Retention(store, self._checkpoints, limits)
        self._inbox: queue.Queue[ToRecorder | None] = queue.Queue(MAX_WAITING)
        self._trouble = ""
        self._told: Recorded | None = None

    def run(self) -> None:
        """Record until the daemon closes the pipe, and then what was still to be recorded."""
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        self._tell_how_far()
        is_open = True
        while is_open:
            is_open = self._take_in()
            self._work()
        self._store.settle(wait=True)
        self._work(is_last=True)
        self._checkpoints.close()

    def _listen(self) -> None:
        try:
            for message in read_all(sys.stdin.buffer):
                self._inbox.put(message)
        finally:
            self._inbox.put(None)

    def _take_in(self) -> bool:
        """Take in what was said, after waiting for a word for a moment; return whether there may be more."""
        try:
            message = self._inbox.get(timeout=RETRY_S if self._trouble else TICK_S)
            while message is not None:
                self._hear(message)
                message = self._inbox.get_nowait()
        except queue.Empty:
            return True
        return False

    def _hear(self, message: ToRecorder) -> None:
        match message:
            case MayRead():
                self._recorder.may_read(message.source, message.up_to)
            case Scored():
                p = np.frombuffer(message.p, "<f4").tolist()
                self._recorder.scored(
                    message.first_seq, Scores(p, np.frombuffer(message.evidence, "<f4").tolist())
                )
            case Forget():
                self._forget(message)

    def _work(self, *, is_last: bool = False) -> None:
        try:
            before = self._recorder.transitions
            while self._recorder.record():
                self._tell_how_far()
            self._retention.keep_if_due()
            self._checkpoints.sign_if_due(
                self._store, is_urgent=is_last or self._recorder.transitions > before
            )
        except LogFailed:
            raise
        except (LogError, OSError) as error:
            self._say_trouble(str(error))
        else:
            self._say_trouble("")
            self._tell_how_far()

    def _forget(self, wanted: Forget) -> None:
        try:
            while self._recorder.record():
                pass
            count = self._retention.forget(wanted.link, wanted.by, wanted.reason)
        except LogFailed:
            raise
        except (LogError, OSError) as error:
            _tell(Forgotten(wanted.id, 0, str(error)))
        else:
            _tell(Forgotten(wanted.id, count))

    def _tell_how_far(self) -> None:
        store = self._store
        now = Recorded(store.size, store.cursors, self._checkpoints.size, store.first)
        if now != self._told:
            self._told = now
            _tell(now)

    def _say_trouble(self, what: str) -> None:
        if what != self._trouble:
            self._trouble = what
            _tell(Trouble(what))


def _tell(message: ToDaemon) -> None:
    sys.stdout.buffer.write(framed(message))
    sys.stdout.buffer.flush()


def main() -> int:
    """Run the recorder of the state directory that the command line names, with the settings after it (JSON)."""
    for number in (signal.SIGINT, signal.SIGTERM):  # for the daemon, which closes the pipe when it is done
        signal.signal(number, signal.SIG_IGN)
    state = StateDir(Path(sys.argv[1]))
    settings = RecordSettings.model_validate_json(sys.argv[2])
    try:
        with _open(state) as store:
            _Process(state, settings, store).run()
    except (MonitorError, OSError) as error:
        sys.stderr.write(f"killcord: the recorder: {error}\n")
        return 1
    return 0


def _open(state: StateDir) -> Store:
    """Return the record; one that cannot be gone on with is set aside, loudly, for those who will look into it."""
    directory = state.path / RECORD
    try:
        return Store(directory)
    except RecordDamaged as error:
        aside = directory.with_name(f"{RECORD}.damaged-{time.time_ns() // 1_000_000}")
        directory.rename(aside)
        _tell(SetAside(str(aside), str(error)))
        store = Store(directory)
        note(store, "begun", because=str(error), set_aside=aside.name)
        return store


if __name__ == "__main__":
    sys.exit(main())
