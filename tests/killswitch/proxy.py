"""A TCP proxy that can go silent: connections stay open and nothing comes through, as behind a dead firewall."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Forwards to a local port until told to swallow what the server says."""

    def speak(self) -> None:
        """Let new and unnamed connections through again."""
        self._all_silent = False

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        self._silent: set[int] = set()
        self._all_silent = False
        self.accepted = 0
        self._spawn(self._accept)

    def silence(self, number: int) -> None:
        """Swallow all that the server says on connection `number` (0 is the first accepted) from now on."""
        self._silent.add(number)

    def silence_all(self) -> None:
        """Swallow everything on all connections, those to come too."""
        self._all_silent = True

    def close(self) -> None:
        for sock in [self._listener, *self._sockets]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _spawn(self, run: object, *args: object) -> None:
        threading.Thread(target=run, args=args, daemon=True).start()  # type: ignore[arg-type]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            self._spawn(self._pump, client, server, None)
            self._spawn(self._pump, server, client, self.accepted)
            self.accepted += 1

    def _pump(self, source: socket.socket, sink: socket.socket, number: int | None) -> None:
        try:
            while data := source.recv(65536):
                if number not in self._silent and not self._all_silent:
                    sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
