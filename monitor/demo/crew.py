"""The story's side of the agent processes: start them, give orders, wait for what they tell, end them."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Self

from monitor.demo.agent_process import Setup
from monitor.demo.errors import StoryFailed

_STOP_S = 8.0


class Crew:
    """All agent processes. A context manager: none of them outlives it.

    Parameters
    ----------
    setups
        One for each agent, in the order of their numbers.
    """

    def __init__(self, setups: Sequence[Setup]) -> None:
        self._events: dict[int, deque[dict[str, Any]]] = defaultdict(deque)
        self._arrived = threading.Condition()
        self._sockets: list[socket.socket] = []
        theirs = []
        for _ in setups:
            ours, their = socket.socketpair()
            self._sockets.append(ours)
            theirs.append(their)
        self._launcher = subprocess.Popen(
            [sys.executable, "-m", "monitor.demo.agent_process", *(str(one.fileno()) for one in theirs)],
            pass_fds=[one.fileno() for one in theirs],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us: we end the agents in order
        )
        for one in theirs:
            one.close()
        for number, setup in enumerate(setups):
            self._send(number, asdict(setup))
        self._listener = threading.Thread(target=self._listen, name="demo-crew", daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End all processes: kindly by closing their sockets, after a while by force."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.join(_STOP_S)
        try:
            self._launcher.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._launcher.pid, signal.SIGKILL)
            self._launcher.wait(_STOP_S)
        for one in self._sockets:
            one.close()

    def __len__(self) -> int:
        return len(self._sockets)

    def order(self, number: int, what: str) -> None:
        """Give one agent an order: ``live``, ``hijack`` or ``stop``."""
        self._send(number, {"do": what})

    def order_all(self, what: str) -> None:
        """Give all agents an order."""
        for number in range(len(self)):
            self.order(number, what)

    def wait(self, number: int, event: str, timeout_s: float) -> dict[str, Any]:
        """Return the agent's next `event`, passing over others; raises `StoryFailed` if it does not come."""
        deadline_s = time.monotonic() + timeout_s
        with self._arrived:
            while True:
                while self._events[number]:
                    told = self._events[number].popleft()
                    if told["event"] == event:
                        return told
                    if told["event"] == "gone":
                        raise StoryFailed(f"the process of agent {number} ended before it was {event}")
                if not self._arrived.wait(deadline_s - time.monotonic()):
                    raise StoryFailed(f"agent {number} was not {event} within {timeout_s:g} s")

    def told(self, event: str) -> list[tuple[int, dict[str, Any]]]:
        """Return the events of a kind that nobody has waited for yet; they stay."""
        with self._arrived:
            return [
                (number, one)
                for number, all_ in self._events.items()
                for one in all_
                if one["event"] == event
            ]

    def _send(self, number: int, document: dict[str, Any]) -> None:
        try:
            self._sockets[number].sendall(json.dumps(document).encode() + b"\n")
        except OSError as error:
            raise StoryFailed(f"the process of agent {number} is gone: {error}") from error

    def _listen(self) -> None:
        """Read all sockets until each was closed."""
        buffers = dict.fromkeys(range(len(self)), b"")
        with selectors.DefaultSelector() as selector:
            for number, one in enumerate(self._sockets):
                selector.register(one, selectors.EVENT_READ, number)
            while selector.get_map():
                for key, _ in selector.select():
                    number = key.data
                    chunk = self._read(number)
                    *lines, buffers[number] = (buffers[number] + chunk).split(b"\n")
                    events = [json.loads(line) for line in lines]
                    if not chunk:
                        selector.unregister(key.fileobj)
                        events.append({"event": "gone"})
                    with self._arrived:
                        self._events[number].extend(events)
                        self._arrived.notify_all()

    def _read(self, number: int) -> bytes:
        try:
            return self._sockets[number].recv(65536)
        except OSError:
            return b""
