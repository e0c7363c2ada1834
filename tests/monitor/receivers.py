"""Receivers that deliveries are sent to, for tests: real sockets on loopback that fail as they are told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple


class Got(NamedTuple):
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Answer(NamedTuple):
    """What the receiver says; `status` 0 hangs up without a word, -1 says nothing at all."""

    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012
    body: bytes = b""


OK = Answer()
HANGS_UP, IS_SILENT = Answer(0), Answer(-1)


class HttpReceiver:
    """An HTTP server that answers what `decide` says, and remembers what it took (2xx) and all it was asked."""

    def __init__(self) -> None:
        self.asked: list[Got] = []
        self.taken: list[Got] = []
        self.decide: Callable[[Got], Answer] = lambda got: OK
        self.port = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            key.lower(): value for key, _, value in (line.partition(": ") for line in head[1:] if line)
        }
        got = Got(
            head[0].split()[1], headers, await reader.readexactly(int(headers.get("content-length", 0)))
        )
        self.asked.append(got)
        answer = self.decide(got)
        if answer.status < 0:
            await reader.read()  # until the other side gives up
        if answer.status <= 0:
            return False
        if 200 <= answer.status < 300:
            self.taken.append(got)
        lines = [f"HTTP/1.1 {answer.status} .", f"content-length: {len(answer.body)}"]
        lines += [f"{key}: {value}" for key, value in answer.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + answer.body)
        await writer.drain()
        return True


@contextlib.asynccontextmanager
async def http_receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpReceiver]:
    receiver = HttpReceiver()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            await receiver.serve(reader, writer)
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    receiver.scheme = "https" if tls else "http"
    try:
        yield receiver
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class SyslogReceiver:
    """A syslog collector over TCP or TLS that takes counted frames; `hang_up` drops everybody who is connected."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.connections = 0
        self.port = 0
        self.reads = asyncio.Event()
        self.reads.set()
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self.reads.wait()
                length = int((await reader.readuntil(b" ")).decode())
                self.messages.append(await reader.readexactly(length))
        writer.close()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@contextlib.asynccontextmanager
async def syslog_receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[SyslogReceiver]:
    receiver = SyslogReceiver()
    listener = socket.socket()
    listener.setsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF, 8192
    )  # the kernel takes little that nobody reads
    listener.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(receiver.serve, sock=listener, ssl=tls)
    receiver.port = listener.getsockname()[1]
    try:
        yield receiver
    finally:
        receiver.reads.set()
        receiver.hang_up()
        server.close()
        await asyncio.sleep(0)
