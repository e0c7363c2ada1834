"""The cluster engine, thin: one Faust worker drives the very same pipeline from a Kafka topic.

    topic killcord.actions ─► shard (parse, pipeline.step) ─► topic killcord.alerts
                                        └─► killer ─► store      then: checkpoint ─► offset

A record's value is what `POST /v1/actions` takes: one action, an array, or NDJSON; its key is the agent's id. Delivery
is at least once and every effect is idempotent by its id: see `monitor.engines.shard`. The clock of the response
policy is the record's time stamp, so let the broker set it (`message.timestamp.type=LogAppendTime`).

One worker a group for now: the models are in its state directory, and no other worker could take its agents over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import faust
import msgspec

from detectors import warm_up
from killswitch import KillswitchError, Switch
from monitor.config import Config
from monitor.core.alerts import Alert
from monitor.engines.calm_log import calm_the_log
from monitor.engines.kafka_address import KafkaAddress, parse_kafka_address, require_topics
from monitor.engines.shard import Shard
from monitor.errors import DaemonError
from monitor.kill.keys import open_keys
from monitor.kill.killer import Killer
from monitor.kill.store import Store, open_store
from monitor.live.messages import alert_message
from monitor.state_dir import Address, StateDir

log = logging.getLogger("killcord.cluster")

START_TIMEOUT_S = 30.0
SAVE_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 10.0
CANCEL_TIMEOUT_S = 3.0
POLL_S = 0.05
LOOK_INTERVAL_S = 1.0
EXPIRE_EVERY_LOOKS = 10

MAX_HELD_RECORDS = 50_000
MAX_HELD_BYTES = 64 * 1024 * 1024
"""Security limits on memory: so much is processed without being acknowledged, then a checkpoint comes early."""


def run_worker(engine_url: str, config: Config, state_path: Path, redis_url: str) -> int:
    """Run one worker until SIGTERM or Ctrl-C; returns 1 if it had to give up. Ends the process if Faust hangs then.

    Raises
    ------
    ConfigError
        If the address names no broker.
    DaemonError
        If the broker or a topic is not there.
    """
    calm_the_log()
    address = parse_kafka_address(engine_url)
    state = StateDir(state_path)
    asyncio.run(require_topics(address, START_TIMEOUT_S))
    keys = open_keys(state)
    with (
        open_store(redis_url or config.killswitch.redis_url, state) as store,
        Switch(store.url, signer=keys.signer, keyring=keys.keyring) as switch,
    ):
        state.announce(Address(str(address), store.url, os.getpid(), store.point_url))
        try:
            status = _run(_serve(address, config, state, store, switch))
        finally:
            state.retract()
    _leave_behind_faust(status)
    return status


def _run(serving: Coroutine[Any, Any, int]) -> int:
    """Run it to its end and return its status, as `asyncio.run` does, but wait for what Faust left behind so long only.

    Some of its tasks catch their cancellation while the broker is away.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    status = loop.run_until_complete(serving)
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=CANCEL_TIMEOUT_S))
    return status


async def _serve(address: KafkaAddress, config: Config, state: StateDir, store: Store, switch: Switch) -> int:
    await asyncio.to_thread(warm_up)
    with Killer(
        switch, lambda request, why: log.critical("no kill of %s: %s", request.target, why)
    ) as killer:
        worker = Worker(config, state, killer)
        log.info("starting: %s", await asyncio.to_thread(worker.shard.resume))
        with _following(switch, worker.shard):
            return await worker.run(address, store, switch)


class Worker:
    """Reads records, has the shard take them, and acknowledges them once a checkpoint covers them."""

    def __init__(self, config: Config, state: StateDir, killer: Killer) -> None:
        self.shard = Shard(config, state, killer.submit, self._publish)
        self._killer = killer
        self._interval_s = config.log.checkpoint_interval_s
        self._data_dir = state.path / "faust"
        self._alerts: Any = None
        self._held: list[Any] = []  # events that are processed and not acknowledged
        self._held_bytes = 0
        self._steady = asyncio.Lock()  # held while the models and the effects are not in step

    async def run(self, address: KafkaAddress, store: Store, switch: Switch) -> int:
        """Work until a signal, a failure, or Faust's own end; return the exit status."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, _finish, over, None)
        app = self._app(address, over)
        try:
            await asyncio.wait_for(app.start(), START_TIMEOUT_S)
        except TimeoutError as error:
            raise DaemonError(f"Faust did not start within {START_TIMEOUT_S:g} s; see the log") from error
        print(f"ready {address}", flush=True)  # noqa: T201 - what a supervisor waits for
        async with _until(over, self._save_regularly()), _until(over, _look_after(store, switch)):
            failure = await _end_of(app, over)
        if failure:
            log.critical("the worker gave up: %s", failure, exc_info=failure)
        else:
            await self._save_before_the_end()
        await _stop(app)
        return 1 if failure else 0

    # -- records --------------------------------------------------------------------------------------------------

    def _app(self, address: KafkaAddress, over: asyncio.Future[None]) -> Any:
        app = faust.App(
            address.prefix,  # the consumer group
            broker=[f"kafka://{broker}" for broker in address.servers],
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
            broker_session_timeout=6.0,  # after a crash the next worker waits so long for the partitions
            broker_heartbeat_interval=2.0,
        )
        self._alerts = app.topic(address.alerts, key_serializer="raw", value_serializer="raw")
        source = app.topic(address.actions, key_serializer="raw", value_serializer="raw")

        async def score(stream: Any) -> None:
            # noack(): by default Faust acknowledges a record even when its effect raised.
            async for event in stream.noack().events():
                try:
                    await self._take(event)
                except (
                    Exception
                ) as error:  # a crashed app cannot be stopped cleanly: it must not leave the agent
                    _finish(over, error)
                if over.done():
                    return  # nothing after the failed record is acknowledged

        app.agent(source, concurrency=1)(score)
        return app

    async def _take(self, event: Any) -> None:
        value: bytes = event.value or b""  # a tombstone has none
        async with self._steady:
            await self.shard.take(value, event.message.timestamp or 0.0)
            self._held.append(event)
            self._held_bytes += len(value)
        if len(self._held) >= MAX_HELD_RECORDS or self._held_bytes >= MAX_HELD_BYTES or self.shard.is_full:
            await self._save()

    async def _publish(self, alerts: Sequence[Alert]) -> None:
        sent = [
            await self._alerts.send(
                key=alert.agent_id.encode(), value=msgspec.json.encode(alert_message(alert))
            )
            for alert in alerts
        ]
        for durable in sent:  # the broker has it on all replicas
            await durable

    # -- acknowledging --------------------------------------------------------------------------------------------

    async def _save(self) -> None:
        """Write a checkpoint once no kill is pending, then acknowledge what it covers."""
        while True:
            async with self._steady:
                if not self._killer.pending():
                    await self.shard.save()
                    for event in self._held:
                        event.ack()
                    self._held, self._held_bytes = [], 0
                    return
            await asyncio.sleep(POLL_S)  # the store is away: the offsets wait for it, the scoring does not

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            if self._held:
                await self._save()

    async def _save_before_the_end(self) -> None:
        """Save if that is possible now; if not, the next worker repeats what this one did since the checkpoint."""
        saving = asyncio.ensure_future(self._save())
        await asyncio.wait(
            {saving}, timeout=SAVE_TIMEOUT_S
        )  # `wait_for` would wait for its cancellation, too
        try:
            if not saving.done():
                saving.cancel()
                raise TimeoutError(f"not done within {SAVE_TIMEOUT_S:g} s")
            saving.result()
        except (TimeoutError, OSError) as error:
            log.warning(
                "no checkpoint at the end (%s): the records since the last one will be repeated", error
            )


# -- the store ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _following(switch: Switch, shard: Shard) -> Iterator[None]:
    """Let the shard know of every change in the store, whoever wrote it."""
    loop = asyncio.get_running_loop()
    stop = threading.Event()

    def follow() -> None:
        switch.follow(
            shard.epoch,
            lambda change: _call(loop, shard.note_change, change),
            lambda ack: None,
            stop,
        )

    thread = threading.Thread(target=follow, name="follow-store", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(SAVE_TIMEOUT_S)


def _call(loop: asyncio.AbstractEventLoop, function: Any, argument: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: we are at the end
        loop.call_soon_threadsafe(function, argument)


async def _look_after(store: Store, switch: Switch) -> None:
    """Start the embedded store again if it died, and sweep the suspensions that ran out."""
    looks = 0
    while True:
        try:
            await asyncio.to_thread(store.ensure)
            if looks % EXPIRE_EVERY_LOOKS == 0:
                await asyncio.to_thread(switch.expire, by="killcord/expiry")
        except (KillswitchError, DaemonError) as error:
            log.error("the revocation store: %s", error)
        looks += 1
        await asyncio.sleep(LOOK_INTERVAL_S)


# -- the end ------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _until(over: asyncio.Future[None], work: Any) -> AsyncIterator[None]:
    """Run the work beside the body; if it fails, everything is over."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: None if done.cancelled() else _finish(over, done.exception()))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _end_of(app: Any, over: asyncio.Future[None]) -> BaseException | None:
    """Return when the work is over, with why if it failed."""
    ended = asyncio.create_task(app.wait_until_stopped())
    try:
        await asyncio.wait({over, ended}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
    return over.exception() if over.done() else DaemonError("Faust ended by itself; see its log above")


async def _stop(app: Any) -> None:
    """Stop Faust, which commits what is acknowledged; without the broker that fails, and the records come again."""
    stopping = asyncio.ensure_future(app.stop())
    await asyncio.wait({stopping}, timeout=STOP_TIMEOUT_S)  # `wait_for` would wait for its cancellation, too
    if not stopping.done():
        log.warning("Faust did not stop within %g s", STOP_TIMEOUT_S)
        stopping.cancel()
    elif not stopping.cancelled() and (error := stopping.exception()):  # of any kind: we end anyway
        log.warning("Faust did not stop cleanly: %r", error)


def _leave_behind_faust(status: int) -> None:
    """End the process if a thread of Faust's still waits for the broker: the interpreter would wait for it for ever."""
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        log.warning("Faust's consumer still waits for the broker; leaving without it")
        logging.shutdown()
        os._exit(status)


def _finish(over: asyncio.Future[None], error: BaseException | None) -> None:
    if over.done():
        return
    if error:
        over.set_exception(error)
    else:
        over.set_result(None)
