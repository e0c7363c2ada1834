"""Writing a change: read, decide, compare-and-set, see it to the disk. Retried safely, within a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from killswitch import revocations
from killswitch.clocks import lease_clock_s, wall_s
from killswitch.errors import ApprovalNeeded, InvalidRequest, StoreRefused, StoreUnreachable
from killswitch.revocations import ANNOUNCED, LEVELS, Change, Request, Revocation
from killswitch.storage import codec
from killswitch.storage.links import Link
from killswitch.storage.snapshots import Snapshot, number
from killswitch.storage.store import FSYNC_EVERY_S, Keys, Reading, Store
from killswitch.trust.approvals import Petition, approve, missing
from killswitch.trust.certification import Certifier

IDLE_LINKS: Final = 4
RETRY_PAUSE_S: Final = 0.05
HEAD_START_S: Final = 100e-6  # per point that a notice was sent to; about what hearing it costs
MAX_HEAD_START_S: Final = 0.1
MAX_CONFLICTS: Final = 10  # in a row; then the deadline is looked at

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
        Milliseconds from the call to the write's reply, and to the answer about the disk. Points refuse from
        about ``written_ms`` on; the disk takes up to a second with ``appendfsync everysec``.
    pending : bool
        The store could not be reached: the kill is in the local journal and will be written as soon as it can. Points
        without news refuse by themselves within their lease.
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
    pending: bool = False


class Writer:
    """Connections to the store and what is done over them. Safe for several threads.

    Parameters
    ----------
    url : str
        The store.
    keys : Keys
        Its key names.
    timeout_s : float
        Longest time, in seconds, for a write with its retries, and for any single reply.
    certifier : Certifier
        Signs what is written.
    """

    def __init__(self, url: str, keys: Keys, *, timeout_s: float, certifier: Certifier) -> None:
        self.url = url
        self.keys = keys
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[Link] = []
        self.certifier = certifier
        self._last = (b"", b"")  # epoch and head, as far as our own writes tell; a guess

    def write(self, request: Request, started_s: float, *, announce: bool = False) -> Outcome:
        """Read, decide, compare-and-set; again on a conflict or a lost connection, until the deadline.

        With `announce` the points are told of the kill first, so that they refuse while it is on its way to the disk.

        A kill starts from a guess instead of a reading: nothing is against the target, and nobody wrote since we did.
        Right, it saves a round trip; wrong, the store answers with what a reading would have told.
        """
        end_s = started_s + self.timeout_s
        guess = None
        if request.kind in LEVELS:
            epoch, head = self._last
            guess = Reading(request.target, epoch, b"", head)
        while True:
            try:
                with self._borrowed() as store:
                    if announce and guess is not None:
                        self._announce(store, request, guess)
                    return self._attempt(store, request, guess, started_s)
            except _Conflict:
                failure = "others keep changing revocations"
            except StoreUnreachable as error:
                failure = str(error)
                time.sleep(max(0.0, min(RETRY_PAUSE_S, end_s - lease_clock_s())))
            guess = None
            if lease_clock_s() >= end_s:
                raise StoreUnreachable(
                    f"{failure}. Whether the {request.kind} of {request.target} was written is not known; repeat"
                    f" it with change_id={request.change_id!r}. Points without news refuse by themselves",
                    change_id=request.change_id,
                )

    def _announce(self, store: Store, request: Request, guess: Reading) -> None:
        change = revocations.apply(None, request, epoch=guess.epoch + 1, now_s=wall_s())
        if change is not None and change.new is not None:
            heard = store.announce(replace(change.new, epoch=ANNOUNCED))
            # They refuse by the notice. The change, right behind it, would only hold up those who have yet to hear it.
            if heard > 1:
                time.sleep(min(MAX_HEAD_START_S, heard * HEAD_START_S))

    def _attempt(self, store: Store, request: Request, guess: Reading | None, started_s: float) -> Outcome:
        reading = guess or store.read(request.target)
        for _ in range(MAX_CONFLICTS):
            now_s = wall_s()
            request = self._approved(request, reading, now_s)
            # A store that went back must not give out an epoch twice.
            epoch = max(reading.epoch, number(self._last[0])) + 1
            change = revocations.apply(reading.current, request, epoch=epoch, now_s=now_s)
            if change is None:
                return self._nothing_changed(store, request, started_s)
            written = store.write(reading, change, self.certifier)
            if written.answer == "conflict":
                reading = written.found
                continue
            if written.answer == "duplicate":
                return self._duplicate(store, request, written.epoch, started_s)
            self._last = (b"%d" % written.epoch, written.head)
            note = revocations.decide(reading.current, request, now_s).note
            if written.untold:
                note += f"; the points learn it a beat later, because the store lets us tell nobody: {written.untold}"
            return _outcome(request, note, change.new, written.epoch, started_s, changed=True)
        raise _Conflict

    def _approved(self, request: Request, reading: Reading, now_s: float) -> Request:
        """Return the request with the approvals that lifting the record takes, ours where one suffices.

        Raises
        ------
        ApprovalNeeded
            If more people have to agree.
        """
        keyring, signer, current = self.certifier.keyring, self.certifier.signer, reading.current
        if request.kind != "restore" or keyring is None or current is None:
            return request
        lifts = current.change_id
        approvals = request.approvals
        if not approvals and signer is not None:
            petition = Petition(
                request.change_id, request.target, lifts, request.reason, request.by, now_s + 60, now_s
            )
            approvals = (approve(petition, signer, now_s),)
        short = missing(keyring, request.target, lifts, approvals)
        if short:
            raise ApprovalNeeded(request.target, lifts, short)
        return replace(request, approvals=approvals)

    def mend(self, choose: Callable[[Snapshot], Iterable[Revocation]], floor: int, change_id: str) -> int:
        """Put what `choose` makes of the state in its place, as an epoch above `floor` and the store's; return it."""
        for _ in range(MAX_CONFLICTS):
            with self._borrowed() as store:
                raw_epoch = store.raw_epoch()
                records = {
                    str(record.target).encode(): codec.encode_revocation(record)
                    for record in choose(self._snapshot(store, raw_epoch))
                }
                epoch = max(floor, number(raw_epoch)) + 1
                head = self.certifier.head_of(records, epoch=epoch, change_id=change_id, at_s=wall_s())
                if store.mend(records, raw_epoch, epoch, head):
                    self._last = (b"%d" % epoch, head)
                    return epoch
        raise StoreUnreachable("others keep changing revocations; the state was not mended")

    def _snapshot(self, store: Store, raw_epoch: bytes) -> Snapshot:
        """Return what is there; nothing, where keys of another type lie in the place of ours: MEND sets those aside."""
        try:
            return store.snapshot(keyring=self.certifier.keyring)
        except StoreRefused as refused:
            if "WRONGTYPE" not in str(refused):
                raise
            return Snapshot(number(raw_epoch), {})

    def _nothing_changed(self, store: Store, request: Request, started_s: float) -> Outcome:
        duplicate_of = store.written_as(request.change_id)
        if duplicate_of is not None:
            return self._duplicate(store, request, duplicate_of, started_s)
        reading = store.read(request.target)
        note = revocations.decide(reading.current, request, wall_s()).note
        return _outcome(request, note, reading.current, reading.epoch, started_s, changed=False)

    def _duplicate(self, store: Store, request: Request, epoch: int, started_s: float) -> Outcome:
        _require_same(request, store.changes(epoch - 1, 1))
        current = store.read(request.target).current
        outcome = _outcome(
            request, f"already written as change {epoch}", current, epoch, started_s, changed=True
        )
        return replace(outcome, duplicate=True)

    def await_disk(self, outcome: Outcome, started_s: float) -> Outcome:
        """Return `outcome` with what the server says about its disk; see :class:`Outcome`."""
        written_s = started_s + outcome.written_ms / 1e3
        change_id = outcome.change_id if outcome.changed else None
        # Less than the socket's time-out, so that it is the server that says "not yet".
        timeout_ms = int(max(0.05, 0.75 * self.timeout_s) * 1e3)
        try:
            if self.read(Store.fsync_policy) != "always":
                time.sleep(max(0.0, written_s + FSYNC_EVERY_S - lease_clock_s()))
            durable = self.read(lambda store: store.wait_on_disk(change_id, timeout_ms))
        except (StoreUnreachable, StoreRefused):
            durable = False  # written, and pushed; but nobody can say that it will survive the server
        return replace(outcome, durable=durable, durable_ms=(lease_clock_s() - started_s) * 1e3)

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

    def read(self, read: Callable[[Store], T]) -> T:
        """Return what `read` reads; tried once more if the connection was stale (the server was restarted)."""
        started_s = lease_clock_s()
        try:
            with self._borrowed() as store:
                return read(store)
        except StoreUnreachable:
            if lease_clock_s() - started_s > self.timeout_s / 2:
                raise  # not stale: the server keeps us waiting
            self.close()
        with self._borrowed() as store:
            return read(store)

    def close(self) -> None:
        """Close idle connections; later calls open new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()


def _require_same(request: Request, written: list[Change]) -> None:
    """Refuse a change id that was used for something else: this change would silently not happen."""
    for change in written:  # none, if the log was trimmed since
        if change.change_id == request.change_id and (change.target, change.kind) != (
            request.target,
            request.kind,
        ):
            raise InvalidRequest("change_id", f"was used for the {change.kind} of {change.target}")


class _Conflict(Exception):
    """Somebody else wrote between each of our readings and our writing."""


def pending(request: Request, note: str, started_s: float) -> Outcome:
    """Return the outcome of a kill that waits for the store in the local journal."""
    return replace(_outcome(request, note, None, 0, started_s, changed=False), durable=True, pending=True)


def _outcome(
    request: Request, note: str, revocation: Revocation | None, epoch: int, started_s: float, *, changed: bool
) -> Outcome:
    return Outcome(
        changed=changed,
        duplicate=False,
        epoch=epoch,
        change_id=request.change_id,
        note=note,
        revocation=revocation,
        durable=None,
        written_ms=(lease_clock_s() - started_s) * 1e3,
        durable_ms=None,
    )
