"""Any interleaving of publishing, reading, resuming, overflowing and restarting: what a reader got, with what it was
told that it missed, is everything that its filter lets through, once and in order."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import shutil
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from monitor.live import feed as module
from monitor.live.feed import Feed, now_text
from monitor.live.filters import parse_filter
from monitor.live.heartbeat import Heartbeat
from monitor.live.reader import Message, Missed, Reader
from monitor.live.session import told
from monitor.log.segments import SegmentedLog
from monitor.web.pushed import PushedReader

FILTERS = ["", "agent:a", "-agent:a", "agent:nobody"]
HEARTBEAT = Heartbeat(dict)
next_piece = module.next_piece


class FakeWire:
    """A connection that takes so many writes before it is full."""

    def __init__(self) -> None:
        self.on_room: Callable[[], None] | None = None
        self.is_open = True
        self.waiting_bytes = 1
        self.room = 3
        self.written: list[bytes] = []

    @property
    def has_room(self) -> bool:
        return self.room > 0

    def write(self, frames: bytes) -> None:
        assert self.room > 0, "written without looking"
        self.room -= 1
        self.written.append(frames)

    def resume(self, writes: int) -> None:
        self.room = writes
        if self.on_room:
            self.on_room()


class Client:
    """One who reads, and believes what it is told: it resumes from the number of whatever it heard last."""

    def __init__(self, wanted: str, since: int, is_pushed: bool) -> None:
        self.wanted = parse_filter(wanted)
        self.since = self.at = since
        self.is_pushed = is_pushed
        self.got: list[int] = []

    def connect(self, feed: Feed) -> None:
        self.feed, self.wire = feed, FakeWire()
        capacity = feed.client_buffer
        self.reader = (
            PushedReader(capacity, self.wanted, "", self.wire, HEARTBEAT)  # type: ignore[arg-type]
            if self.is_pushed
            else Reader(capacity, self.wanted)
        )
        self.reader.start(self.at)
        self.opening: AsyncIterator[list[Message | Missed]] | None = feed.catch_up(self.reader)

    async def read(self, count: int) -> None:
        """Take the next piece of the past, or so many of what waits."""
        if self.opening is not None:
            try:
                await self.hear(told(await anext(self.opening)))
            except StopAsyncIteration:
                self.opening = None
                if isinstance(self.reader, PushedReader):
                    self.reader.go_live()
        elif isinstance(self.reader, PushedReader):
            frames, self.wire.written = b"".join(self.wire.written), []
            await self.hear(unframed(frames))
        else:
            await self.hear(told(itertools.islice(self.reader.take(), count)))

    async def beat(self) -> None:
        """Hear a heartbeat, after all that was sent before it."""
        if isinstance(self.reader, PushedReader):
            self.reader.tick(0.0)
        elif self.opening is None:
            await self.hear([HEARTBEAT.message(self.reader.position)])

    async def hear(self, messages: list[Message]) -> None:
        for seq, text in messages:
            content = json.loads(text)
            assert content["seq"] == seq
            if content["type"] != "status":
                assert seq > self.at, "a repeat"
                self.got.append(seq)
                self.at = seq
            elif missed := content["status"].get("missed"):
                assert self.at <= seq == missed["from"] - 1
                await self.fetch(missed["from"], missed["to"])
                self.at = missed["to"]
            else:
                assert seq >= self.at, "a heartbeat from the past"
                self.at = seq

    async def fetch(self, first: int | None, last: int) -> None:
        while first is not None:
            page = await self.feed.page(first, last, self.wanted, limit=2)
            assert page.gone_to is None
            self.got += [message.seq for message in page.messages]
            first = page.next_seq


def unframed(data: bytes) -> list[Message]:
    """The messages of unmasked, whole text frames."""
    found = []
    while data:
        assert data[0] == 0x81
        length, start = data[1], 2
        if length == 126:
            (length,), start = struct.unpack("!H", data[2:4]), 4
        text, data = data[start : start + length], data[start + length :]
        found.append(Message(json.loads(text)["seq"], text))
    return found


class Interleavings(RuleBasedStateMachine):
    """A feed on disk, and clients at all stages."""

    @initialize(recent=st.integers(1, 6), capacity=st.integers(1, 3), piece=st.integers(1, 3))
    def begin(self, recent: int, capacity: int, piece: int) -> None:
        module.next_piece = functools.partial(next_piece, size=piece)  # type: ignore[assignment]
        self.loop = asyncio.new_event_loop()
        self.path = Path(tempfile.mkdtemp())
        self.options = {"recent": recent, "client_buffer": capacity}
        self.agents: list[str] = []
        self.clients: list[Client] = []
        self.run(self.open())

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(asyncio.wait_for(work, 30))

    async def open(self) -> None:
        self.log = SegmentedLog(self.path, segment_bytes=300)
        self.feed = await Feed(self.log, **self.options).__aenter__()

    async def close(self) -> None:
        await self.feed.__aexit__(None, None, None)
        self.log.close()

    @rule(agents=st.lists(st.sampled_from("ab"), min_size=1, max_size=5))
    def publish(self, agents: list[str]) -> None:
        self.agents += agents
        messages = [{"type": "alert", "ts": now_text(), "alert": {"agent_id": agent}} for agent in agents]
        self.feed._fan_out_at_s = self.loop.time() + 1e6  # it comes when the machine says so
        self.run(self.feed.publish(messages))

    @rule()
    def fan_out(self) -> None:
        self.run(self.fan_out_now())

    async def fan_out_now(self) -> None:
        self.feed.fan_out()

    @rule(
        wanted=st.sampled_from(FILTERS),
        back=st.integers(0, 5),
        is_pushed=st.booleans(),
        reads=st.integers(0, 4),
    )
    def join(self, wanted: str, back: int, is_pushed: bool, reads: int) -> None:
        client = Client(wanted, max(0, self.feed.last_seq - back), is_pushed)
        self.clients.append(client)
        client.connect(self.feed)
        for _ in range(reads):
            self.run(client.read(100))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), count=st.integers(0, 4))
    def read(self, data: st.DataObject, count: int) -> None:
        self.run(data.draw(st.sampled_from(self.clients)).read(count))

    @rule()
    def all_read(self) -> None:
        for client in self.clients:
            self.run(client.read(2))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), writes=st.integers(0, 3))
    def make_room(self, data: st.DataObject, writes: int) -> None:
        client = data.draw(st.sampled_from(self.clients))
        client.wire.resume(writes)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        self.run(data.draw(st.sampled_from(self.clients)).beat())

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def disconnect_and_resume(self, data: st.DataObject) -> None:
        """What was sent but not heard is lost with the connection."""
        client = data.draw(st.sampled_from(self.clients))
        self.feed._leave(client.reader)
        client.connect(self.feed)

    @rule()
    def restart(self) -> None:
        self.run(self.close())
        self.run(self.open())
        for client in self.clients:
            client.connect(self.feed)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            for client in self.clients:
                self.run(self.finish(client))
                expected = [
                    seq
                    for seq, agent in enumerate(self.agents, 1)
                    if seq > client.since
                    and client.wanted.matches({"type": "alert", "alert": {"agent_id": agent}})
                ]
                assert client.got == expected
            self.run(self.close())
        finally:
            module.next_piece = next_piece
            self.loop.close()
            shutil.rmtree(self.path)

    async def finish(self, client: Client) -> None:
        self.feed.fan_out()
        for _ in range(10 * len(self.agents)):
            client.wire.resume(3)
            await client.beat()
            await client.read(100)
            if client.at == self.feed.last_seq:
                return
        assert client.at == self.feed.last_seq, "no heartbeat brings it up to date"


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
