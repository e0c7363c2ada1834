"""The installation under examination: its state directory, its configuration, its daemon. Everything is only read."""

from __future__ import annotations

import http.client
import os
import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from killswitch import Switch
from monitor.config import Config, load_config
from monitor.errors import ConfigError, DaemonError
from monitor.listening import announced_tls
from monitor.state_dir import Address, StateDir

HTTP_TIMEOUT_S: Final = 3.0
STORE_TIMEOUT_S: Final = 3.0
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Installation:
    """What the command line named, and what can be found out from there.

    Parameters
    ----------
    state
        The state directory, which exists.
    config_file
        The configuration; None: the one that the running daemon was started with, as far as that can be seen.
    redis_url
        The revocation store; empty: the daemon's.
    """

    state: Path
    config_file: Path | None = None
    redis_url: str = ""

    @cached_property
    def address(self) -> Address | None:
        """Where the daemon is, or was when it was killed; None if it was stopped or never ran. Raises `DaemonError`."""
        if not (self.state / "daemon.json").exists():
            return None
        return StateDir(self.state).address()

    @cached_property
    def pid(self) -> int | None:
        """The process of the daemon, if one runs that was announced here."""
        address = self._address_or_none()
        return address.pid if address and is_alive(address.pid) else None

    @cached_property
    def is_running(self) -> bool:
        """Whether a daemon runs: its process is there, or it answers from where its process cannot be seen."""
        if self.pid is not None:
            return True
        try:
            return self.fetch("/healthz") == (200, "ok\n")
        except DaemonError:
            return False

    @cached_property
    def config_path(self) -> Path | None:
        """The configuration file: the one that was named, or the one on the running daemon's command line."""
        return self.config_file or (_named_on_command_line(self.pid) if self.pid else None)

    @cached_property
    def config(self) -> Config:
        """The configuration, or the defaults while it is not known or wrong: a check of its own says so."""
        try:
            return load_config(self.config_path)
        except ConfigError:
            return Config()

    @cached_property
    def store_url(self) -> str:
        """The store with rights to read everything; empty if it is not known."""
        address = self._address_or_none()
        return self.redis_url or (address.redis_url if address else "") or self.config.killswitch.redis_url

    @property
    def is_store_embedded(self) -> bool:
        """Whether the daemon runs the store itself."""
        return not self.redis_url and not self.config.killswitch.redis_url and (self.state / "redis").is_dir()

    def switch(self) -> Switch:
        """Return a way to read the store; without the daemon's key, so it could not even write."""
        return Switch(self.store_url, timeout_s=STORE_TIMEOUT_S)

    def fetch(self, path: str) -> tuple[int, str]:
        """Return status and text of the daemon's answer; raises `DaemonError` if there is none."""
        address = self._address_or_none()
        if address is None:
            raise DaemonError("no daemon is announced here")
        parts = urlsplit(address.url)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            own = address.certificate
            context = announced_tls(own) if own else ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=HTTP_TIMEOUT_S, context=context
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=HTTP_TIMEOUT_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read(MAX_ANSWER_BYTES).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise DaemonError(f"{address.url}: {error}") from error
        finally:
            connection.close()

    def _address_or_none(self) -> Address | None:
        try:
            return self.address
        except DaemonError:
            return None


def is_alive(pid: int) -> bool:
    """Return whether there is such a process, whoever owns it."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process; empty where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return []


def _named_on_command_line(pid: int) -> Path | None:
    words = command_line(pid)
    for at, word in enumerate(words):
        named = word.partition("=")[2] if word.startswith("--config=") else ""
        if word == "--config" and at + 1 < len(words):
            named = words[at + 1]
        if named:
            try:
                return Path(f"/proc/{pid}/cwd").readlink() / named
            except OSError:
                return Path(named)
    return None
