"""The readers of the feed benchmark: raw connections that keep what comes and when, and look into it afterwards.

They live in a process of their own, and a reader does nothing with a message but keep it, so that what is measured is
the server. They answer no pings: a measurement is over before a server would miss the second answer.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import statistics
import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec
import uvloop

from benchmarks.feed_process import STAMPED, answer
from monitor.listening import lift_file_limit

CONNECTING_AT_ONCE: Final = 50
CONNECT_S: Final = 30.0
LATE_S: Final = 15.0
"""So long after the last alert whatever is missing may still come, until it counts as lost."""
STUCK_BUFFER_BYTES: Final = 4096
TEXT: Final = 0x81  # a whole text message (RFC 6455 §5.2)

_STAMP: Final = re.compile(rb'"title":"%b(\d+)"' % STAMPED.encode())


class Where(NamedTuple):
    """A server's feed."""

    url: str
    token: str = ""

    def address(self) -> tuple[str, int]:
        """Return its host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80

    def request(self) -> bytes:
        """Return the handshake (RFC 6455 §4.1)."""
        parts = urlsplit(self.url)
        lines = [
            f"GET {parts.path} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            *([f"Authorization: Bearer {self.token}"] if self.token else []),
        ]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


class Viewer(asyncio.Protocol):
    """One connection; keeps its bytes, and when each piece of them came."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self.transport: asyncio.Transport
        self.welcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = b""
        self._came_ns: list[int] = []
        self._pieces: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the feed (asyncio)."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self.transport.write(self._where.request())

    def data_received(self, data: bytes) -> None:
        """Keep it (asyncio)."""
        now_ns = time.monotonic_ns()
        if not self.welcome.done():
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.welcome.set_exception(RuntimeError(f"not welcome: {head[:200]!r}"))
                return
            self.welcome.set_result(None)
        self._came_ns.append(now_ns)
        self._pieces.append(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Say so to whoever waits for the welcome (asyncio)."""
        if not self.welcome.done():
            self.welcome.set_exception(RuntimeError(f"the connection ended: {error}"))

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """Yield each message that is here in full, and when its last byte came."""
        ends = list(accumulate(len(piece) for piece in self._pieces))
        data = b"".join(self._pieces)
        for text, end in frames(data):
            yield self._came_ns[bisect_left(ends, end)], text


def frames(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the text messages of a server's frames, and where each ends; the last frame may be cut off."""
    at = 0
    while at + 2 <= len(data):
        kind, length, start = data[at], data[at + 1], at + 2
        if length == 126:
            start, length = at + 4, int.from_bytes(data[at + 2 : at + 4], "big")
        elif length == 127:
            start, length = at + 10, int.from_bytes(data[at + 2 : at + 10], "big")
        at = start + length
        if start > len(data) or at > len(data):
            return
        if kind == TEXT:
            yield data[start:at], at


class Viewers:
    """All connections of one measurement."""

    def __init__(self) -> None:
        self._viewers: list[Viewer] = []
        self._stuck: Viewer | None = None

    async def connect(self, where: Where, count: int) -> None:
        """Open so many connections; return when all are welcome."""
        host, port = where.address()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            for first in range(0, count, CONNECTING_AT_ONCE):
                some = range(first, min(first + CONNECTING_AT_ONCE, count))
                opening = [loop.create_connection(lambda: Viewer(where), host, port) for _ in some]
                new = [viewer for _, viewer in await asyncio.gather(*opening)]
                await asyncio.gather(*(viewer.welcome for viewer in new))
                self._viewers += new

    async def connect_stuck(self, where: Where) -> None:
        """Open one more that takes nothing after its welcome; its own buffer is small, so that is soon felt."""
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STUCK_BUFFER_BYTES)
        own.setblocking(False)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            await loop.sock_connect(own, where.address())
            _, self._stuck = await loop.create_connection(lambda: Viewer(where), sock=own)
            await self._stuck.welcome
        self._stuck.transport.pause_reading()

    async def release_stuck(self) -> int:
        """Have it read again until it was told that it missed messages; return how many."""
        stuck = self._stuck
        assert stuck is not None
        stuck.transport.resume_reading()
        due_s = time.monotonic() + LATE_S
        while not (missed := _missed(stuck)) and time.monotonic() < due_s:  # noqa: ASYNC110 - looked up in bytes
            await asyncio.sleep(0.1)
        stuck.transport.abort()
        self._stuck = None
        return missed

    async def collect(self, expected: int) -> dict[str, Any]:
        """Return what came of so many alerts to each, and how late; waits for what is still on its way."""
        due_s = time.monotonic() + LATE_S
        while True:
            await asyncio.sleep(0.5)
            stamps = [_stamped(viewer) for viewer in self._viewers]
            distinct = [len({stamp for stamp, _ in found}) for found in stamps]
            if min(distinct) >= expected or time.monotonic() > due_s:
                break
        took_ms = [(came_ns - stamp) / 1e6 for found in stamps for stamp, came_ns in found]
        return {
            "received": sum(distinct),
            "repeated": sum(map(len, stamps)) - sum(distinct),
            "bytes": max((len(text) for _, text in self._viewers[0].messages()), default=0),
            **_quantiles(took_ms),
        }

    def leave(self) -> None:
        """Close all connections."""
        for viewer in self._viewers:
            viewer.transport.abort()
        self._viewers.clear()


def _stamped(viewer: Viewer) -> list[tuple[int, int]]:
    """Return the stamp of each of the benchmark's own alerts, and when it came."""
    return [(int(found[1]), came_ns) for came_ns, text in viewer.messages() if (found := _STAMP.search(text))]


def _missed(viewer: Viewer) -> int:
    spans = [
        msgspec.json.decode(text)["status"]["missed"]
        for _, text in viewer.messages()
        if b'"missed":{' in text
    ]
    return sum(span["to"] - span["from"] + 1 for span in spans)


def _quantiles(took_ms: list[float]) -> dict[str, float]:
    if len(took_ms) < 2:
        return {"p50_ms": float("inf"), "p99_ms": float("inf")}
    cuts = statistics.quantiles(took_ms, n=100, method="inclusive")
    return {"p50_ms": cuts[49], "p99_ms": cuts[98]}


async def _serve(pipe: Connection) -> None:
    viewers = Viewers()

    async def leave() -> None:
        viewers.leave()

    await answer(
        pipe,
        {
            "connect": viewers.connect,
            "connect_stuck": viewers.connect_stuck,
            "release_stuck": viewers.release_stuck,
            "collect": viewers.collect,
            "leave": leave,
        },
    )


def run_viewers(pipe: Connection) -> None:
    """Be the process of the viewers."""
    lift_file_limit()
    uvloop.run(_serve(pipe))
