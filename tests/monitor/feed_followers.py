"""Ways to follow the feed to its end, whatever becomes of the connection: each as somebody outside would write it.

None of them drops a repeat or sorts anything: what the daemon sends twice, or in the wrong order, is in `found`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from monitor.feed_client import FeedClient

SILENCE_S = 15.0
PAUSE_S = 0.05
UNTOLD = ("status", "snapshot")
PAGE = 7


class Where(NamedTuple):
    """A `monitor.feed_client.Contact`."""

    url: str
    token: str
    tls: None = None


class Follower:
    """Has `found` every message that it was sent, as (seq, message), and everything up to `position` is among them."""

    def __init__(self, where: Where, wanted: str = "") -> None:
        self.where = where
        self.wanted = wanted
        self.found: list[tuple[int, dict[str, Any]]] = []
        self.position = 0
        self.connections = 0
        self.missed = 0
        """How many messages it was not sent, but told of: it fetched them."""

    async def follow(self) -> None:
        """Never ends by itself."""
        while True:
            with contextlib.suppress(OSError, WebSocketException, httpx.HTTPError, TimeoutError):
                await self.once()
            await asyncio.sleep(PAUSE_S)

    async def once(self) -> None:
        """Follow until the connection breaks."""
        raise NotImplementedError

    async def take(self, message: dict[str, Any]) -> None:
        if message["type"] != "status":
            self._keep(message)
        elif "missed" in message["status"]:
            await self._fetch(**{f"{end}_seq": seq for end, seq in message["status"]["missed"].items()})
        else:
            assert "reset" not in message["status"], "the daemon says that this is another log"
            self.position = message["seq"]

    def _keep(self, message: dict[str, Any]) -> None:
        self.found.append((message["seq"], message))
        self.position = message["seq"]

    async def _fetch(self, from_seq: int, to_seq: int) -> None:
        first: int | None = from_seq
        async with httpx.AsyncClient(trust_env=False, timeout=SILENCE_S) as client:
            while first is not None:
                query = {"from": first, "to": to_seq, "filter": self.wanted, "limit": PAGE}
                answer = await client.get(
                    f"{self.where.url}/v1/feed/messages", params=query, headers=self.headers
                )
                answer.raise_for_status()
                page = answer.json()
                assert page["gone_to"] is None
                for message in page["messages"]:
                    self._keep(message)
                    self.missed += 1
                first = page["next"]
        self.position = to_seq

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.where.token}"}


class WebsocketFollower(Follower):
    async def once(self) -> None:
        query = urlencode({"since": self.position, "filter": self.wanted})
        url = f"ws{self.where.url.removeprefix('http')}/v1/feed?{query}"
        async with connect(
            url, additional_headers=self.headers, proxy=None, compression=None, close_timeout=1.0
        ) as socket:
            self.connections += 1
            while True:
                await self.take(json.loads(await asyncio.wait_for(socket.recv(), SILENCE_S)))


class EventFollower(Follower):
    """As WHATWG HTML §9.2 has it: an event counts once its empty line has come, and the last one's id goes along."""

    async def once(self) -> None:
        headers = self.headers | ({"Last-Event-ID": str(self.position)} if self.connections else {})
        url = f"{self.where.url}/v1/feed/events?{urlencode({'since': 0, 'filter': self.wanted})}"
        async with (
            httpx.AsyncClient(trust_env=False, timeout=SILENCE_S) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            answer.raise_for_status()
            self.connections += 1
            async for number, message in _events(answer):
                assert number == message["seq"]
                await self.take(message)


async def _events(answer: httpx.Response) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    number, data = -1, ""
    async for line in answer.aiter_lines():
        if line.startswith("id: "):
            number = int(line[4:])
        elif line.startswith("data: "):
            data = line[6:]
        elif not line and data:
            yield number, json.loads(data)
            data = ""


class TypedFollower(Follower):
    """Our own client; with `snapshot` it begins with what is open, and `began_after` says where."""

    def __init__(self, where: Where, wanted: str = "", *, snapshot: bool = False) -> None:
        super().__init__(where, wanted)
        self.began_after = 0
        self._client = FeedClient(
            lambda: self.where,
            since=None if snapshot else 0,
            filter=wanted,
            snapshot=snapshot,
            heartbeats=True,
            patient=True,
        )

    async def follow(self) -> None:
        async with contextlib.aclosing(self._client.texts()) as texts:
            async for text in texts:
                message = json.loads(text)
                if message["type"] == "snapshot":
                    self.began_after = message["seq"]
                elif message["type"] == "status":
                    assert "missed" not in message["status"], "retention has deleted nothing"
                else:
                    self._keep(message)
                self.position = message["seq"]
                self.connections = self._client.connections
