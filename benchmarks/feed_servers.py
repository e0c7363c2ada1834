"""The two servers of the feed benchmark: the daemon as it is, and a bare ``websockets.broadcast``.

Both publish the same alerts at the same pace in the same way on the same event loop (uvloop), neither compresses. What
the daemon does beside and the bare server does not: it groups each alert, writes it to disk with an fsync before anyone
has it, checks who may read, sends each reader a heartbeat a second, and watches over the store and the models.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from benchmarks.feed_process import STAMPED, START_S, answer
from benchmarks.feed_viewers import Where
from monitor.config import parse_config
from monitor.core.alerts import Alert, ReasonText, ResponseTaken, alert_id, rfc3339
from monitor.daemon import Options
from monitor.daemon import serve as serve_daemon
from monitor.demo.fleet import make_fleet, merged_history
from monitor.intake.action import action_from_fields
from monitor.intake.observation import Observation
from monitor.listening import lift_file_limit
from monitor.live.messages import alert_message
from monitor.services import Services

AGENTS: Final = 100
SETTLE_S: Final = 0.2
"""What was published last is handed out within that; it belongs to the measurement."""

FILL_BATCH: Final = 500
INGEST_BATCH: Final = 256
MOST_WAITING: Final = 8 * INGEST_BATCH
DAY_S: Final = 86_400.0

# Drills would fall into some measurements and not into others.
CONFIG: Final = "[drill]\ninterval_s = 0.0\n"

Publish = Callable[[list[dict[str, Any]]], Awaitable[None]]


class Published(NamedTuple):
    """What publishing took; the CPU is that of the whole serving process, all its threads."""

    alerts: int
    took_s: float
    cpu_s: float


class Pace(NamedTuple):
    """How many actions the engine took in and scored, by the clock and by the CPU time of the whole process."""

    per_s: float
    per_cpu_s: float


class Alerts:
    """Makes alerts as the daemon would publish them, each about one of `AGENTS` agents."""

    def __init__(self) -> None:
        self._numbers = count()

    def messages(self, how_many: int, title: str = "") -> list[dict[str, Any]]:
        """Return so many new ones; without a title they carry the time."""
        return [alert_message(self._alert(next(self._numbers), title)) for _ in range(how_many)]

    def _alert(self, number: int, title: str) -> Alert:
        agent, action = f"billing-bot-{number % AGENTS}", f"action-{number}"
        return Alert(
            id=alert_id(agent, action),
            ts=rfc3339(time.time()),
            agent_id=agent,
            session_id=f"session-{number // 40}",
            tool="send_money",
            action_id=action,
            action_seq=number,
            verdict="anomalous",
            severity="high",
            p=3.2e-6,
            threshold_p=1.1e-5,
            title=title or f"{STAMPED}{time.monotonic_ns()}",
            reasons=REASONS,
            response=ResponseTaken("alert", "suspend", "alert", "the mode is alert: no automatic kills"),
            on_behalf_of=("user:alice@example.com",),
        )


REASONS: Final = tuple(
    ReasonText(signal, observed, expected, p, f"{observed}, where {expected} is usual.")
    for signal, observed, expected, p in (
        ("tool", "send_money was never called before", "read_ticket", 1e-5),
        ("arguments", "an amount of 999,999", "an amount of 10 to 50", 4e-4),
        ("rhythm", "12 calls in 3 s", "a call every 5 minutes", 2e-3),
    )
)


async def publish_for(publish: Publish, alerts: Alerts, per_s: float, seconds: float) -> Published:
    """Publish alerts at that pace for so long. Those that fell due while one was written go out together."""
    total, sent = round(per_s * seconds), 0
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    while sent < total:
        due = min(total, int((time.monotonic() - began_s) * per_s) + 1)
        await publish(alerts.messages(due - sent))
        sent = due
        await asyncio.sleep(max(0.0, began_s + sent / per_s - time.monotonic()))
    took_s = time.monotonic() - began_s
    await asyncio.sleep(SETTLE_S)
    return Published(total, took_s, time.process_time() - began_cpu_s)


# -- the daemon ---------------------------------------------------------------------------------------------------


class Daemon:
    """The running daemon, driven from within its process."""

    def __init__(self, services: Services, where: Where) -> None:
        self._services = services
        self._where = where
        self._alerts = Alerts()
        self._actions = Actions(services)

    async def where(self) -> Where:
        """Return where its feed is."""
        return self._where

    async def fill(self, how_many: int) -> None:
        """Publish so many alerts as fast as it goes."""
        for first in range(0, how_many, FILL_BATCH):
            await self._publish(self._alerts.messages(min(FILL_BATCH, how_many - first), "before"))

    async def publish(self, per_s: float, seconds: float) -> Published:
        """Publish alerts at that pace."""
        return await publish_for(self._publish, self._alerts, per_s, seconds)

    async def readers(self) -> int:
        """Return how many follow the feed."""
        return self._services.feed.readers

    async def ingest(self, seconds: float) -> Pace:
        """Return how many actions become durable and scored."""
        return await self._actions.ingest_for(seconds)

    async def ingest_watched(self, seconds: float, alerts_per_s: float) -> tuple[Pace, Published]:
        """Return the same while alerts are published at that pace."""
        return await asyncio.gather(self.ingest(seconds), self.publish(alerts_per_s, seconds))

    async def _publish(self, messages: list[dict[str, Any]]) -> None:
        await self._services.desk.publish(messages)


class Actions:
    """What a simulated fleet does, day after day, for the engine."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._days = count()
        self._day: list[Observation] = []
        self._today: list[Observation] = []

    async def ingest_for(self, seconds: float) -> Pace:
        """Take in actions for so long, and return when all are scored."""
        engine = self._services.engine
        self._day = self._day or self._observed()
        began_s, began_cpu_s, before = time.monotonic(), time.process_time(), engine.actions
        while time.monotonic() < began_s + seconds:
            await engine.ingest(self._next())
            while engine.backlog > MOST_WAITING:  # noqa: ASYNC110 - the engine has a number, no event
                await asyncio.sleep(0.001)
        while engine.backlog:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        done = engine.actions - before
        return Pace(done / (time.monotonic() - began_s), done / (time.process_time() - began_cpu_s))

    def _next(self) -> list[Observation]:
        if not self._today:
            day = next(self._days)
            self._today = [
                msgspec.structs.replace(one, id=f"{day}-{one.id}", ts_s=one.ts_s + day * DAY_S)
                for one in self._day
            ]
        batch, self._today = self._today[:INGEST_BATCH], self._today[INGEST_BATCH:]
        return batch

    def _observed(self) -> list[Observation]:
        fleet = make_fleet(seed=1, agents=24)
        actions = merged_history(fleet, time.time() - 100 * DAY_S)
        return [
            self._services.observer.observe(action_from_fields({**fields, "id": str(number)}))
            for number, fields in enumerate(actions)
        ]


async def _run_daemon(pipe: Connection, state: Path) -> None:
    parts: list[Services] = []
    ready: asyncio.Future[Where] = asyncio.get_running_loop().create_future()
    options = Options(
        state=state,
        config=parse_config(CONFIG),
        port=0,
        on_services=parts.append,
        on_ready=lambda address: ready.set_result(
            Where(f"{address.url}/v1/feed", address.token)  # the owner's, who may read
        ),
    )
    serving = asyncio.create_task(serve_daemon(options))
    serving.add_done_callback(lambda _: ready.cancel())  # so that nobody waits for a daemon that has failed
    try:
        async with asyncio.timeout(START_S):
            await ready
    except asyncio.CancelledError:
        await serving
        raise
    daemon = Daemon(parts[0], ready.result())
    calls = (daemon.where, daemon.fill, daemon.publish, daemon.readers)
    await answer(pipe, {call.__name__: call for call in (*calls, daemon.ingest, daemon.ingest_watched)})
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def run_daemon(pipe: Connection, state: Path) -> None:
    """Be the process of the daemon."""
    lift_file_limit()
    uvloop.run(_run_daemon(pipe, state))


# -- the bare server ----------------------------------------------------------------------------------------------


async def _run_bare(pipe: Connection) -> None:
    alerts, numbers = Alerts(), count(1)
    encode = msgspec.json.Encoder().encode

    async def keep_open(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(keep_open, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]

        async def send(messages: list[dict[str, Any]]) -> None:
            for message in messages:
                broadcast(server.connections, encode({"seq": next(numbers), **message}), text=True)

        async def where() -> Where:
            return Where(f"http://127.0.0.1:{port}/")

        async def publish(per_s: float, seconds: float) -> Published:
            return await publish_for(send, alerts, per_s, seconds)

        async def readers() -> int:
            return len(server.connections)

        await answer(pipe, {call.__name__: call for call in (where, publish, readers)})


def run_bare(pipe: Connection) -> None:
    """Be the process of the bare server."""
    lift_file_limit()
    uvloop.run(_run_bare(pipe))
