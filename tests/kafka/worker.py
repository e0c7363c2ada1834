"""A real Faust worker, started the way an operator does, with the store and the state a test gives it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from killswitch import Switch
from tests.kafka import stories

READY_TIMEOUT_S = 110.0  # the first start after a change compiles the kernels


class Worker:
    """`killcord up --engine URL`; can be killed and started again on the same state."""

    def __init__(self, state: Path, engine: str, redis_url: str, *, checkpoint_interval_s: float) -> None:
        self.state = state
        self._config = state.with_suffix(".toml")
        self._config.write_text(stories.CONFIG.format(checkpoint_interval_s=checkpoint_interval_s))
        self._log = state.with_suffix(".log")
        self._command = [sys.executable, "-m", "monitor.cli", "up", "--state", str(state)]
        self._command += ["--config", str(self._config), "--engine", engine, "--redis", redis_url]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log)
        stdout = self.process.stdout
        os.set_blocking(stdout.fileno(), False)
        wait_for(
            lambda: b"ready" in (stdout.read() or b"") or self.process.poll() is not None,
            "the worker",
            READY_TIMEOUT_S,
        )
        assert self.process.poll() is None, self.log()[-3000:]

    def run(self) -> tuple[int, str]:
        """Run a worker that is expected to end by itself; return its status and what it said."""
        done = subprocess.run(self._command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.process.stdout.close()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(40)
        self.process.stdout.close()
        return status

    def log(self) -> str:
        return self._log.read_text()

    def dead_letters(self) -> list[dict[str, Any]]:
        file = self.state / "dead-letters.ndjson"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@contextlib.contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    worker.start()
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.kill()


def wait_for(holds: Callable[[], object], what: str, timeout_s: float = 40.0) -> None:
    """Poll another process; the deadline bounds it."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.05)


def kills(switch: Switch) -> dict[str, str]:
    """Return what is stopped now: target → id of the change that did it."""
    return {str(target): record.change_id for target, record in switch.snapshot().revocations.items()}
