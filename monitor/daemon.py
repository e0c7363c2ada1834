"""The daemon: puts the parts together, starts them in order, and stops them in the opposite one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from detectors import warm_up
from killswitch import Journal, Switch
from monitor.access.tokens import LOCAL_ID, make_secret, written
from monitor.alerts.book import Book
from monitor.alerts.desk import Desk
from monitor.alerts.feedback import Feedback
from monitor.alerts.keeper import Keeper
from monitor.config import Config
from monitor.core.alerts import Alert, set_aside_alert
from monitor.core.pipeline import RevocationRequest
from monitor.delivery.deliveries import Deliveries, open_routes
from monitor.delivery.sink import Sink
from monitor.delivery.sinks import open_sinks
from monitor.engines.embedded import EmbeddedEngine
from monitor.gate import Gate, open_gate
from monitor.intake.dead_letters import DeadLetters
from monitor.intake.observation import Observer
from monitor.kill.drill_log import DrillLog
from monitor.kill.drills import Drills, run_drills
from monitor.kill.guardian import Guardian
from monitor.kill.journal_drain import JournalDrain
from monitor.kill.keys import follow_keyring, open_keys
from monitor.kill.killer import Killer
from monitor.kill.ledger import Ledger
from monitor.kill.store import Store, open_store
from monitor.kill.store_watch import following, look_after_store, start_in
from monitor.listening import Listeners, Tls, lift_file_limit, listen
from monitor.live.feed import SHUTDOWN, Feed
from monitor.live.messages import alert_message
from monitor.live.shown import read_feed
from monitor.log.segments import SegmentedLog
from monitor.record.host import RecorderHost
from monitor.record.pipe import SetAside
from monitor.services import Services
from monitor.state_dir import Address, StateDir
from monitor.web.app import create_app
from monitor.web.wire import WireProtocol

log = logging.getLogger("killcord")

STOP_TIMEOUT_S = 5


@dataclass
class Options:
    """What the command line decides."""

    state: Path
    config: Config
    redis_url: str = ""
    host: str | None = None
    port: int | None = None
    owner: str = LOCAL_ID
    """What the record calls the owner of the state directory."""
    on_ready: Callable[[Address], None] = field(default=lambda address: None)
    on_services: Callable[[Services], None] = field(default=lambda services: None)
    """Told the parts before they are served; for who drives a daemon from within its own process."""


def run(options: Options) -> None:
    """Run the daemon until SIGTERM or Ctrl-C. Raises `DaemonError` if it cannot start or go on."""
    lift_file_limit()
    try:
        import uvloop
    except ImportError:  # not on every platform; only speed is lost
        asyncio.run(serve(options))
    else:
        uvloop.run(serve(options))


async def serve(options: Options) -> None:
    """Start everything, serve, and stop everything."""
    state = StateDir(options.state)
    redis_url = options.redis_url or options.config.killswitch.redis_url
    sinks = open_sinks(options.config.delivery)
    keys, journal = open_keys(state), Journal(state.directory("journal"))
    with (
        open_store(redis_url, state) as store,
        Switch(store.url, signer=keys.signer, keyring=keys.keyring, journal=journal) as switch,
        Switch(store.url, signer=keys.signer, keyring=keys.keyring) as writer,
    ):
        await asyncio.to_thread(warm_up)
        drills = Drills(DrillLog(state.path / "drills.ndjson", keys.signer, keys.keyring))
        key_id = keys.signer.key_id if keys.signer else ""
        # For the owner of the state directory, who may do everything to it anyway; it ends with this process.
        local = make_secret()
        async with (
            RecorderHost(state.path, options.config.record) as recorder,
            open_gate(
                options.config,
                state,
                local=local,
                owner=options.owner,
                on_act=lambda seq: recorder.may_read("acts", seq),
            ) as gate,
            _services(options.config, state, switch, writer, drills, gate, recorder, sinks) as services,
        ):
            with _guardian(state, services, key_id) as guardian, following(services, guardian):
                services.guardian = guardian
                options.on_services(services)
                await _serve_http(options, state, services, store, written(LOCAL_ID, local))


async def _serve_http(
    options: Options, state: StateDir, services: Services, store: Store, token: str
) -> None:
    tls = Tls(options.config.server) if options.config.server.tls_cert else None
    listeners = listen(options.config.server, options.host, options.port)
    services.gate.kill_url, services.gate.kill_port = listeners.kill_url, listeners.kill_port
    address = _address(listeners, store, token, tls)
    server = _Server(_http_config(services, tls), services.feed)
    looking = asyncio.create_task(look_after_store(services, store), name="look")
    drilling = asyncio.create_task(run_drills(services), name="drill")
    failing = asyncio.create_task(services.engine.failed(), name="engine")
    serving = asyncio.create_task(server.serve(sockets=listeners.sockets), name="http")
    announcing = asyncio.create_task(_announce(server, options, state, address, tls), name="announce")
    try:
        await asyncio.wait({serving, failing, looking}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        announcing.cancel()
        looking.cancel()
        drilling.cancel()
        await asyncio.gather(serving, announcing, drilling, return_exceptions=True)
        state.retract()
    for task in (serving, failing, looking):
        if task.done() and not task.cancelled():
            task.result()
    failing.cancel()


# -- the parts ----------------------------------------------------------------------------------------------------


class _Effects:
    """Where the engine's outcomes go."""

    def __init__(self, desk: Desk, killer: Killer, recorder: RecorderHost) -> None:
        self._desk = desk
        self._killer = killer
        self._recorder = recorder

    def request(self, request: RevocationRequest) -> None:
        self._killer.submit(request)

    def pending(self) -> list[RevocationRequest]:
        return self._killer.pending()

    def scored(self, first_seq: int, p: Sequence[float], evidence: Sequence[float]) -> None:
        self._recorder.scored(first_seq, p, evidence)

    def applied(self, seq: int) -> None:
        self._recorder.may_read("actions", seq)

    def recorded(self) -> int:
        return self._recorder.recorded.cursors.get("actions", 0)

    async def publish(self, messages: list[dict[str, Any]]) -> None:
        await self._desk.publish(messages)


@contextlib.asynccontextmanager
async def _services(
    config: Config,
    state: StateDir,
    switch: Switch,
    writer: Switch,
    drills: Drills,
    gate: Gate,
    recorder: RecorderHost,
    sinks: Mapping[str, Sink],
) -> AsyncIterator[Services]:
    feed_log = SegmentedLog(state.path / "feed", segment_bytes=config.log.segment_bytes)
    keeper = Keeper(Book(config.alerts))
    shown = await asyncio.to_thread(read_feed, feed_log, keeper)

    def on_message(seq: int, payload: bytes) -> None:
        keeper.note(seq, payload)
        recorder.may_read("feed", seq)

    feed = Feed(
        feed_log,
        recent=config.feed.recent_messages,
        client_buffer=config.feed.client_buffer,
        retention_days=config.feed.retention_days,
        on_durable=on_message,
    )
    recorder.may_read("feed", feed.last_seq)
    desk = Desk(feed, keeper.book)
    loop = asyncio.get_running_loop()

    def on_refused(request: RevocationRequest, why: str) -> None:
        start_in(loop, engine.withdraw(request, why), f"the kill of {request.target} is not withdrawn")

    # Without a journal: what the killer has not written is in the action log, and timed when it is written.
    killer = Killer(writer, on_refused)
    routes = open_routes(config.delivery, sinks, feed, feed_log.directory, state.directory("delivery"))
    async with feed, Deliveries(routes) as deliveries:
        engine = EmbeddedEngine(config, state, _Effects(desk, killer, recorder), shown)
        with killer, JournalDrain(Journal(state.directory("journal")), writer) as kept:
            async with engine, _feedback(desk, engine):
                _report(engine)
                recorder.tell_set_aside(lambda told: start_in(loop, _tell_set_aside(desk, told), told.why))
                yield Services(
                    config=config,
                    gate=gate,
                    engine=engine,
                    feed=feed,
                    desk=desk,
                    switch=switch,
                    writer=writer,
                    killer=killer,
                    kept=kept,
                    observer=Observer(state.secret(), store_args=config.log.store_args == "full"),
                    dead_letters=DeadLetters(state.path / "dead-letters.ndjson"),
                    drills=drills,
                    deliveries=deliveries,
                    recorder=recorder,
                )
    feed_log.close()


def _feedback(desk: Desk, engine: EmbeddedEngine) -> Feedback:
    """Have closed alerts teach the engine's models."""
    feedback = Feedback(desk.book, lambda alert_id: engine.pipeline.awaits_verdict(alert_id), engine.judge)
    desk.teach = feedback.teach
    return feedback


async def _tell_set_aside(desk: Desk, told: SetAside) -> None:
    await desk.publish([alert_message(set_aside_alert(told.path, told.why, time.time()))])


def _report(engine: EmbeddedEngine) -> None:
    found = engine.recovery
    log.info(
        "recovered: %d entries replayed after %d (%s)", found.replayed, found.from_checkpoint, found.note
    )
    if found.torn_bytes:
        log.warning(
            "a torn tail of %d bytes was cut off the log; it was never acknowledged", found.torn_bytes
        )


def _guardian(state: StateDir, services: Services, key_id: str) -> Guardian:
    loop = asyncio.get_running_loop()
    switch, writer = services.switch, services.writer

    def refresh() -> None:
        if follow_keyring(state, switch) and switch.keyring:
            writer.use_keyring(switch.keyring)

    def on_alert(alert: Alert) -> None:
        start_in(loop, services.desk.publish([alert_message(alert)]), f"not shown: {alert.title}")

    ledger = Ledger(state.path / "revocations")
    return Guardian(writer, ledger, key_id=key_id, refresh=refresh, on_alert=on_alert)


# -- serving HTTP -------------------------------------------------------------------------------------------------


class _Server(uvicorn.Server):
    """uvicorn that ends endless answers before it waits for them, and does not raise the signal again afterwards."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._feed.end_readers(SHUTDOWN)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._exit)
        yield

    def _exit(self) -> None:
        self.should_exit = True


def _address(listeners: Listeners, store: Store, token: str, tls: Tls | None) -> Address:
    return Address(
        url=listeners.url,
        redis_url=store.url,
        pid=os.getpid(),
        point_url=store.point_url,
        token=token,
        kill_url=listeners.kill_url,
        certificate=tls.certificate() if tls else "",
    )


def _http_config(services: Services, tls: Tls | None) -> uvicorn.Config:
    proxies = services.config.server.trusted_proxies
    config = uvicorn.Config(
        create_app(services),
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws=WireProtocol,
        ws_max_size=64 * 1024,  # readers have nothing to say
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
        server_header=False,
        proxy_headers=bool(proxies),  # else anybody beside us could choose an address to be counted under
        forwarded_allow_ips=list(proxies),
    )
    if tls:
        config.load()
        config.ssl = tls.context()  # the one that is kept up to date
    return config


async def _announce(
    server: _Server, options: Options, state: StateDir, address: Address, tls: Tls | None
) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn has a flag, no event
        await asyncio.sleep(0.01)
    state.announce(address)
    options.on_ready(address)
    if tls:
        await tls.follow(lambda: state.announce(address._replace(certificate=tls.certificate())))
