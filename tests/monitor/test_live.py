"""The feed's edges in one process with real sockets: websocket, server-sent events, old messages; and their bounds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close

from monitor.config import parse_config
from monitor.gate import open_gate
from monitor.live.feed import now_text
from monitor.live.reader import End, Reader
from monitor.metrics import FEED_MISSED, FEED_SENT, READERS, Metric
from monitor.state_dir import StateDir
from monitor.web import live, pushed, wire
from monitor.web.app import create_app
from monitor.web.wire import WireProtocol
from tests.monitor.engines import Node, until
from tests.monitor.test_web import Edge

CONFIG = parse_config("[server]\nmax_body_bytes = 2048\n")


def alert(number: int, agent: str = "a", size: int = 0) -> dict[str, Any]:
    return {
        "type": "alert",
        "ts": now_text(),
        "alert": {"id": f"al-{number}", "agent_id": agent, "title": "x" * size},
    }


class Served:
    """The application of `Edge`, served on a port by the daemon's own protocol, or by uvicorn's plain one."""

    def __init__(self, edge: Edge, plain: bool = False) -> None:
        self.feed = edge.node.feed
        self.hands_out_wires = not plain
        self.tokens = edge._tokens
        config = uvicorn.Config(
            create_app(edge.services),
            port=0,
            lifespan="off",
            log_level="warning",
            ws="websockets-sansio" if plain else WireProtocol,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=5,
        )
        self.server = uvicorn.Server(config)

    async def __aenter__(self) -> Served:
        self.server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._serving = asyncio.create_task(self.server.serve())
        await until(lambda: self.server.started)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.should_exit = True
        await asyncio.wait_for(self._serving, 15)

    @contextlib.asynccontextmanager
    async def reading(
        self, query: str = "", token: str = "look", **options: Any
    ) -> AsyncIterator[ClientConnection]:
        headers = {"Authorization": f"Bearer {self.tokens[token]}"}
        url = f"ws://127.0.0.1:{self.port}/v1/feed?{query}"
        async with connect(
            url, additional_headers=headers, proxy=None, compression=None, **options
        ) as socket:
            yield socket

    async def publish(self, numbers: Iterable[int], **options: Any) -> None:
        await self.feed.publish([alert(number, **options) for number in numbers])

    async def get(self, path: str, token: str = "look", **headers: str) -> tuple[int, Any]:
        async with httpx.AsyncClient(trust_env=False) as client:
            headers = {"Authorization": f"Bearer {self.tokens[token]}", **headers}
            answer = await client.get(f"http://127.0.0.1:{self.port}{path}", headers=headers)
            return answer.status_code, answer.json()


@pytest.fixture(params=["wire", "plain"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    async with (
        Node(tmp_path, CONFIG) as node,
        open_gate(CONFIG, StateDir(tmp_path)) as gate,
        Served(Edge(node, tmp_path, gate), request.param == "plain") as served,
    ):
        yield served


async def receive(socket: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 30))
    return found


async def take(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    """The next messages that are no heartbeats."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        message = await receive(socket)
        if message["type"] != "status" or message["status"].keys() & {"missed", "reset"}:
            found.append(message)
    return found


def seqs(messages: list[dict[str, Any]]) -> list[int]:
    return [message["seq"] for message in messages]


# -- what comes, and in which order -----------------------------------------------------------------------------------


async def test_the_past_then_the_present_each_once(served: Served) -> None:
    await served.publish(range(1, 1201))
    async with served.reading("since=3") as socket:
        assert (await receive(socket))["type"] == "status"
        await served.publish(range(1201, 1301))
        assert seqs(await take(socket, 1297)) == list(range(4, 1301))
        await served.publish([1301])
        assert seqs(await take(socket, 1)) == [1301]


async def test_a_filter_leaves_out_what_does_not_match_and_heartbeats_pass_it_over(served: Served) -> None:
    for number in range(1, 11):
        await served.publish([number], agent="b" if number % 5 == 0 else "a")
    async with served.reading("since=0&filter=agent:b") as socket:
        assert seqs(await take(socket, 2)) == [5, 10]
        await served.publish([11, 12], agent="a")
        await until_beat(socket, 12)
        await served.publish([13], agent="b")
        assert seqs(await take(socket, 1)) == [13]


async def until_beat(socket: ClientConnection, seq: int) -> None:
    while True:
        message = await receive(socket)
        assert message["type"] == "status"
        assert message["seq"] <= seq
        if message["seq"] == seq:
            return


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("filter=severity:bad", "filter"),
        ("filter=colour:red", "filter"),
        ("since=x", "since"),
        ("since=-1", "since"),
        ("since=" + "9" * 19, "since"),
        ("snapshot=2", "snapshot"),
    ],
)
async def test_what_cannot_be_understood_is_refused_before_the_handshake(
    served: Served, query: str, field: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with served.reading(query):
            pass
    assert refused.value.response.status_code == 422
    answer = json.loads(refused.value.response.body)
    assert answer["field"] == field
    assert answer["error"]
    assert served.feed.readers == 0
    for path in ("events", "messages"):
        status, answer = await served.get(f"/v1/feed/{path}?{query}&from=1")
        if path == "events" or field == "filter":
            assert (status, answer["field"]) == (422, field)


async def test_who_asks_beyond_the_log_is_told_that_it_is_another_one(served: Served) -> None:
    await served.publish([1, 2])
    async with served.reading("since=99") as socket:
        first = await receive(socket)
        assert (first["seq"], first["status"]) == (2, {"reset": {"since": 99, "last_seq": 2}})
        await served.publish([3])
        assert seqs(await take(socket, 1)) == [3]


async def test_a_snapshot_comes_first_and_what_follows_it_begins_after_its_number(served: Served) -> None:
    publishing = asyncio.create_task(publish_slowly(served, 200))
    await until(lambda: served.feed.last_seq > 20)
    async with served.reading("snapshot=1&since=5") as socket:
        first = await receive(socket)
        assert first["type"] == "snapshot"
        me = {"name": "the-analyst", "role": "analyst", "permissions": ["read", "triage"]}
        assert first["snapshot"]["me"] == me
        shown = [group["alert"]["id"] for group in first["snapshot"]["alerts"]]
        assert shown == [f"al-{number}" for number in range(first["seq"], 0, -1)][:200]
        assert seqs(await take(socket, 200 - first["seq"])) == list(range(first["seq"] + 1, 201))
    await publishing


async def publish_slowly(served: Served, count: int) -> None:
    for number in range(1, count + 1):
        named = {"id": f"al-{number}", "agent_id": f"a-{number}"}  # each a group of its own
        await served.feed.publish([FULL_ALERT | {"alert": FULL_ALERT["alert"] | named}])


FULL_ALERT = {
    "type": "alert",
    "ts": "2026-11-23T21:00:00.000Z",
    "alert": {
        "id": "",
        "ts": "2026-11-23T21:00:00.000Z",
        "agent_id": "a",
        "session_id": None,
        "tool": "t",
        "action_id": "x",
        "action_seq": 1,
        "verdict": "anomalous",
        "severity": "low",
        "p": 0.1,
        "threshold_p": 0.1,
        "title": "odd",
        "reasons": [],
        "response": {"mode": "alert", "wanted": "alert", "taken": "alert", "why": "w"},
    },
}


# -- bounds -----------------------------------------------------------------------------------------------------------


async def test_a_heartbeat_never_overtakes_what_still_waits(served: Served) -> None:
    """A client that resumes from any status message it saw must get everything after it."""
    async with served.reading("since=0", max_queue=1) as socket:
        await until(lambda: served.feed.readers == 1)
        received: list[dict[str, Any]] = []

        async def read_slowly() -> None:
            while True:
                received.append(await receive(socket))
                await asyncio.sleep(0.01)

        reading = asyncio.create_task(read_slowly())
        for first in range(1, 400, 20):
            await served.publish(range(first, first + 20), size=100_000)
        await until(lambda: sum(one["type"] == "status" for one in received) >= 4)
        reading.cancel()
    told = 0
    for message in received:
        assert message["seq"] >= told - (message["type"] == "status")
        if message["type"] == "alert":
            assert message["seq"] == told + 1
            told = message["seq"]
        elif "missed" in message["status"]:
            assert message["seq"] == told == message["status"]["missed"]["from"] - 1
            told = message["status"]["missed"]["to"]
        else:
            assert message["seq"] == told, "resuming from it would lose or repeat something"


async def test_a_slow_reader_is_told_what_it_missed_and_can_fetch_exactly_that(served: Served) -> None:
    async with served.reading("filter=agent:a", max_queue=1) as socket:
        await until(lambda: bool(served.feed._channels))
        for first in range(1, 600, 20):
            await served.publish(range(first, first + 20), size=100_000, agent="a")
            await served.publish([0], agent="b")
        last = served.feed.last_seq
        got: list[int] = []
        fetched: list[int] = []
        while not got or got[-1] < last - 1:
            (message,) = await take(socket, 1)
            if message["type"] == "alert":
                got.append(message["seq"])
            else:
                missed = message["status"]["missed"]
                fetched += (found := await fetch(served, missed["from"], missed["to"], "agent:a"))
                got += found
    assert got == [seq for seq in range(1, last + 1) if seq % 21]
    await until(lambda: served.feed.readers == 0)
    assert counted(served, FEED_MISSED)["websocket"] == len(fetched) > 0, "only what it wanted"
    assert counted(served, FEED_SENT)["websocket"] == len(got) - len(fetched)


async def fetch(served: Served, first: int | None, last: int, wanted: str) -> list[int]:
    got: list[int] = []
    while first is not None:
        path = f"/v1/feed/messages?from={first}&to={last}&filter={wanted}&limit=37"
        status, page = await served.get(path)
        assert (status, page["gone_to"]) == (200, None)
        assert len(page["messages"]) <= 37
        got += seqs(page["messages"])
        first = page["next"]
    return got


async def test_who_takes_nothing_is_sent_away_and_slows_nobody(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (live, pushed):
        monkeypatch.setattr(module, "STALL_S", 0.5)
    monkeypatch.setattr(wire, "ABORT_AFTER_S", 20.0)
    async with served.reading(max_queue=1) as stuck, served.reading() as quick:
        await until(lambda: served.feed.readers == 2)
        reading = asyncio.create_task(take(quick, 600))
        for first in range(1, 600, 20):
            await served.publish(range(first, first + 20), size=100_000)
            await asyncio.sleep(0)
        got = await asyncio.wait_for(reading, 30)
        assert (
            len(got) + sum(_missed_count(message) - 1 for message in got if message["type"] == "status")
            >= 600
        )
        await until(lambda: served.feed.readers == 1)
        if served.hands_out_wires:
            assert (await end_of(stuck)).code == 1013
        else:  # ASGI cannot close past what the connection does not take
            stuck.transport.abort()


async def end_of(socket: ClientConnection) -> Close:
    """How the server closed, once everything before that was received."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(socket.recv(), 30)
    assert socket.protocol.close_rcvd is not None
    return socket.protocol.close_rcvd


def _missed_count(message: dict[str, Any]) -> int:
    missed = message["status"]["missed"]
    return int(missed["to"] - missed["from"] + 1)


async def test_the_readers_of_one_principal_can_be_sent_away(served: Served) -> None:
    async with served.reading() as mine, served.reading(token="stop") as others:
        await until(lambda: served.feed.readers == 2)
        served.feed.end_readers(End(1008, "the token was revoked"), principal="the-analyst")
        assert await end_of(mine) == Close(1008, "the token was revoked")
        await served.publish([1])
        assert seqs(await take(others, 1)) == [1]


async def test_pings_are_answered_and_closing_is_in_order(served: Served) -> None:
    async with served.reading() as socket:
        publishing = asyncio.create_task(publish_slowly(served, 100))
        reading = asyncio.create_task(take(socket, 100))
        for _ in range(5):
            await asyncio.wait_for(await socket.ping(), 30)
        await socket.send("what readers say means nothing")
        await publishing
        assert seqs(await reading) == list(range(1, 101))
        await socket.close(1000, "enough")
        assert socket.protocol.close_rcvd is not None
        assert socket.protocol.close_rcvd.code == 1000
    await until(lambda: served.feed.readers == 0)


# -- old messages -----------------------------------------------------------------------------------------------------


async def test_old_messages_are_answered_in_pages(served: Served) -> None:
    await served.publish(range(1, 101))
    assert await fetch(served, 1, 100, "type:alert") == list(range(1, 101))
    assert await fetch(served, 7, 7, "") == [7]
    status, page = await served.get("/v1/feed/messages?from=99&to=500")
    assert (status, seqs(page["messages"]), page["next"]) == (200, [99, 100], None)
    status, page = await served.get("/v1/feed/messages?from=101")
    assert (status, page) == (200, {"messages": [], "next": None, "gone_to": None})
    assert (await served.get("/v1/feed/messages"))[1]["field"] == "from"
    assert (await served.get("/v1/feed/messages?from=1", token="in"))[0] == 403


# -- server-sent events -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def events(
    served: Served, query: str = "", **headers: str
) -> AsyncIterator[AsyncIterator[tuple[int, Any]]]:
    """The events of a stream as (id, message)."""

    async def parsed(answer: httpx.Response) -> AsyncIterator[tuple[int, Any]]:
        number = -1
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: "):
                yield number, json.loads(line[6:])

    url = f"http://127.0.0.1:{served.port}/v1/feed/events?{query}"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
        client.stream(
            "GET", url, headers={"Authorization": f"Bearer {served.tokens['look']}", **headers}
        ) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield parsed(answer)


async def take_events(stream: AsyncIterator[tuple[int, Any]], count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        number, message = await asyncio.wait_for(anext(stream), 30)
        assert number == message["seq"]
        if message["type"] != "status":
            found.append(number)
    return found


async def test_events_resume_from_a_number_or_from_the_last_event(served: Served) -> None:
    await served.publish(range(1, 11))
    async with events(served, "since=4") as stream:
        assert await take_events(stream, 6) == list(range(5, 11))
        await served.publish([11])
        assert await take_events(stream, 1) == [11]
    async with events(served, "since=4&snapshot=1", **{"Last-Event-ID": "9"}) as stream:
        assert await take_events(stream, 2) == [10, 11]
    async with events(served, "since=0&filter=id:al-2,al-7") as stream:
        assert await take_events(stream, 2) == [2, 7]
    await until(lambda: served.feed.readers == 0)


async def test_events_end_when_the_readers_are_sent_away(served: Served) -> None:
    async with events(served) as stream:
        await anext(stream)
        served.feed.end_readers(End(1012, "the daemon is stopping"))
        began_s = time.monotonic()
        async for _ in stream:
            assert time.monotonic() - began_s < 30
    await until(lambda: served.feed.readers == 0)


async def test_a_reader_counts_as_one_only_while_it_reads(served: Served) -> None:
    assert isinstance(served.feed.reader(), Reader)
    async with served.reading(), events(served) as stream:
        await anext(stream)
        await until(lambda: served.feed.readers == 2)
        assert counted(served, READERS) == {"websocket": 1, "sse": 1}
    await until(lambda: served.feed.readers == 0)
    assert counted(served, READERS) == {"websocket": 0, "sse": 0}


async def test_what_is_sent_counts_once_for_each_reader_whether_past_or_live(served: Served) -> None:
    await served.publish(range(1, 5))
    async with (
        served.reading("since=1") as past,
        served.reading() as live,
        events(served, "since=0") as stream,
    ):
        await take(past, 3)
        await receive(live)
        await until(lambda: served.feed.readers == 3)
        await take_events(stream, 4)
        await served.publish([5, 6])
        await asyncio.gather(take(past, 2), take(live, 2), take_events(stream, 2))
        assert counted(served, FEED_SENT) == {"websocket": 5 + 2, "sse": 6}
    await until(lambda: served.feed.readers == 0)
    assert counted(served, FEED_SENT) == {"websocket": 7, "sse": 6}
    assert counted(served, FEED_MISSED) == {"websocket": 0, "sse": 0}


def counted(served: Served, metric: Metric) -> dict[str, float]:
    return {transport: value for (transport,), value in served.feed.traffic.metrics()[metric].items()}
