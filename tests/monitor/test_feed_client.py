"""The typed client: every message once and in order, whatever becomes of its connections; and `killcord tail`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket as sockets
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitor.cli.tail_text import line
from monitor.errors import FeedLost, FeedRefused, FeedReset
from monitor.feed_client import FeedClient
from monitor.gate import open_gate
from monitor.live.message_types import (
    AlertMessage,
    FeedMessage,
    SnapshotMessage,
    StatusMessage,
    decode_message,
)
from monitor.state_dir import StateDir
from tests.monitor.daemons import RunningDaemon
from tests.monitor.engines import Node, until
from tests.monitor.test_live import CONFIG, FULL_ALERT, Served
from tests.monitor.test_web import Edge


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with (
        Node(tmp_path, CONFIG) as node,
        open_gate(CONFIG, StateDir(tmp_path)) as gate,
        Served(Edge(node, tmp_path, gate)) as served,
    ):
        yield served


def client(served: Served, token: str = "look", **options: Any) -> FeedClient:
    return FeedClient(f"http://127.0.0.1:{served.port}", served.tokens.get(token, token), **options)


async def publish(served: Served, *numbers: int, size: int = 0) -> None:
    for number in numbers:
        alert = FULL_ALERT["alert"] | {"id": f"al-{number}", "title": "x" * size}
        await served.feed.publish([FULL_ALERT | {"alert": alert}])


async def take(messages: AsyncIterator[FeedMessage], count: int) -> list[FeedMessage]:
    return [await asyncio.wait_for(anext(messages), 30) for _ in range(count)]


async def test_messages_come_typed_and_go_on_after_a_disconnection(served: Served) -> None:
    await publish(served, 1, 2)
    reader = client(served, since=0)
    async with contextlib.aclosing(reader.messages()) as messages:
        first, _ = await take(messages, 2)
        assert isinstance(first, AlertMessage)
        assert first.alert.id == "al-1"
        next_one = asyncio.ensure_future(anext(messages))
        for connection in list(served.server.server_state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        await until(lambda: served.feed.readers == 0)
        await publish(served, 3)
        assert (await asyncio.wait_for(next_one, 30)).seq == 3
        assert (reader.position, reader.connections) == (3, 2)


async def test_who_begins_with_what_is_new_misses_nothing_after_that(served: Served) -> None:
    """Even if the connection breaks before the first message: the first heartbeat says where it began."""
    await publish(served, 1)
    reader = client(served)
    async with contextlib.aclosing(reader.messages()) as messages:
        first = asyncio.ensure_future(anext(messages))
        await until(lambda: reader.position == 1)
        for connection in list(served.server.server_state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        await publish(served, 2)
        assert (await asyncio.wait_for(first, 30)).seq == 2


async def test_what_the_daemon_left_out_is_fetched(served: Served) -> None:
    reader = client(served, since=0)
    async with contextlib.aclosing(reader.messages()) as messages:
        first = asyncio.ensure_future(anext(messages))
        await until(lambda: bool(served.feed._channels))
        await publish(served, *range(1, 601), size=100_000)
        assert (await first).seq == 1
        assert [one.seq for one in await take(messages, 599)] == list(range(2, 601))
        assert reader.connections == 1


async def test_a_snapshot_is_asked_for_only_once(served: Served) -> None:
    await publish(served, 1)
    async with contextlib.aclosing(client(served, snapshot=True).messages()) as messages:
        (snapshot,) = await take(messages, 1)
        assert isinstance(snapshot, SnapshotMessage)
        assert [group.id for group in snapshot.snapshot.alerts] == ["al-1"]
        for connection in list(served.server.server_state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        await publish(served, 2)
        assert [one.seq for one in await take(messages, 1)] == [2]


@pytest.mark.parametrize(
    ("options", "status", "field"),
    [
        ({"token": "wrong"}, 401, None),
        ({"token": "in"}, 403, None),
        ({"filter": "colour:red"}, 422, "filter"),
    ],
)
async def test_a_refusal_is_not_tried_again(
    served: Served, options: dict[str, Any], status: int, field: str | None
) -> None:
    reader = client(served, patient=True, **options)
    with pytest.raises(FeedRefused, match=str(status)) as refused:
        await anext(reader.messages())
    assert (refused.value.status, refused.value.field) == (status, field)


async def test_a_restored_older_daemon_is_told_apart_and_can_be_followed_all_the_same(served: Served) -> None:
    await publish(served, 1)
    reader = client(served, since=50)
    with pytest.raises(FeedReset) as reset:
        await anext(reader.messages())
    assert (reset.value.since, reset.value.last_seq) == (50, 1)
    async with contextlib.aclosing(reader.messages()) as messages:
        first = asyncio.ensure_future(anext(messages))
        await until(lambda: served.feed.readers == 1)
        await publish(served, 2)
        assert (await asyncio.wait_for(first, 30)).seq == 2


async def test_nobody_there_is_an_error_at_once_or_after_patience() -> None:
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(FeedLost, match="is the daemon up"):
        await anext(FeedClient(url, "look").messages())
    told: list[str] = []
    with pytest.raises(FeedLost):
        await anext(
            FeedClient(url, "look", patient=True, give_up_after_s=0.2, on_break=told.append).messages()
        )
    assert told


def test_hostile_words_cannot_act_on_the_terminal() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\r\n\u202efdp\x9b31m" + "x" * 5000
    fields = {"title": hostile, "agent_id": "\x1b[31mroot"}
    message = decode_message(
        msgspec.json.encode({"seq": 1, **FULL_ALERT, "alert": FULL_ALERT["alert"] | fields})
    )
    text = line(message)
    assert text is not None
    assert text.isprintable()
    assert len(text) < 500
    coloured = line(message, in_colour=True)
    assert coloured is not None
    assert coloured.count("\x1b") == 2, "ours only"


def test_a_mere_heartbeat_is_no_line() -> None:
    assert line(decode_message(b'{"seq":1,"type":"status","ts":"t","status":{"agents":3}}')) is None


def tail(daemon: RunningDaemon, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "monitor.cli", "tail", "--state", str(daemon.state), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill(daemon: RunningDaemon, target: str) -> None:
    status, answer = daemon.request("POST", "/v1/revocations", {"target": target, "reason": "\x1b[2Jwhy"})
    assert status == 200, answer


def test_tail_filters_and_finds_a_daemon_that_has_moved(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path / "state") as daemon:
        following = tail(daemon, "agent:b", "type:transition", "--since", "0", "--limit", "2", "--json")
        kill(daemon, "agent:a")
        kill(daemon, "agent:b")
        assert following.stdout is not None
        first = json.loads(following.stdout.readline())
        assert (first["transition"]["target"], first["transition"]["reason"]) == ("agent:b", "\x1b[2Jwhy")
        daemon.kill()
        daemon.start()
        status, _ = daemon.request("POST", "/v1/restorations", {"target": "agent:b", "reason": "fine"})
        assert status == 200
        out, err = following.communicate(timeout=30)
        assert json.loads(out)["transition"]["kind"] == "restore"
        assert "trying again" in err
        assert following.returncode == 0
        plain = tail(daemon, "--since", "0", "--limit", "1")
        out, _ = plain.communicate(timeout=30)
        assert "REVOKE agent:a by" in out
        assert ": ·[2Jwhy\n" in out
        wrong = tail(daemon, "colour:red")
        assert "colour" in wrong.communicate(timeout=30)[1]
        assert wrong.returncode == 2


async def test_heartbeats_come_only_to_those_who_want_them(served: Served) -> None:
    async with contextlib.aclosing(client(served, heartbeats=True).messages()) as messages:
        first, second = await take(messages, 2)
        assert isinstance(first, StatusMessage)
        assert isinstance(second, StatusMessage)
        assert first.status.redis == "unreachable"
