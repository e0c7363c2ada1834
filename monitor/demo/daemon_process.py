"""The real daemon as a child process, and what the story asks it over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from monitor.demo.errors import StoryFailed
from monitor.errors import MonitorError
from monitor.kill.embedded_redis import EmbeddedRedis
from monitor.kill.keys import keyring_file
from monitor.state_dir import StateDir

_START_S = 150.0  # the first start on a machine compiles the models, which a slow one needs a minute for
_STOP_S = 10.0
_TIMEOUT_S = 10.0
_COMMAND_S = 15.0
PREFERRED_PORT = 8787

POLICY = """\
# What the demo's operator chose. Everything else is at its default.
[log]
store_args = "full"      # simulated data: the alerts may quote it

[response]
mode = "enforce"         # kill automatically: a new installation would begin with "alert"
kill = "revoke"          # ... until people restore the agent
"""


class DaemonProcess:
    """A running `killcord up`. A context manager: the daemon and its store are stopped at the end.

    Parameters
    ----------
    state
        Its state directory; its configuration and its log are written there too.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self._config = state / "demo.toml"
        self._config.write_text(POLICY)
        self._port = _free_port()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        arguments = ("--state", str(self.state), "--port", str(self._port), "--config", str(self._config))
        with (self.state / "daemon.log").open("wb") as log:
            return subprocess.Popen(
                _killcord("up", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us, who stop the daemon when the agents are gone
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_STOP_S)
            self._stop_store()

    def _stop_store(self) -> None:
        """Stop the store that a daemon ended by force has left behind; it is in a session of its own."""
        with contextlib.suppress(MonitorError, OSError):
            EmbeddedRedis(self.state / "redis").stop_abandoned()

    def wait_ready(self, on_wait: Callable[[], object]) -> None:
        """Return when the daemon answers, calling `on_wait` now and then; raises `StoryFailed` with its last words."""
        deadline_s = time.monotonic() + _START_S
        while not (self.state / "daemon.json").exists():
            has_ended = self._process.poll() is not None
            if has_ended and self._port != 0:  # somebody else took the usual port since we looked
                self._port = 0
                self._process = self._start()
            elif has_ended or time.monotonic() > deadline_s:
                lines = (self.state / "daemon.log").read_text(errors="replace").splitlines()
                raise StoryFailed("the daemon did not start: " + " | ".join(lines[-3:]))
            on_wait()
            time.sleep(0.02)
        self.address = StateDir(self.state).address()
        self.keyring = keyring_file(StateDir(self.state)).read_text()

    def is_running(self) -> bool:
        """Return whether the process is there."""
        return self._process.poll() is None

    @property
    def dashboard(self) -> str:
        """The dashboard's address, with a token that may do everything while this daemon runs."""
        return f"{self.address.url}/#token={self.token}"

    @property
    def token(self) -> str:
        """The running daemon's own token."""
        return self.address.token

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON object at a path of the API."""
        parts = urlsplit(self.address.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise StoryFailed(f"the daemon does not answer {path}: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise StoryFailed(f"the daemon answered {path} with {response.status}: {body[:200].decode()}")
        document: dict[str, Any] = json.loads(body)
        return document

    def command(self, *arguments: str) -> dict[str, Any]:
        """Run a command of the `killcord` command line as a person would, and return the JSON that it prints."""
        command = _killcord(*arguments, "--json", "--state", str(self.state))
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise StoryFailed(f"`killcord {arguments[0]}` did not end within {_COMMAND_S:g} s") from error
        if done.returncode not in (0, 1):
            raise StoryFailed(f"`killcord {arguments[0]}` failed: {done.stderr.strip()[-300:]}")
        try:
            document: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            raise StoryFailed(
                f"`killcord {arguments[0]}` printed no JSON: {done.stderr.strip()[-300:]}"
            ) from error
        return document


def _killcord(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "monitor.cli", *arguments]


def _free_port() -> int:
    """Return the usual port if nobody has it, else 0, which means any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PREFERRED_PORT))
        except OSError:
            return 0
    return PREFERRED_PORT
