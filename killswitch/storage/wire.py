"""Waiting on a socket with as few system calls as can be.

Python gives up its interpreter lock around each call that may block and queues for it again. Where one process holds
many enforcement points, all of them wake for a kill at once, and each turn in that queue costs them milliseconds. A
socket with a time-out in Python asks ``poll`` first and reads then: two turns. With the time-out in the kernel
(``SO_RCVTIMEO``) one call does both.
"""

from __future__ import annotations

import math
import os
import select
import socket
import ssl
import struct
from collections.abc import Iterable
from typing import Any, Final

RECEIVE_BYTES: Final = 16_384
NOTHING_YET: Final = (TimeoutError, BlockingIOError, ssl.SSLWantReadError)
"""What a read raises when the time is up."""

_SHORTEST_S: Final = 1e-6  # 0 would be for ever


class Wire:
    """The reading side of one connected socket, for one thread.

    Parameters
    ----------
    sock : socket
        Whoever sends on it may do so too; a send that takes longer than `timeout_s` seconds fails.
    """

    def __init__(self, sock: Any, timeout_s: float) -> None:
        self._socket = sock
        self._timeout_s = timeout_s
        self._by_kernel = os.name == "posix" and not isinstance(sock, ssl.SSLSocket)
        if self._by_kernel:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout_s))
            sock.settimeout(None)

    def read(self, timeout_s: float | None) -> bytes:
        """Return what has come, waiting up to `timeout_s` seconds for it; None: as long as the last time.

        Raises
        ------
        TimeoutError, BlockingIOError, ssl.SSLWantReadError
            If nothing came: :data:`NOTHING_YET`.
        OSError
            If the connection is broken, or was closed, at either end.
        """
        if timeout_s is None:
            data: bytes = self._socket.recv(RECEIVE_BYTES)
        elif not self._by_kernel:
            self._socket.settimeout(timeout_s)
            data = self._socket.recv(RECEIVE_BYTES)
        elif timeout_s <= 0:
            data = self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        else:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(timeout_s))
            data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        return data

    def ready_to_send(self) -> None:
        """Give the next send its time-out."""
        if not self._by_kernel:
            self._socket.settimeout(self._timeout_s)

    def is_first_of(self, other: Any, timeout_s: float) -> bool:
        """Return whether this socket can be read within `timeout_s` seconds; False at once if only `other` can."""
        if getattr(self._socket, "pending", int)():  # decrypted already
            return True
        return self._socket in _readable([self._socket, other], timeout_s)


def _timeval(timeout_s: float) -> bytes:
    seconds = max(_SHORTEST_S, timeout_s)
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6) or (1 if seconds < 1 else 0))


def _readable(sockets: Iterable[Any], timeout_s: float) -> list[Any]:
    if not hasattr(select, "poll"):  # Windows
        return select.select(list(sockets), [], [], timeout_s)[0]
    poll = select.poll()
    by_number = {item.fileno(): item for item in sockets}
    if -1 in by_number:
        raise ConnectionResetError("closed")
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(math.ceil(timeout_s * 1e3))]
