"""What an operator or the daemon does: revoke, restore, look, wait for the points, follow what happens."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Self, TypeVar

from killswitch import revocations
from killswitch.clocks import lease_clock_s, wall_s
from killswitch.containment import AckWait
from killswitch.errors import StoreRefused, StoreUnreachable
from killswitch.following import Following, Gap, Listeners
from killswitch.links import Link
from killswitch.points import Ack, Containment, PointStatus
from killswitch.revocations import Change, Level, Request, Revocation
from killswitch.store import PREFIX, Keys, Reading, Snapshot, Store
from killswitch.targets import Target

IDLE_LINKS: Final = 4
RETRY_PAUSE_S: Final = 0.05

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a revoke or restore.

    Attributes
    ----------
    changed : bool
        Whether this call (or, for a ``duplicate``, an earlier one with its change id) changed anything.
    epoch : int
        Number of the change; points at this epoch or beyond enforce it. Without a change: the current one.
    note : str
        In words: "revoked", "already stronger: revoked", "restored" ...
    revocation : Revocation or None
        What is in force against the target now.
    durable : bool or None
        On the server's disk. None: the server cannot say. False: it is not, or not yet when the time was up.
    written_ms, durable_ms : float
        Milliseconds from the call to the write's reply, and to the answer about the disk. Points refuse from about
        ``written_ms`` on; the disk takes up to a second with ``appendfsync everysec``.
    """

    changed: bool
    duplicate: bool
    epoch: int
    change_id: str
    note: str
    revocation: Revocation | None
    durable: bool | None
    written_ms: float
    durable_ms: float | None


class Switch:
    """Writes and reads revocations. Safe for several threads; each call blocks, with a deadline.

    Parameters
    ----------
    url : str
        ``redis://``, ``rediss://`` or ``unix://``. Nothing is connected before the first call.
    prefix : str
        The prefix of the store's keys; guards must use the same.
    timeout_s : float
        Longest time, in seconds, for a call, including retries while the server restarts.
    """

    def __init__(self, url: str, *, prefix: str = PREFIX, timeout_s: float = 2.0) -> None:
        self.url = url
        self.keys = Keys(prefix)
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[Link] = []

    def revoke(
        self,
        target: Target,
        *,
        reason: str,
        by: str,
        level: Level = "revoke",
        expires_at_s: float | None = None,
        change_id: str | None = None,
        evidence: tuple[str, ...] = (),
        on_written: Callable[[Outcome], None] | None = None,
    ) -> Outcome:
        """Revoke, suspend or hold `target`, and return when that is on disk.

        Parameters
        ----------
        target : Target
            What to stop.
        reason, by : str
            Why and who; not empty. Shown wherever the refusal is.
        level : Level
            ``revoke`` stays until people restore; ``suspend`` ends at `expires_at_s`; ``step_up`` holds for a human.
        expires_at_s : float, optional
            End of a suspension, in seconds since 1970; required for ``suspend``, refused otherwise.
        change_id : str, optional
            Idempotency key; the same one again changes nothing. A new one by default.
        evidence : tuple of str
            Ids of the actions and alerts that led to this.
        on_written : callable, optional
            Called with the outcome as soon as points refuse, before the wait for the disk.

        Raises
        ------
        InvalidRequest
            If an argument is wrong; nothing was sent.
        StoreUnreachable
            If there was no answer in time. The change may have happened: repeat with the error's ``change_id``.
        StoreRefused
            If the store answered with an error.
        """
        request = Request(level, target, reason, by, change_id or uuid.uuid4().hex, expires_at_s, evidence)
        return self._durably(request, on_written)

    def restore(
        self,
        target: Target,
        *,
        reason: str,
        by: str,
        change_id: str | None = None,
        on_written: Callable[[Outcome], None] | None = None,
    ) -> Outcome:
        """Lift what is in force against `target`; like :meth:`revoke` otherwise."""
        request = Request("restore", target, reason, by, change_id or uuid.uuid4().hex)
        return self._durably(request, on_written)

    def expire(self, *, by: str) -> list[Outcome]:
        """Remove the records of suspensions that have run out (they bind nobody); for a periodic sweep."""
        now_s = wall_s()
        gone = [record for record in self.snapshot().revocations.values() if not record.in_force(now_s)]
        return [
            self._durably(
                Request("expire", record.target, "the suspension ran out", by, uuid.uuid4().hex), None
            )
            for record in gone
        ]

    def revoke_and_wait(
        self,
        target: Target,
        *,
        reason: str,
        by: str,
        level: Level = "revoke",
        expires_at_s: float | None = None,
        change_id: str | None = None,
        evidence: tuple[str, ...] = (),
        contain_timeout_s: float = 2.0,
        on_ack: Callable[[Ack], None] | None = None,
    ) -> tuple[Outcome, Containment]:
        """Revoke as :meth:`revoke` does, and wait until all live points confirm.

        The acknowledgements are subscribed to before the write, and ``elapsed_ms`` runs from just before it.
        """
        request = Request(level, target, reason, by, change_id or uuid.uuid4().hex, expires_at_s, evidence)
        return self._contained(request, contain_timeout_s, on_ack)

    def restore_and_wait(
        self,
        target: Target,
        *,
        reason: str,
        by: str,
        change_id: str | None = None,
        contain_timeout_s: float = 2.0,
        on_ack: Callable[[Ack], None] | None = None,
    ) -> tuple[Outcome, Containment]:
        """Restore as :meth:`restore` does, and wait until all live points allow again."""
        request = Request("restore", target, reason, by, change_id or uuid.uuid4().hex)
        return self._contained(request, contain_timeout_s, on_ack)

    def snapshot(self) -> Snapshot:
        """Return everything that is revoked, with the epoch; O(number of revocations)."""
        return self._read(Store.snapshot)

    def changes(self, after_epoch: int, limit: int = 1000) -> list[Change]:
        """Return up to `limit` changes with an epoch above `after_epoch`, oldest first, as far as the log reaches."""
        return self._read(lambda store: store.changes(after_epoch, limit))

    def epoch(self) -> int:
        """Return the number of the last change, 0 before the first."""
        return self._read(Store.epoch)

    def points(self) -> list[PointStatus]:
        """Return every enforcement point that is registered, live or not."""
        return self._read(Store.points)

    def close(self) -> None:
        """Close idle connections. Later calls open new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def wait_contained(
        self, epoch: int, timeout_s: float, on_ack: Callable[[Ack], None] | None = None
    ) -> Containment:
        """Return once all points that are live confirm `epoch`, or after `timeout_s` seconds.

        `on_ack` is called with each acknowledgement that arrives meanwhile, of any epoch.
        """
        started_s = lease_clock_s()
        with AckWait(self.url, self.keys.acks, timeout_s=self.timeout_s) as acks:
            return acks.wait(epoch, self.points, started_s=started_s, timeout_s=timeout_s, on_ack=on_ack)

    def follow(
        self,
        after_epoch: int,
        on_change: Callable[[Change], None],
        on_ack: Callable[[Ack], None],
        stop: threading.Event,
        on_connected: Callable[[], None] | None = None,
        on_gap: Callable[[Gap], None] | None = None,
    ) -> None:
        """Call `on_change` for every change after `after_epoch`, in order and once, until `stop` is set.

        Blocks; reconnects for ever and catches up from the log. `on_ack` is called for acknowledgements as they come
        (those sent while disconnected are lost; :meth:`points` has the state). `on_connected` is called whenever it has
        caught up after (re)connecting, `on_gap` when the log no longer holds what is missing: take a
        :meth:`snapshot` then. What a callback raises ends the call. Stops within about a second.
        """
        listeners = Listeners(on_change, on_ack, on_connected, on_gap)
        Following(self.url, self.keys, after_epoch, listeners, timeout_s=self.timeout_s).run(stop)

    # -- how a write goes ------------------------------------------------------------------------------------

    def _durably(self, request: Request, on_written: Callable[[Outcome], None] | None) -> Outcome:
        started_s = lease_clock_s()
        outcome = self._write(request, started_s)
        if on_written is not None:
            on_written(outcome)
        return self._await_disk(outcome, started_s)

    def _contained(
        self, request: Request, timeout_s: float, on_ack: Callable[[Ack], None] | None
    ) -> tuple[Outcome, Containment]:
        with AckWait(self.url, self.keys.acks, timeout_s=self.timeout_s) as acks:
            started_s = lease_clock_s()
            outcome = self._write(request, started_s)
            containment = acks.wait(
                outcome.epoch, self.points, started_s=started_s, timeout_s=timeout_s, on_ack=on_ack
            )
        # The disk is asked last: the write is on its way there meanwhile, and people wait for the points.
        return self._await_disk(outcome, started_s), containment

    def _write(self, request: Request, started_s: float) -> Outcome:
        """Read, decide, compare-and-set; again on a conflict or a lost connection, until the deadline."""
        end_s = started_s + self.timeout_s
        while True:
            try:
                outcome = self._attempt(request, started_s)
                if outcome is not None:
                    return outcome
                failure = "others keep changing revocations"
            except StoreUnreachable as error:
                failure = str(error)
                time.sleep(max(0.0, min(RETRY_PAUSE_S, end_s - lease_clock_s())))
            if lease_clock_s() >= end_s:
                raise StoreUnreachable(
                    f"{failure}. Whether {request.target} is {request.kind}d is not known: repeat with"
                    f" change_id={request.change_id!r}; points that cannot reach the store refuse by themselves",
                    change_id=request.change_id,
                )

    def _attempt(self, request: Request, started_s: float) -> Outcome | None:
        """Return the outcome, or None if somebody else wrote between our reading and our writing."""
        with self._borrowed() as store:
            reading = store.read(request.target, request.change_id)
            if reading.duplicate_of is not None:
                return _outcome(request, reading, reading.duplicate_of, started_s, duplicate=True)
            now_s = wall_s()
            change = revocations.apply(reading.current, request, epoch=reading.next_epoch, now_s=now_s)
            if change is None:
                return _outcome(request, reading, reading.next_epoch - 1, started_s)
            answer, epoch = store.write(reading, change)
            if answer == "conflict":
                return None
            return _outcome(
                request, reading, epoch, started_s, duplicate=answer == "duplicate", change=change
            )

    def _await_disk(self, outcome: Outcome, started_s: float) -> Outcome:
        # Less than the socket's time-out, so that it is the server that says "not yet".
        left_s = max(0.05, 0.75 * self.timeout_s)
        try:
            with self._borrowed() as store:
                durable = store.wait_on_disk(int(left_s * 1e3))
        except (StoreUnreachable, StoreRefused):
            durable = False  # written, and pushed; but nobody can say that it will survive the server
        return replace(outcome, durable=durable, durable_ms=(lease_clock_s() - started_s) * 1e3)

    # -- connections -----------------------------------------------------------------------------------------

    @contextmanager
    def _borrowed(self) -> Iterator[Store]:
        """Lend a connection; it comes back only after a call that went well."""
        with self._lock:
            link = self._idle.pop() if self._idle else None
        if link is None:
            link = Link(self.url, timeout_s=self.timeout_s)
        try:
            yield Store(link, self.keys)
        except BaseException:
            link.close()
            raise
        with self._lock:
            if len(self._idle) < IDLE_LINKS:
                self._idle.append(link)
                return
        link.close()

    def _read(self, read: Callable[[Store], T]) -> T:
        """Read once, and once more if the connection was stale (the server was restarted since)."""
        try:
            with self._borrowed() as store:
                return read(store)
        except StoreUnreachable:
            self.close()
        with self._borrowed() as store:
            return read(store)


def _outcome(
    request: Request,
    reading: Reading,
    epoch: int,
    started_s: float,
    *,
    duplicate: bool = False,
    change: Change | None = None,
) -> Outcome:
    if duplicate:
        note, revocation = f"already written as change {epoch}", reading.current
    elif change is None:
        note, revocation = revocations.decide(reading.current, request, wall_s()).note, reading.current
    else:
        note, revocation = revocations.decide(reading.current, request, change.at_s).note, change.new
    return Outcome(
        changed=duplicate or change is not None,
        duplicate=duplicate,
        epoch=epoch,
        change_id=request.change_id,
        note=note,
        revocation=revocation,
        durable=None,
        written_ms=(lease_clock_s() - started_s) * 1e3,
        durable_ms=None,
    )
