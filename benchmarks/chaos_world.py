"""The processes of a chaos run: a server, enforcement points, some behind a bad wire, a daemon, and an intruder."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import redis

from benchmarks.chaos_keys import Keys
from benchmarks.chaos_record import Reading, Run
from benchmarks.faults import Proxy, Server

ROOT: Final = Path(__file__).resolve().parents[1]
READY_TIMEOUT_S: Final = 60.0
OLD_SNAPSHOTS: Final = 6
Watched = list[tuple[int, str]]

CONFIG: Final = """\
[killswitch]
contain_timeout_s = 0.4
"""


class PointProcess:
    """An enforcement point: one process after the other, each with a record that outlives it."""

    def __init__(
        self, name: str, url: str, lease_s: float, directory: Path, proxy: Proxy | None, keys: Keys | None
    ) -> None:
        self.name = name
        self.proxy = proxy
        self.started_ns: dict[int, int] = {}
        self.readings: list[Reading] = []
        self._url = url
        self._lease_s = lease_s
        self._directory = directory
        self._keyring = [str(keys.path)] if keys else []
        self._lock = threading.Lock()
        self._watched: Watched = []
        self._left: list[Run] = []
        self.start()

    def start(self) -> None:
        """Start a new process, which watches what the last one did."""
        instance = len(self.readings)
        path = self._directory / f"{self.name}-{instance}.record"
        reading = Reading(path, self.name, instance)
        command = [sys.executable, "-m", "benchmarks.chaos_point", self._url, self.name]
        with (self._directory / f"{self.name}.log").open("ab") as log:
            self.started_ns[instance] = time.monotonic_ns()
            self._process = subprocess.Popen(
                [*command, str(self._lease_s), str(path), *self._keyring],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT,
            )  # fmt: skip
        self.readings.append(reading)
        if self._watched:
            self._send(self._watched)

    def watch(self, targets: Watched) -> None:
        """Have it check `targets` from now on, and return when it does."""
        with self._lock:
            self._watched = targets
            self._send(targets)

    def restart(self) -> None:
        """Kill it (SIGKILL) and start it anew; returns when it checks again."""
        with self._lock:
            self._process.kill()
            self._process.communicate()
            self._left += self.current()
            self.start()

    def pause(self) -> None:
        """Freeze it."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def runs(self) -> list[Run]:
        """Return the runs that ended since the last call, and those under way, in order."""
        ended = [run for reading in self.readings for run in reading.ended()]
        left, self._left = self._left, []
        return sorted([*ended, *left, *self.current()], key=lambda run: run.first_ns)

    def current(self) -> list[Run]:
        """Return the runs under way in the process that is there."""
        return self.readings[-1].current()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _send(self, targets: Watched) -> None:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(targets).encode() + b"\n")
        stdin.flush()
        if not stdout.readline():
            raise RuntimeError(f"{self.name} ended:\n{self._log()}")

    def _log(self) -> str:
        return (self._directory / f"{self.name}.log").read_text(errors="replace")[-2000:]


class Daemon:
    """``killcord up`` against the run's server; can be killed and started on the same state."""

    def __init__(self, redis_url: str, directory: Path) -> None:
        self.state = directory / "state"
        self._redis_url = redis_url
        self._config = directory / "daemon.toml"
        self._config.write_text(CONFIG)
        self._log_path = directory / "daemon.log"
        self._lock = threading.Lock()
        self.unexpected_ends = 0
        self._launch()

    def _launch(self) -> None:
        command = [sys.executable, "-m", "monitor.cli", "up", "--state", str(self.state), "--port", "0"]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--config", str(self._config), "--redis", self._redis_url],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd=ROOT,
            )  # fmt: skip

    def _is_ready(self) -> bool:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        while time.monotonic() < deadline_s:
            if b"ready" in (self._process.stdout.read() or b""):
                return True
            if self._process.poll() is not None:
                return False
            time.sleep(0.02)
        return False

    def ensure(self) -> None:
        """Return when it serves; started again if it ended by itself, which is counted."""
        with self._lock:
            for _ in range(5):
                if self._process.poll() is None and self._answers():
                    return
                if self._process.poll() is None and self._is_ready():
                    return
                if self._process.poll() is not None:
                    self.unexpected_ends += 1
                self._end()
                self._launch()
        raise RuntimeError(f"the daemon does not start:\n{self.log()}")

    def restart(self) -> None:
        """Kill it (SIGKILL) and start it anew; returns when it serves again, or has ended again by itself."""
        with self._lock:
            self._end()
            self._launch()
            self._is_ready()

    def post(self, path: str, body: dict[str, Any], timeout_s: float) -> tuple[int, dict[str, Any]]:
        """Return status and answer; OSError, HTTPException or ValueError if there is none."""
        status, answer = self._request("POST", path, json.dumps(body), timeout_s)
        return status, json.loads(answer)

    def _request(self, method: str, path: str, body: str | None, timeout_s: float) -> tuple[int, bytes]:
        address = json.loads((self.state / "daemon.json").read_text())
        parts = urlsplit(address["url"])
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {address['token']}"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def log(self) -> str:
        """Return the end of its log."""
        return self._log_path.read_text(errors="replace")[-3000:]

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._end()

    def _answers(self) -> bool:
        try:
            return self._request("GET", "/healthz", None, 2.0)[0] > 0
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        (self.state / "daemon.json").unlink(missing_ok=True)


class Intruder:
    """Somebody who may do anything to the store, but has no key."""

    def __init__(self, url: str) -> None:
        self._client: redis.Redis = redis.Redis.from_url(url, socket_timeout=0.3, socket_connect_timeout=0.3)
        self._snapshots: list[dict[bytes, bytes]] = []

    def remember(self) -> None:
        """Keep a copy of all that is in the store, but for who is connected."""
        copy: dict[bytes, bytes] = {}
        for key in self._keys():
            dump = self._client.dump(key)
            if isinstance(dump, bytes):
                copy[key] = dump
        self._snapshots = [*self._snapshots[-OLD_SNAPSHOTS + 1 :], copy]

    def _keys(self) -> list[bytes]:
        keys = self._client.scan_iter("killcord:*")
        return [key for key in keys if b"points" not in key and b"applied" not in key]

    def flush_all(self, random_: random.Random) -> None:
        """Empty the server."""
        self._client.flushall()

    def flush_db(self, random_: random.Random) -> None:
        """Empty the database."""
        self._client.flushdb()

    def delete_records(self, random_: random.Random) -> None:
        """Take away up to three revocations."""
        fields = sorted(self._client.hkeys("killcord:state"))
        if fields:
            self._client.hdel("killcord:state", *random_.sample(fields, min(3, len(fields))))

    def replay_state(self, random_: random.Random) -> None:
        """Put an older state hash in place of the present one, and nothing else."""
        self._put_back(random_, [b"killcord:state"])

    def replay_head(self, random_: random.Random) -> None:
        """Put an older epoch and signed head in place of the present ones, and nothing else."""
        self._put_back(random_, [b"killcord:epoch", b"killcord:head"])

    def replay_all(self, random_: random.Random) -> None:
        """Put everything back as it was once: a genuine, signed, consistent past."""
        self._put_back(random_, None)

    def _put_back(self, random_: random.Random, keys: list[bytes] | None) -> None:
        """Put an older copy in the place of `keys`, by default of everything."""
        if not self._snapshots:
            return
        old = random_.choice(self._snapshots)
        pipeline = self._client.pipeline(transaction=True)
        for key in self._keys() if keys is None else keys:
            pipeline.delete(key)
        for key in old if keys is None else keys:
            if key in old:
                pipeline.restore(key, 0, old[key], replace=True)
        pipeline.execute()


class World:
    """Everything that runs; use as a context manager."""

    def __init__(self, directory: Path, *, points: int, lease_s: float, keys: Keys | None) -> None:
        self.directory = directory
        self.keys = keys
        self.server = Server(directory / "valkey")
        self.server_lock = threading.Lock()
        self.intruder = Intruder(self.server.url)
        self.points = [self._point(number, lease_s) for number in range(points)]
        self.daemon = Daemon(self.server.url, directory)
        self.daemon.ensure()

    def _point(self, number: int, lease_s: float) -> PointProcess:
        proxy = Proxy(self.server.port) if number % 3 else None  # two of three behind a wire that can break
        url = proxy.url if proxy else self.server.url
        return PointProcess(f"point-{number}", url, lease_s, self.directory, proxy, self.keys)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.daemon.close()
        for point in self.points:
            point.close()
            if point.proxy is not None:
                point.proxy.close()
        self.server.close()

    def heal(self) -> None:
        """Undo every fault; returns when the server and the daemon answer again."""
        with self.server_lock:
            if not self.server.is_running:
                self.server.start()
            self.server.resume()
        for point in self.points:
            point.resume()
            if point.proxy is not None:
                point.proxy.speak()
        self.daemon.ensure()

    def everywhere(self, do: Callable[[PointProcess], None]) -> None:
        """Do something with every point."""
        for point in self.points:
            do(point)
