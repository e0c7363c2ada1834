"""How the commands that read from a running daemon reach it."""

from __future__ import annotations

import argparse
import http.client
import json
import ssl
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from monitor.errors import ConfigError, DaemonError
from monitor.listening import announced_tls
from monitor.state_dir import StateDir

TIMEOUT_S = 10.0


class Daemon(NamedTuple):
    """A daemon's address, a token for it, and how its TLS certificate is judged (None: no TLS)."""

    url: str
    token: str
    tls: ssl.SSLContext | None = None


def find_daemon(options: argparse.Namespace) -> Daemon:
    """Return the daemon that was named, or the one of the state directory as it is announced at this moment.

    A daemon that was started anew has another local token: whoever tries again asks this again.
    """
    if options.url and options.token:
        return Daemon(options.url.rstrip("/"), options.token, _tls(options.url, options.ca, ""))
    address = StateDir.existing(options.state).address()
    url = (options.url or address.url).rstrip("/")
    if url not in (address.url, address.kill_url) and not options.token:
        raise ConfigError(
            "--token", f"the state directory's own token is for {address.url}; {url} takes one of its own"
        )
    own = address.certificate if url in (address.url, address.kill_url) else ""
    return Daemon(url, options.token or address.token, _tls(url, options.ca, own))


def _tls(url: str, ca: Path | None, certificate: str) -> ssl.SSLContext | None:
    """Return how to judge the daemon's certificate: by a CA file, or as the very one that it announced itself with."""
    if urlsplit(url).scheme != "https":
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ConfigError("--ca", f"{ca} holds no certificates: {error}") from error
    return announced_tls(certificate) if certificate and ca is None else context


def get(daemon: Daemon, path: str) -> Any:
    """Return the JSON at the path; raises `DaemonError` if there is none to be had."""
    return _ask(daemon, "GET", path)


def post(daemon: Daemon, path: str, *, timeout_s: float = TIMEOUT_S) -> Any:
    """Return the JSON that a request without a body is answered with; raises `DaemonError` if there is none."""
    return _ask(daemon, "POST", path, timeout_s)


def _ask(daemon: Daemon, method: str, path: str, timeout_s: float = TIMEOUT_S) -> Any:
    parts = urlsplit(daemon.url)
    connection: http.client.HTTPConnection
    if daemon.tls:
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=timeout_s, context=daemon.tls
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {daemon.token}"})
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
