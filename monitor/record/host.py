"""The daemon's side of its recorder: starts the process, tells it what may be recorded, starts it again if it dies.

Nothing here ever waits for the recorder. What the pipe has no room for is not lost: the numbers are told again with the
next word, and only scores that could not be told are missing in the record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from monitor.config import RecordSettings
from monitor.errors import LogError, RecordUnavailable
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
    length_of,
    to_daemon,
)

log = logging.getLogger("killcord.record")

MAX_UNSENT_BYTES: Final = 8 * 1024 * 1024
FIRST_RETRY_S: Final = 0.5
MAX_RETRY_S: Final = 30.0
STOP_TIMEOUT_S: Final = 30.0
FORGET_TIMEOUT_S: Final = 600.0


class RecorderHost:
    """Runs the recorder of a state directory. All methods belong to one event loop; an asynchronous context manager.

    Attributes
    ----------
    recorded : Recorded
        How far the record is, as it was last told.
    trouble : str
        Why recording does not go on, empty if it does.
    restarts, scores_missed : int
        How often the process was started again, and of how many actions the scores could not be told.
    """

    def __init__(self, state: Path, settings: RecordSettings) -> None:
        self._command = (
            sys.executable,
            "-m",
            "monitor.record.process",
            str(state),
            settings.model_dump_json(),
        )
        self._process: asyncio.subprocess.Process | None = None
        self._running: asyncio.Task[None] | None = None
        self._up_to: dict[str, int] = {}
        self._answers: dict[str, asyncio.Future[int]] = {}
        self._closing = asyncio.Event()
        self._on_set_aside: Callable[[SetAside], object] | None = None
        self._set_aside: list[SetAside] = []
        self.recorded = Recorded(0, {}, -1, 0)
        self.trouble = ""
        self.restarts = 0
        self.scores_missed = 0

    async def __aenter__(self) -> RecorderHost:
        await self._start()
        self._running = asyncio.create_task(self._run(), name="recorder")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        process = self._process
        if process and process.stdin:
            process.stdin.close()
        if self._running:
            done, _pending = await asyncio.wait({self._running}, timeout=STOP_TIMEOUT_S)
            if not done:
                log.error("the recorder did not end in time; the next start goes on where the record ends")
                with contextlib.suppress(ProcessLookupError):
                    if process:
                        process.kill()
                await asyncio.wait({self._running}, timeout=STOP_TIMEOUT_S)

    # -- what it is told ----------------------------------------------------------------------------------------

    def may_read(self, source: str, up_to: int) -> None:
        """Say that a source is durable up to this number."""
        if up_to > self._up_to.get(source, 0):
            self._up_to[source] = up_to
            self._send(MayRead(source, up_to))

    def scored(self, first_seq: int, p: Sequence[float], evidence: Sequence[float]) -> None:
        """Say that the actions from `first_seq` on were scored, and may be recorded."""
        self._up_to["actions"] = max(self._up_to.get("actions", 0), first_seq + len(p) - 1)
        packed = np.array(p, "<f4").tobytes(), np.array(evidence, "<f4").tobytes()
        if not self._send(Scored(first_seq, *packed)):
            self.scores_missed += len(p)

    async def forget(self, link: str, by: str, reason: str) -> int:
        """Have the contents of all entries with the link deleted, and return how many they were.

        Raises
        ------
        RecordUnavailable
            If the recorder could not do it, or not in time.
        """
        wanted = Forget(secrets.token_hex(8), link, by, reason)
        answer = self._answers[wanted.id] = asyncio.get_running_loop().create_future()
        try:
            if not self._send(wanted):
                raise RecordUnavailable(self.trouble or "the recorder does not run; try again")
            return await asyncio.wait_for(answer, FORGET_TIMEOUT_S)
        except TimeoutError as error:
            raise RecordUnavailable("the recorder did not answer in time") from error
        finally:
            del self._answers[wanted.id]

    def tell_set_aside(self, on_set_aside: Callable[[SetAside], object]) -> None:
        """Have it told when a record is set aside, also of what was before anybody could be told."""
        self._on_set_aside = on_set_aside
        while self._set_aside:
            on_set_aside(self._set_aside.pop(0))

    @property
    def behind(self) -> int:
        """How many numbers of its sources, entries about, are not recorded yet."""
        return sum(max(0, up_to - self.recorded.cursors.get(name, 0)) for name, up_to in self._up_to.items())

    # -- inside -------------------------------------------------------------------------------------------------

    def _send(self, message: ToRecorder) -> bool:
        """Put a message into the pipe, if it has room; return whether it did."""
        stdin = self._process.stdin if self._process else None
        if stdin is None or stdin.is_closing():
            return False
        if stdin.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            return False
        stdin.write(framed(message))
        return True

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        for source, up_to in self._up_to.items():
            self._send(MayRead(source, up_to))

    async def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            began_s = time.monotonic()
            status = await self._listen()
            self._process = None
            self._fail_answers()
            if self._closing.is_set():
                return
            if time.monotonic() - began_s > MAX_RETRY_S:
                retry_s = FIRST_RETRY_S
            self.trouble = f"the recorder ended with status {status}"
            log.error("%s; it is started again", self.trouble)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), retry_s)
                return
            retry_s = min(2 * retry_s, MAX_RETRY_S)
            self.restarts += 1
            await self._start()

    async def _listen(self) -> int:
        """Take in what the process says until it ends; return its exit status."""
        process = self._process
        if process is None or process.stdout is None:
            return -1
        with contextlib.suppress(asyncio.IncompleteReadError, LogError, msgspec.DecodeError):
            while True:
                payload = await process.stdout.readexactly(length_of(await process.stdout.readexactly(4)))
                self._hear(to_daemon.decode(payload))
        if not self._closing.is_set():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        return await process.wait()

    def _hear(self, message: ToDaemon) -> None:
        match message:
            case Recorded():
                self.recorded, self.trouble = message, ""
            case Trouble():
                if message.what:
                    log.error("the record does not go on: %s", message.what)
                self.trouble = message.what
            case SetAside():
                log.critical("the record is set aside in %s: %s", message.path, message.why)
                self._set_aside.append(message)
                if self._on_set_aside:
                    self.tell_set_aside(self._on_set_aside)
            case Forgotten():
                answer = self._answers.get(message.id)
                if answer and not answer.done():
                    if message.error:
                        answer.set_exception(RecordUnavailable(message.error))
                    else:
                        answer.set_result(message.contents)

    def _fail_answers(self) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(RecordUnavailable("the recorder ended"))
