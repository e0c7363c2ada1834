"""One route: follows the feed's log from its own place, sends what its filter wants, and only then moves on.

Theory of operation
-------------------
The feed's log is the outbox: nothing is written twice. A route knows one number, its *place*: everything up to it was
delivered, left out by the filter, or set aside because the receiver will never take it. It moves only after success, so
what was being sent when the daemon died is sent again: at least once, in order. A repeat has the `id` of the first.

The place is written to disk at most once in `place.SAVE_INTERVAL_S`, and when there is nothing to do: up to so much is
repeated after a `kill -9`; after a clean stop, what was just being sent.

Every route has a task, a place and connections of its own and shares no queue: none can delay another, nor the feed.
Only reading takes turns, so that many routes that catch up at once do not crowd the interpreter; no receiver is in it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from monitor.delivery.backoff import Backoff
from monitor.delivery.events import Event, is_wanted, read_event
from monitor.delivery.place import Place, PlaceFile
from monitor.delivery.routes import RouteConfig
from monitor.delivery.set_aside import set_aside
from monitor.delivery.sink import Sink
from monitor.errors import DaemonError, DeliveryDelayed, DeliveryRefused, LogError
from monitor.live.feed import Feed, now_text
from monitor.live.filters import parse_filter
from monitor.live.stored import wire_text
from monitor.log.segments import Frame, segment_starts
from monitor.log.tail import LogTail

log = logging.getLogger("killcord.delivery")

READ_FRAMES: Final = 100
READ_BYTES: Final = 4 * 1024 * 1024
"""Security limits: what a route holds in memory at a time, however far behind it is."""
MAX_BREATHER_S: Final = 0.05
"""Reading rests as long as it took, up to so much: routes that catch up leave half of a processor to others."""


class _Formed(NamedTuple):
    event: Event
    form: Any


class _Piece(NamedTuple):
    """A piece of the log, both ends included, and what of it is to be sent."""

    first_seq: int
    last_seq: int
    formed: Sequence[_Formed]


class Route:
    """Delivers from the log in `log_directory` and keeps its place in `folder`. For one event loop."""

    def __init__(
        self,
        config: RouteConfig,
        sink: Sink,
        feed: Feed,
        log_directory: Path,
        folder: Path,
        *,
        backoff: Backoff,
        reading: asyncio.Lock,
    ) -> None:
        self.config = config
        self.state = "starting"
        self.last_error: str | None = None
        self.place = Place(feed.last_seq)
        self._sink = sink
        self._feed = feed
        self._log_directory = log_directory
        self._record = PlaceFile(folder / "place.json", config.name)
        self._dead_letters = folder / "dead-letters.ndjson"
        self._backoff = backoff
        self._reading = reading
        self._filter = parse_filter(config.filter)
        try:
            self._begin()
        except (DaemonError, LogError, OSError) as error:
            self._fail("broken", str(error))

    async def run(self) -> None:
        """Deliver until cancelled; then, and whenever it fails, what was delivered is on record."""
        if self.state == "broken":
            return
        try:
            await self._run_until_closed()
        finally:
            await self._sink.close()
            self._record.keep(self.place)

    def status(self) -> dict[str, Any]:
        """Return how the route stands, as ``GET /v1/deliveries`` says it."""
        place = self.place
        return {
            "name": self.config.name,
            "kind": self.config.kind,
            "filter": self.config.filter,
            "cursor": place.seq,
            "behind": max(0, self._feed.last_seq - place.seq),
            "sent": place.sent,
            "failed": place.failed,
            "set_aside": place.set_aside,
            "missed": place.missed,
            "last_error": self.last_error,
            "last_sent_at": place.last_sent_at,
            "state": self.state,
        }

    async def test(self, event: Event) -> None:
        """Send an event out of turn, the way that all are sent; raises `DeliveryError`."""
        form = self._sink.form(event)
        if form is not None:
            await self._attempt([form])

    # -- one step -------------------------------------------------------------------------------------------------

    async def _run_until_closed(self) -> None:
        tail, failures, is_open = LogTail(self._log_directory, self.place.seq), 0, True
        while is_open:
            try:
                is_open = await self._read_and_deliver(tail)
                failures = 0
            except Exception as error:
                # No receiver's failure: a disk in trouble, or a defect of ours. Neither may end the route.
                if not isinstance(error, LogError | OSError):
                    log.exception("route %s: a step failed in an unknown way", self.config.name)
                failures += 1
                tail = LogTail(self._log_directory, self.place.seq)
                self._fail("retrying", str(error) or repr(error))
                await asyncio.sleep(self._backoff.wait_s(failures, random.random()))  # noqa: S311

    async def _read_and_deliver(self, tail: LogTail) -> bool:
        """Deliver what is there, or wait for more; returns False once the feed is closed."""
        up_to = self._feed.last_seq
        if self.place.seq >= up_to:
            return await self._rest()
        async with self._reading:
            began_s = time.monotonic()
            piece = await asyncio.to_thread(self._read, tail, up_to)
            await asyncio.sleep(min(MAX_BREATHER_S, time.monotonic() - began_s))
        self._note_missed(piece.first_seq)
        await self._deliver(piece)
        if not self._record.due_in_s():
            await asyncio.to_thread(self._record.keep, self.place)
        return True

    def _read(self, tail: LogTail, up_to: int) -> _Piece:
        """Read, filter and form the next messages; in a thread, since a kill that people ask for needs the loop."""
        frames = tail.read(up_to, frames=READ_FRAMES, payload_bytes=READ_BYTES)
        first_seq = frames[0].first_seq if frames else tail.next_seq
        return _Piece(first_seq, tail.next_seq - 1, [one for frame in frames if (one := self._formed(frame))])

    async def _rest(self) -> bool:
        """Wait for the next message; what the place file does not have yet is written once it is due."""
        self.state = "waiting"
        if not self._record.holds(self.place):
            try:
                async with asyncio.timeout(self._record.due_in_s()):
                    return await self._feed.advanced(self.place.seq)
            except TimeoutError:
                await asyncio.to_thread(self._record.keep, self.place)
        return await self._feed.advanced(self.place.seq)

    async def _deliver(self, piece: _Piece) -> None:
        self.state = "delivering"
        for start in range(0, len(piece.formed), self._sink.batch):
            await self._send(piece.formed[start : start + self._sink.batch])
        self.place.seq = piece.last_seq

    def _formed(self, frame: Frame) -> _Formed | None:
        """Return the frame's message in the receiver's form; none if it is not to be sent."""
        try:
            event = read_event(frame)
            if event is None or not self._sink.is_for(event, is_wanted(event, self._filter)):
                return None
            form = self._sink.form(event)
        except Exception as error:  # a defect of ours: one message may not stop the route
            log.exception("route %s: message %d cannot be put into form", self.config.name, frame.first_seq)
            refusal = DeliveryRefused(f"cannot be put into the receiver's form: {error!r}")
            self._set_aside(frame.first_seq, wire_text(frame.first_seq, frame.payload).decode(), refusal)
            return None
        return None if form is None else _Formed(event, form)

    # -- sending --------------------------------------------------------------------------------------------------

    async def _send(self, formed: Sequence[_Formed]) -> None:
        """Return when each of them was taken or set aside."""
        failures = 0
        while True:
            try:
                await self._attempt([one.form for one in formed])
            except DeliveryRefused as refusal:
                if len(formed) > 1:
                    for one in formed:
                        await self._send([one])
                else:
                    await asyncio.to_thread(
                        self._set_aside, formed[0].event.seq, formed[0].event.text, refusal
                    )
                break
            except Exception as error:
                failures += 1
                if self._sink.attempts is not None and failures >= self._sink.attempts:
                    gave_up = DeliveryRefused(f"gave up after {failures} attempts: {error}")
                    await asyncio.to_thread(
                        self._set_aside, formed[0].event.seq, formed[0].event.text, gave_up
                    )
                    break
                await self._pause(error, failures)
            else:
                self.place.sent += len(formed)
                self.place.last_sent_at = now_text()
                self.state, self.last_error = "delivering", None
                break
        self.place.seq = formed[-1].event.seq

    async def _attempt(self, forms: Sequence[Any]) -> None:
        try:
            async with asyncio.timeout(self.config.timeout_s):
                await self._sink.send(forms)
        except TimeoutError as error:
            raise DeliveryDelayed(f"no answer within {self.config.timeout_s:g} s") from error

    async def _pause(self, error: Exception, failures: int) -> None:
        if not isinstance(error, DeliveryDelayed) and failures == 1:
            log.error("route %s: sending failed in an unknown way", self.config.name, exc_info=error)
        self.place.failed += 1
        self._fail("retrying", str(error) or repr(error))
        if not self._record.holds(self.place):
            await asyncio.to_thread(self._record.keep, self.place)
        retry_after_s = error.retry_after_s if isinstance(error, DeliveryDelayed) else 0.0
        await asyncio.sleep(self._backoff.wait_s(failures, random.random(), retry_after_s))  # noqa: S311

    def _set_aside(self, seq: int, text: str, refusal: DeliveryRefused) -> None:
        log.error("route %s: message %d is set aside: %s", self.config.name, seq, refusal)
        set_aside(self._dead_letters, seq, text, refusal)
        self.place.set_aside += 1
        self.last_error = str(refusal)

    # -- the place ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Find the place; that of a new route is on disk at once, so that a restart does not make it new again."""
        self._dead_letters.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        oldest = (segment_starts(self._log_directory) or [1])[0] - 1
        kept = self._record.read()
        if kept is None:
            self.place.seq = oldest if self.config.since == "oldest" else self.place.seq
        elif kept.seq > self._feed.last_seq:
            log.error(
                "route %s: the feed's log is another one; it is delivered from its start", self.config.name
            )
            kept.seq = oldest
            self.place = kept
        else:
            self.place = kept
        self._record.keep(self.place)

    def _note_missed(self, first_seq: int) -> None:
        missed = first_seq - self.place.seq - 1
        if missed > 0:
            self.place.missed += missed
            self.place.seq = first_seq - 1
            self.last_error = (
                f"{missed} messages grew older than feed.retention_days before they were delivered"
            )
            log.error("route %s: %s", self.config.name, self.last_error)

    def _fail(self, state: str, why: str) -> None:
        if self.last_error != why:
            log.warning("route %s: %s", self.config.name, why)
        self.state, self.last_error = state, why
