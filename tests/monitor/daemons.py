"""A real daemon in a process of its own, for tests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from monitor.access.roles import ROLES
from monitor.access.token_file import TokenFile
from monitor.access.tokens import make_token
from monitor.state_dir import StateDir

READY_TIMEOUT_S = 60.0
FAST_CONFIG = """
[detection]
min_actions = 40
fleet_min_actions = 300
[response]
mode = "enforce"
false_alerts_per_agent_day = 0.2
false_kills_per_agent_day = 0.02
[log]
checkpoint_interval_s = 1.0
[drill]
interval_s = 0.0
"""


def mint_tokens(state: Path) -> dict[str, str]:
    """A real token for each role, named `the-ROLE`, in the file that a daemon reads, running or not."""
    return {role: mint_token(state, role) for role in ROLES}


def mint_token(state: Path, role: str, *, expires_at_s: float | None = None) -> str:
    text, token = make_token(role, f"the-{role}", by="tests", now_s=time.time(), expires_at_s=expires_at_s)
    TokenFile(StateDir(state).token_file).add(token)
    return text


class RunningDaemon:
    """`killcord up` on a free port with its own state; can be killed and started again on the same state."""

    def __init__(self, state: Path, config: str = FAST_CONFIG, *, redis: str = "") -> None:
        self.state = state
        self._redis = ["--redis", redis] if redis else []
        self._config = state.with_suffix(".toml")
        self._config.write_text(config)
        self._log = state.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None
        self.tokens = mint_tokens(state)

    def __enter__(self) -> RunningDaemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, port: int = 0) -> None:
        command = [sys.executable, "-m", "monitor.cli", "up", "--state", str(self.state), "--port", str(port)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--config", str(self._config), *self._redis], stdout=subprocess.PIPE, stderr=log
            )
        os.set_blocking(self.process.stdout.fileno(), False)
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while b"ready" not in (self.process.stdout.read() or b""):
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                raise AssertionError(f"the daemon did not start:\n{self.log()[-3000:]}")
            time.sleep(0.02)
        address = json.loads((self.state / "daemon.json").read_text())
        self.url, self.redis_url = address["url"], address["redis_url"]
        self.local_token = address["token"]

    def kill(self) -> None:
        """kill -9: no chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.process.stdout.close()

    def stop(self) -> int:
        """A clean stop, and the store with it; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.process.stdout.close()
        return status

    def log(self) -> str:
        return self._log.read_text()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        role: str | None = "on-call",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        authorization = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        try:
            connection.request(method, path, data, {**authorization, **(headers or {})})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        is_json = response.headers.get("content-type", "").startswith("application/json")
        return response.status, json.loads(content) if is_json else content.decode()

    def get(self, path: str) -> Any:
        status, content = self.request("GET", path)
        assert status == 200, (status, content)
        return content

    def send(self, actions: list[dict[str, Any]]) -> dict[str, Any]:
        """Post actions; returns the receipt, which is only given when they are durable."""
        body = b"\n".join(json.dumps(action).encode() for action in actions)
        status, receipt = self.request("POST", "/v1/actions", body, role="sensor")
        assert status == 200, (status, receipt)
        return receipt

    def metric(self, name: str) -> float:
        for line in self.request("GET", "/metrics")[1].splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def wait_until_scored(self, actions: int) -> None:
        self.wait_for(lambda: self.metric("killcord_actions_total") >= actions, f"{actions} scored actions")

    @staticmethod
    def wait_for(holds: Any, what: str, timeout_s: float = 30.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s for {what}"
            time.sleep(0.02)
