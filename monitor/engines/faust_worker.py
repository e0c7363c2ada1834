"""The cluster engine, thin: one Faust worker drives the very same pipeline from a Kafka topic.

    topic killcord.actions ─► parse ─► pipeline.step ─► revocations (store) ─► topic killcord.alerts ─► offset

A record's value is what `POST /v1/actions` takes: one action, an array, or NDJSON; its key is the agent's id. An effect
comes before the offset of its cause is acknowledged, and every effect is idempotent by its id, so delivery at least
once never kills twice. One worker; its models live in memory only: after a restart they learn anew.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import faust
import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from detectors import warm_up
from killswitch import StoreUnreachable, Switch
from monitor.action import Action, parse_document
from monitor.config import Config
from monitor.dead_letters import DeadLetter, DeadLetters
from monitor.engines.embedded import alert_message
from monitor.errors import DaemonError
from monitor.killer import FIRST_RETRY_S, LAST_RETRY_S, write_revocation
from monitor.observation import Observation, Observer
from monitor.pipeline import Outcomes, Pipeline, RevocationRequest
from monitor.seen_ids import SeenIds
from monitor.state_dir import StateDir
from monitor.store import open_store

log = logging.getLogger("killcord.cluster")

ACTIONS_TOPIC = "killcord.actions"
ALERTS_TOPIC = "killcord.alerts"
GROUP = "killcord"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


def run_worker(engine_url: str, config: Config, state_path: Path, redis_url: str) -> int:
    """Run one worker until SIGTERM or Ctrl-C; 1 if it had to give up.

    Raises
    ------
    DaemonError
        If the broker or a topic is not there.
    """
    state = StateDir(state_path)
    with open_store(redis_url or config.killswitch.redis_url, state) as store, Switch(store.url) as switch:
        worker = Worker(config, state, switch)
        return asyncio.run(worker.run(urlsplit(engine_url).netloc))


class Worker:
    """Reads actions, steps the pipeline, sees to the outcomes, then acknowledges."""

    def __init__(self, config: Config, state: StateDir, switch: Switch) -> None:
        self._pipeline = Pipeline(config)
        self._observer = Observer(state.secret(), store_args=config.log.store_args == "full")
        self._seen = SeenIds(config.log.dedupe_ids, int.from_bytes(state.secret()[:8], "little"))
        self._dead_letters = DeadLetters(state.path / "dead-letters.ndjson")
        self._data_dir = state.path / "faust"
        self._switch = switch
        self._alerts: Any = None

    async def run(self, broker: str) -> int:
        """Work until a signal, a failed effect, or Faust's own end; return the exit status."""
        await _require_topics(broker)
        await asyncio.to_thread(warm_up)
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, _finish, over, None)
        app = self._app(broker, over)
        await asyncio.wait_for(app.start(), START_TIMEOUT_S)
        print(f"ready kafka://{broker}", flush=True)  # noqa: T201 - what a supervisor waits for
        await _until_over(app, over)
        failure = over.exception() if over.done() else RuntimeError("Faust ended by itself")
        if failure:
            log.critical("the worker gave up: %s", failure)
        return 1 if failure else 0

    async def take(self, value: bytes, timestamp_s: float, offset: int) -> None:
        """Do all that one record asks for; returns when every effect is durable."""
        actions = await self._parse(value)
        outcomes = self._pipeline.step(actions, timestamp_s, first_seq=offset)
        await self._see_to(outcomes)

    async def _parse(self, value: bytes) -> list[Observation]:
        actions, letters = [], []
        for parsed in parse_document(value):
            if not isinstance(parsed, Action):
                letters.append(DeadLetter(parsed.document, parsed.field, str(parsed)))
            elif self._seen.is_new(parsed.agent_id, parsed.id):
                actions.append(self._observer.observe(parsed))
        if letters:
            await asyncio.to_thread(self._dead_letters.write, letters)
        return actions

    async def _see_to(self, outcomes: Outcomes) -> None:
        for request in outcomes.requests:
            await asyncio.to_thread(self._revoke, request)
        sent = [
            await self._alerts.send(
                key=alert.agent_id.encode(), value=msgspec.json.encode(alert_message(alert))
            )
            for alert in outcomes.alerts
        ]
        for durable in sent:  # the broker has it on all replicas
            await durable

    def _revoke(self, request: RevocationRequest) -> None:
        """Write the revocation, however long the store is away: the offset waits for it."""
        retry_s = FIRST_RETRY_S
        while True:
            try:
                write_revocation(self._switch, request)
            except StoreUnreachable as error:
                log.error("kill of %s is pending: %s", request.target, error)
                time.sleep(retry_s)
                retry_s = min(LAST_RETRY_S, retry_s * 2)
            else:
                return

    def _app(self, broker: str, over: asyncio.Future[None]) -> Any:
        app = faust.App(
            GROUP,
            broker=f"kafka://{broker}",
            loop=asyncio.get_running_loop(),
            autodiscover=False,
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,  # topics are the operator's to declare, never silently ours
            datadir=str(self._data_dir),
            store="memory://",
            key_serializer="raw",
            value_serializer="raw",
            consumer_auto_offset_reset="earliest",
            producer_acks=-1,
            stream_wait_empty=False,  # else stopping waits for a failed record's acknowledgement, for ever
            broker_commit_interval=0.5,
        )
        self._alerts = app.topic(ALERTS_TOPIC, key_serializer="raw", value_serializer="raw")
        source = app.topic(ACTIONS_TOPIC, key_serializer="raw", value_serializer="raw")

        async def score(stream: Any) -> None:
            # noack(): by default Faust acknowledges a record even when its effect raised.
            async for event in stream.noack().events():
                try:
                    await self.take(event.value, event.message.timestamp, event.message.offset)
                except (
                    Exception
                ) as error:  # must not leave the agent: a crashed app cannot be stopped cleanly
                    _finish(over, error)
                    return  # nothing after the failed record is acknowledged
                event.ack()

        app.agent(source, concurrency=1)(score)
        return app


async def _until_over(app: Any, over: asyncio.Future[None]) -> None:
    ended = asyncio.create_task(app.wait_until_stopped())
    try:
        await asyncio.wait({over, ended}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait_for(app.stop(), STOP_TIMEOUT_S)
    finally:
        ended.cancel()


def _finish(over: asyncio.Future[None], error: Exception | None) -> None:
    if over.done():
        return
    if error:
        over.set_exception(error)
    else:
        over.set_result(None)


async def _require_topics(broker: str) -> None:
    """Faust reads nothing, and says nothing, while a topic is not there; so look first."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker, request_timeout_ms=10_000)
    try:
        await asyncio.wait_for(admin.start(), START_TIMEOUT_S)
        there = set(await admin.list_topics())
    except (KafkaError, TimeoutError, OSError) as error:
        raise DaemonError(f"no Kafka broker answers at {broker}: {error}") from error
    finally:
        await admin.close()
    missing = {ACTIONS_TOPIC, ALERTS_TOPIC} - there
    if missing:
        raise DaemonError(f"create these topics first: {', '.join(sorted(missing))}")
