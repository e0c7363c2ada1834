"""1,000 connections cut at random and 20 daemons killed: every reader ends with the same complete sequence."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from monitor import feed_client
from tests.monitor.cut_wire import CutWire
from tests.monitor.daemons import RunningDaemon
from tests.monitor.engines import until
from tests.monitor.feed_followers import EventFollower, Follower, TypedFollower, WebsocketFollower, Where
from tests.monitor.test_daemon import AGENTS, WARM, habits, hijacked

CUTS = 1000
KILLS = 20
MAX_PAUSE_S = 0.02
CONFIG = """
[detection]
min_actions = 40
fleet_min_actions = 200
[response]
mode = "enforce"
false_alerts_per_agent_day = 1000.0
false_kills_per_agent_day = 1000.0
evidence_window_s = 1.0
[log]
checkpoint_interval_s = 1.0
[drill]
interval_s = 0.0
[killswitch]
# Nothing enforces here: nobody is waited for.
contain_timeout_s = 0.01
[feed]
# Few, so that the past comes from disk and what comes at once is too much for the slower ones.
recent_messages = 50
client_buffer = 5
"""


class Traffic(threading.Thread):
    """Sends odd actions, kills, mutes and closes alerts, without an end; knows what the daemon has confirmed."""

    def __init__(self, daemon: RunningDaemon) -> None:
        super().__init__(name="traffic")
        self._daemon = daemon
        self._is_over = threading.Event()
        self.mutes: set[str] = set()
        self.kills: set[str] = set()

    def __enter__(self) -> Traffic:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join(60)

    def run(self) -> None:
        number = 0
        while not self._is_over.wait(0.01):
            number += 1
            # The daemon is killed under a request, or is not there yet.
            with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
                self._turn(number)

    def _turn(self, number: int) -> None:
        odd = [hijacked(number * 10 + i, AGENTS[i % len(AGENTS)]) for i in range(10)]
        self._daemon.send([*odd, *habits(12, first=WARM + number * 12)])
        target = f"session:s-{number}"
        status, _ = self._ask("/v1/revocations", {"target": target, "reason": "for the test"})
        if status in (200, 202):
            self.kills.add(target)
        mute = {"agent_id": f"nobody-{number}", "signal": "tool", "reason": "for the test", "for_s": 600.0}
        status, made = self._ask("/v1/mutes", mute)
        if status == 201:
            self.mutes.add(made["id"])
        self._ask("/v1/restorations", {"target": target, "reason": "for the test"})

    def _ask(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        return self._daemon.request("POST", path, body)


def followers(where: Where) -> list[Follower]:
    return [
        TypedFollower(where),
        TypedFollower(where, f"type:alert agent:{AGENTS[0]}"),
        TypedFollower(where, snapshot=True),
        WebsocketFollower(where),
        WebsocketFollower(where),
        WebsocketFollower(where, "type:transition"),
        EventFollower(where),
        EventFollower(where, "-type:alert"),
    ]


def expected(reader: Follower, reference: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """What the reader must have, by rules that are written down here once more, on purpose."""
    passes = {
        "": lambda message: True,
        f"type:alert agent:{AGENTS[0]}": lambda message: (
            message["type"] == "alert" and message["alert"]["agent_id"] == AGENTS[0]
        ),
        "type:transition": lambda message: message["type"] == "transition",
        "-type:alert": lambda message: message["type"] != "alert",
    }[reader.wanted]
    after = reader.began_after if isinstance(reader, TypedFollower) else 0
    return [(one["seq"], one) for one in reference if one["seq"] > after and passes(one)]


async def disturb(wire: CutWire, daemon: RunningDaemon, rng: random.Random) -> None:
    kills_after = sorted(rng.sample(range(1, CUTS), KILLS))
    while wire.cuts < CUTS:
        await asyncio.sleep(rng.uniform(0.0, MAX_PAUSE_S))
        if wire.cut_one() and wire.cuts in kills_after:
            await asyncio.to_thread(daemon.kill)
            await asyncio.to_thread(daemon.start)


def stored(daemon: RunningDaemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    first: int | None = 1
    while first is not None:
        page = daemon.get(f"/v1/feed/messages?from={first}&limit=1000")
        assert page["gone_to"] is None
        found += page["messages"]
        first = page["next"]
    return found


@pytest.mark.timeout(900)
async def test_every_reader_ends_with_the_same_complete_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_client, "MAX_PAUSE_S", 0.2)  # so that it is there to be cut again
    rng = random.Random(1)
    daemon = RunningDaemon(tmp_path / "state", CONFIG)
    await asyncio.to_thread(daemon.start)
    try:
        await asyncio.to_thread(daemon.send, habits(WARM))
        async with CutWire(lambda: urlsplit(daemon.url).port or 0, rng) as wire:
            readers = followers(Where(f"http://127.0.0.1:{wire.port}", daemon.tokens["analyst"]))
            following = [asyncio.create_task(reader.follow()) for reader in readers]
            with Traffic(daemon) as traffic:
                await disturb(wire, daemon, rng)
                await asyncio.to_thread(traffic.__exit__)
            reference = await asyncio.to_thread(stored, daemon)
            await all_reach(reference[-1]["seq"], readers, following)
    finally:
        await asyncio.to_thread(daemon.kill)
    assert wire.cuts == CUTS
    assert_complete(reference, traffic)
    for reader in readers:
        found, wanted = reader.found, expected(reader, reference)
        print(type(reader).__name__, reader.wanted, len(found), reader.connections, reader.missed)
        assert [seq for seq, _ in found] == [seq for seq, _ in wanted], (type(reader), reader.wanted)
        assert found == wanted


async def all_reach(last_seq: int, readers: list[Follower], following: list[asyncio.Task[None]]) -> None:
    def have_arrived() -> bool:
        for task in following:
            if task.done():
                task.result()
        return all(reader.position >= last_seq for reader in readers)

    await until(have_arrived)
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)


def assert_complete(reference: list[dict[str, Any]], traffic: Traffic) -> None:
    """The numbers have no hole, and what the daemon confirmed to somebody is there, once."""
    assert [message["seq"] for message in reference] == list(range(1, len(reference) + 1))
    kinds = Counter(message["type"] for message in reference)
    print(kinds, len(traffic.kills), len(traffic.mutes))
    assert min(kinds["alert"], kinds["transition"], kinds["mute"]) >= 100, kinds
    mutes = Counter(message["mute"]["id"] for message in reference if message["type"] == "mute")
    assert {mutes[mute] for mute in traffic.mutes} == {1}
    kills = Counter(
        message["transition"]["target"]
        for message in reference
        if message["type"] == "transition" and message["transition"]["kind"] == "revoke"
    )
    assert {kills[target] for target in traffic.kills} == {1}
