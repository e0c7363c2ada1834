"""A wire to the daemon that a test can cut: between two messages, or in the middle of one."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

CHUNK_BYTES = 16 * 1024
CONNECT_TIMEOUT_S = 5.0


class Line:
    """One connection through the wire. It carries the feed if its first request asks for that."""

    def __init__(
        self, client: asyncio.StreamWriter, daemon: asyncio.StreamWriter, rng: random.Random
    ) -> None:
        self._client, self._daemon = client, daemon
        self._rng = rng
        self._is_doomed = False
        self._carries_feed = False
        self._has_answered = False

    @property
    def can_be_cut(self) -> bool:
        """Whether the feed is being read on it, and nobody has cut it yet."""
        return self._carries_feed and self._has_answered and not self._is_doomed

    def cut(self, *, in_the_middle: bool) -> None:
        """Cut now, or as soon as something comes, in the middle of that."""
        self._is_doomed = True
        if not in_the_middle:
            self.abort()

    def abort(self) -> None:
        for writer in (self._client, self._daemon):
            writer.transport.abort()

    async def upwards(self, source: asyncio.StreamReader) -> None:
        """Pass on what the client says."""
        with contextlib.suppress(OSError):
            while piece := await source.read(CHUNK_BYTES):
                self._carries_feed |= piece.startswith((b"GET /v1/feed?", b"GET /v1/feed/events?"))
                self._daemon.write(piece)
                await self._daemon.drain()
        self._daemon.close()

    async def downwards(self, source: asyncio.StreamReader) -> None:
        """Pass on what the daemon says; if the line is doomed, only a part of it, and that was all."""
        with contextlib.suppress(OSError):
            while piece := await source.read(CHUNK_BYTES):
                if self._is_doomed:
                    self._client.write(piece[: self._rng.randrange(len(piece))])
                    break
                self._has_answered = True
                self._client.write(piece)
                await self._client.drain()
        self._client.close()
        self._daemon.close()


class CutWire:
    """Listens on a port of its own and passes everything on to the port that `to` names at that moment."""

    def __init__(self, to: Callable[[], int], rng: random.Random) -> None:
        self._to = to
        self._rng = rng
        self._lines: set[Line] = set()
        self.cuts = 0

    async def __aenter__(self) -> CutWire:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for line in self._lines:
            line.abort()

    def cut_one(self) -> bool:
        """Cut a random connection on which the feed is being read; False if there is none."""
        lines = [line for line in self._lines if line.can_be_cut]
        if not lines:
            return False
        self._rng.choice(lines).cut(in_the_middle=self._rng.random() < 0.5)
        self.cuts += 1
        return True

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                from_daemon, to_daemon = await asyncio.open_connection("127.0.0.1", self._to())
        except (OSError, TimeoutError):
            to_client.transport.abort()
            return
        line = Line(to_client, to_daemon, self._rng)
        self._lines.add(line)
        try:
            await asyncio.gather(line.upwards(from_client), line.downwards(from_daemon))
        finally:
            self._lines.discard(line)
