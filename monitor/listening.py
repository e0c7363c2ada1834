"""Where the daemon listens: its sockets, what it calls itself, and TLS by files."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from monitor.config import Server
from monitor.errors import ConfigError, DaemonError

log = logging.getLogger("killcord")

LOOK_INTERVAL_S: Final = 5.0


class Listeners(NamedTuple):
    """The socket for everything, and the one for kills if those are taken elsewhere."""

    main: socket.socket
    kill: socket.socket | None
    scheme: str

    @property
    def url(self) -> str:
        """Where the daemon is."""
        return _url(self.scheme, self.main)

    @property
    def kill_url(self) -> str:
        """Where kills are taken; empty if that is where everything is."""
        return _url(self.scheme, self.kill) if self.kill else ""

    @property
    def kill_port(self) -> int:
        """The port for kills; 0 if it is that of everything."""
        return int(self.kill.getsockname()[1]) if self.kill else 0

    @property
    def sockets(self) -> list[socket.socket]:
        """All of them."""
        return [self.main, *([self.kill] if self.kill else [])]


def lift_file_limit() -> None:
    """Allow this process as many open files as the system lets it have: each reader, sensor and caller is one."""
    try:
        import resource
    except ImportError:  # not on every platform
        return
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != most:
        with contextlib.suppress(OSError, ValueError):  # some systems say "unlimited" and mean less
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def listen(server: Server, host: str | None, port: int | None) -> Listeners:
    """Open the sockets; `host` and `port` win over the configuration's. Raises `DaemonError`."""
    main = _open(host or server.host, server.port if port is None else port, "--port")
    kill = None
    if server.kill_host:
        try:
            kill = _open(server.kill_host, server.kill_port, "server.kill_port")
        except DaemonError:
            main.close()
            raise
    return Listeners(main, kill, "https" if server.tls_cert else "http")


class Tls:
    """The certificate that is served, read anew when its file changes. Connections that are open keep the old one.

    Raises
    ------
    ConfigError
        If the files do not make a certificate with its key.
    """

    def __init__(self, server: Server) -> None:
        self._cert, self._key = Path(server.tls_cert), Path(server.tls_key)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._stat()
        self._load()

    def context(self) -> ssl.SSLContext:
        """Return the context that connections are taken with."""
        return self._context

    def certificate(self) -> str:
        """Return the certificate itself (PEM), without those that vouch for it."""
        text = self._cert.read_text()
        return text[: text.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n"

    async def follow(self, on_change: Callable[[], None]) -> None:
        """Read the files anew whenever they change, and call `on_change` then. Never ends."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            seen = self._stat()
            if seen == self._seen:
                continue
            self._seen = seen
            try:
                self._load()
            except ConfigError as error:  # half of the pair is new: the other half will be a moment later
                log.error("the old certificate stays in use: %s", error)
            else:
                log.info("serving the new certificate of %s", self._cert)
                on_change()

    def _load(self) -> None:
        try:
            self.certificate()
            self._context.load_cert_chain(self._cert, self._key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigError(
                "server.tls_cert", f"{self._cert} and {self._key} are no certificate with its key: {error}"
            ) from error

    def _stat(self) -> tuple[int, ...]:
        try:
            found = (self._cert.stat(), self._key.stat())
        except OSError:
            return ()
        return tuple(number for one in found for number in (one.st_ino, one.st_mtime_ns))


def announced_tls(certificate: str) -> ssl.SSLContext:
    """Return how to judge a daemon that announced itself with this certificate (PEM): it must be the very one.

    Only its owner can write the announcement, so the certificate is right, whatever name it was made out for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate)
    return context


def _open(host: str, port: int, option: str) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise DaemonError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another with {option} (0: any free one)"
        ) from error


def _url(scheme: str, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
