"""Following every change in order, each once: what the daemon's feed and audit stand on."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from killswitch.clocks import lease_clock_s
from killswitch.errors import BadRecord, KillswitchError, StoreUnreachable
from killswitch.registry.points import Ack, decode_ack
from killswitch.revocations import Change
from killswitch.storage.codec import decode_change
from killswitch.storage.links import Link, Push
from killswitch.storage.store import MENDED, NOTICE, Keys, Store, signed
from killswitch.trust.keyring import Keyring

log = logging.getLogger("killswitch")

PAGE = 1000
CHECK_S = 1.0  # how often a quiet follower asks whether it missed something
MAX_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Gap:
    """Changes that the log no longer holds: take a snapshot.

    Those after ``after_epoch`` and before ``next_epoch`` are gone; ``next_epoch`` not above ``after_epoch``
    means that the store itself went back, having lost data.
    """

    after_epoch: int
    next_epoch: int


@dataclass(frozen=True, slots=True)
class Listeners:
    """Whom to tell. All are called in the following thread; what they raise ends the following."""

    on_change: Callable[[Change], None]
    on_ack: Callable[[Ack], None]
    on_connected: Callable[[], None] | None
    on_gap: Callable[[Gap], None] | None
    on_late: Callable[[Change], None] | None = None


class Following:
    """The position of one reader of the log."""

    def __init__(
        self,
        url: str,
        keys: Keys,
        after_epoch: int,
        listeners: Listeners,
        *,
        timeout_s: float,
        keyring: Callable[[], Keyring | None],
    ) -> None:
        self.url = url
        self.keys = keys
        self.epoch = after_epoch
        self.listeners = listeners
        self.timeout_s = timeout_s
        self.keyring = keyring

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set, reconnecting for ever; stops within about a second."""
        attempt = 0
        while not stop.is_set():
            before = self.epoch
            try:
                self._session(stop)
            except KillswitchError as error:
                log.warning("following is interrupted: %s", error)
            attempt = 0 if self.epoch != before else min(attempt + 1, 10)
            stop.wait(min(MAX_PAUSE_S, 0.05 * 2**attempt) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _session(self, stop: threading.Event) -> None:
        push = Push(self.url, [self.keys.changes, self.keys.acks], timeout_s=self.timeout_s)
        try:
            link = Link(self.url, timeout_s=self.timeout_s)
            try:
                self._follow(push, Store(link, self.keys), stop)
            finally:
                link.close()
        finally:
            push.close()

    def _follow(self, push: Push, store: Store, stop: threading.Event) -> None:
        self._catch_up(store)
        if self.listeners.on_connected is not None:
            self.listeners.on_connected()
        check_at_s, answered = lease_clock_s() + CHECK_S, True
        while not stop.is_set():
            message = push.receive(max(0.0, check_at_s - lease_clock_s()))
            if message is not None and message[0] == "message":
                self._take(message[1], message[2], store)
            elif message is not None:
                answered = True
            if lease_clock_s() >= check_at_s:
                if not answered:
                    raise StoreUnreachable(f"no answer to a ping for {CHECK_S} s")
                self._catch_up(store)
                push.ping("follow")
                check_at_s, answered = lease_clock_s() + CHECK_S, False

    def _take(self, channel: bytes, data: bytes, store: Store) -> None:
        try:
            if channel.decode() == self.keys.acks:
                self.listeners.on_ack(decode_ack(data))
                return
            if data.startswith(NOTICE):
                return  # the change itself follows
            if data == MENDED:
                self._catch_up(store)
                return
            body, _, head = data.partition(b"\n")
            change = signed(decode_change(body), body, head, self.keyring())
        except BadRecord as error:
            log.warning("ignored an unreadable message on %s: %s", channel.decode(errors="replace"), error)
            return  # a change of a later version stays in the log and is reported as a gap by the next one
        if change.epoch == self.epoch + 1:
            self._deliver(change)
            return
        if change.epoch <= self.epoch and self.listeners.on_late is not None:
            self.listeners.on_late(change)
        self._catch_up(store)

    def _catch_up(self, store: Store) -> None:
        """Read the log from our epoch to its end; report what is not there."""
        while True:
            last = store.epoch()
            if last < self.epoch:
                self._report(Gap(self.epoch, last + 1 if last == 0 else last))
                self.epoch = 0 if last == 0 else last
            page = store.changes(self.epoch, PAGE, self.keyring())
            for change in page:
                if change.epoch > self.epoch + 1:
                    self._report(Gap(self.epoch, change.epoch))
                self._deliver(change)
            if len(page) == PAGE:
                continue
            if self.epoch < last:
                self._report(Gap(self.epoch, last + 1))
                self.epoch = last
            return

    def _deliver(self, change: Change) -> None:
        self.listeners.on_change(change)
        self.epoch = change.epoch

    def _report(self, gap: Gap) -> None:
        log.error("changes %d to %d are not in the log", gap.after_epoch + 1, gap.next_epoch - 1)
        if self.listeners.on_gap is not None:
            self.listeners.on_gap(gap)
