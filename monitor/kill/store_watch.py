"""Bringing what happens in the revocation store into the daemon: its changes, its points, and whether it is there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from killswitch import Ack, Change, Gap, KillswitchError, Switch
from monitor.errors import DaemonError
from monitor.kill.guardian import Guardian
from monitor.kill.store import Store
from monitor.live.acknowledgements import Acknowledgements

if TYPE_CHECKING:
    from monitor.services import Services, StoreHealth

log = logging.getLogger("killcord")

LOOK_INTERVAL_S = 1.0
EXPIRE_EVERY_LOOKS = 10
STOP_TIMEOUT_S = 5


@contextlib.contextmanager
def following(services: Services, guardian: Guardian) -> Iterator[None]:
    """Bring every change and acknowledgement from the store's own log into ours, whoever wrote it."""
    loop = asyncio.get_running_loop()
    stop = threading.Event()
    acknowledgements = Acknowledgements(services.kill_latency.observe)

    def on_change(change: Change) -> None:
        acknowledgements.note_change(change)
        services.telemetry.note_change(change)
        start_in(loop, services.engine.note_change(change), f"change {change.epoch} is not recorded")
        guardian.note_change(change)

    def on_ack(ack: Ack) -> None:
        message = acknowledgements.message(ack, services.store.live)
        start_in(loop, services.feed.publish([message]), "an acknowledgement is not shown")

    def on_gap(gap: Gap) -> None:
        guardian.wake()

    thread = threading.Thread(
        target=services.switch.follow,
        args=(services.engine.epoch, on_change, on_ack, stop, None, on_gap, guardian.note_change),
        name="follow-store",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_TIMEOUT_S)  # before the store goes: it must not complain of our own stop


def start_in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, object], otherwise: str) -> None:
    """Start `work` in the loop from another thread; what it raises is logged, after `otherwise`."""

    def tell(done: Future[object]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            log.critical("%s: %s", otherwise, error, exc_info=error)

    asyncio.run_coroutine_threadsafe(work, loop).add_done_callback(tell)


async def look_after_store(services: Services, store: Store) -> None:
    """Look at the store about once a second: start it again if it died, count the points, sweep what ran out."""
    looks = 0
    while True:
        services.note_pace()
        services.store = await asyncio.to_thread(
            _look, services.switch, store, looks % EXPIRE_EVERY_LOOKS == 0
        )
        looks += 1
        await asyncio.sleep(LOOK_INTERVAL_S)


def _look(switch: Switch, store: Store, sweep: bool) -> StoreHealth:
    from monitor.services import StoreHealth  # services know all parts of the daemon, this one among them

    try:
        store.ensure()
        if sweep:
            switch.expire(by="killcord/expiry")
        return StoreHealth(True, tuple(switch.points()))
    except (KillswitchError, DaemonError) as error:
        log.error("the revocation store: %s", error)
        return StoreHealth()
