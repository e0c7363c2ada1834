"""How the commands that read from a running daemon reach it."""

from __future__ import annotations

import argparse
import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from monitor.access.roles import Role
from monitor.errors import DaemonError
from monitor.state_dir import StateDir

TIMEOUT_S = 10.0


class Daemon(NamedTuple):
    """A daemon's address and a token for it."""

    url: str
    token: str


def find_daemon(options: argparse.Namespace, role: Role) -> Daemon:
    """Return the daemon that was named, or the one of the state directory."""
    if options.url and options.token:
        return Daemon(options.url.rstrip("/"), options.token)
    state = StateDir.existing(options.state)
    url = options.url or state.address().url
    return Daemon(url.rstrip("/"), options.token or state.tokens()[role])


def get(daemon: Daemon, path: str) -> Any:
    """Return the JSON at the path; raises `DaemonError` if there is none to be had."""
    parts = urlsplit(daemon.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {daemon.token}"})
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise DaemonError(f"no answer from {daemon.url}: {error}; is the daemon up?") from error
    finally:
        connection.close()
    if response.status != 200:
        raise DaemonError(
            f"{daemon.url}{path} answered {response.status}: {body[:300].decode(errors='replace')}"
        )
    return json.loads(body)
