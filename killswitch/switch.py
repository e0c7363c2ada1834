"""What an operator or the daemon does: revoke, restore, look, wait for the points, follow what happens."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Self

from killswitch.clocks import lease_clock_s, wall_s
from killswitch.errors import InvalidRequest, JournalError, StoreRefused, StoreUnreachable
from killswitch.registry.containment import AckWait
from killswitch.registry.points import Ack, Containment, PointStatus, Registry
from killswitch.revocations import LEVELS, Change, Level, Request, Revocation
from killswitch.storage.following import Following, Gap, Listeners
from killswitch.storage.journal import Journal
from killswitch.storage.snapshots import Snapshot
from killswitch.storage.store import PREFIX, Keys, Store
from killswitch.storage.writer import Outcome, Writer, pending
from killswitch.targets import Target
from killswitch.trust.approvals import Approval
from killswitch.trust.certification import Certifier
from killswitch.trust.keyring import Keyring, SignedKeyring
from killswitch.trust.signing import Signer


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
    signer : Signer, optional
        The key to sign with: what is written is vouched for, and a restoration approved. Needs `keyring`.
    keyring : Keyring, optional
        The public keys of everybody; restorations that would not convince the points are refused here already.
    journal : Journal, optional
        Where a kill is kept when the store does not answer. Its outcome is then ``pending``, and somebody has to
        drain the journal: the daemon does.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = PREFIX,
        timeout_s: float = 2.0,
        signer: Signer | None = None,
        keyring: Keyring | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.url = url
        self.journal = journal
        self.keys = Keys(prefix)
        self.timeout_s = timeout_s
        self.keyring = keyring
        self._writer = Writer(url, self.keys, timeout_s=timeout_s, certifier=Certifier(signer, keyring))

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
        announce: bool | None = None,
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
            ``revoke`` stays until people restore; ``suspend`` ends at `expires_at_s`; ``step_up`` holds for a
            human.
        expires_at_s : float, optional
            End of a suspension, in seconds since 1970; required for ``suspend``, refused otherwise.
        change_id : str, optional
            Idempotency key; the same one again changes nothing. A new one by default.
        evidence : tuple of str
            Ids of the actions and alerts that led to this.
        announce : bool, optional
            Whether the points are told just before the write, so that they refuse while it is on its way to the disk.
            By default for a new kill, that is, without `change_id`: an old one that is repeated may have been lifted
            since, and its notice would stop the target once more, for one lease.
        on_written : callable, optional
            Called with the outcome as soon as points refuse, before the wait for the disk.

        Raises
        ------
        InvalidRequest
            If an argument is wrong; nothing was sent.
        StoreUnreachable
            If there was no answer in time, and there is no journal or it could not be written. The change may have
            happened: repeat with the error's ``change_id``.
        StoreRefused
            If the store answered with an error.
        """
        request = _request(level, target, reason, by, change_id, expires_at_s, evidence)
        return self._write(request, on_written, _is_new(announce, change_id))

    def restore(
        self,
        target: Target,
        *,
        reason: str,
        by: str,
        change_id: str | None = None,
        approvals: tuple[Approval, ...] = (),
        on_written: Callable[[Outcome], None] | None = None,
    ) -> Outcome:
        """Lift what is in force against `target`; like :meth:`revoke` otherwise.

        Parameters
        ----------
        approvals : tuple of Approval
            The votes for it. Without any, the switch's own signer votes.

        Raises
        ------
        ApprovalNeeded
            If the switch has a keyring, and that asks for more votes.
        """
        request = _restoration(target, reason, by, change_id, approvals)
        return self._write(request, on_written)

    def expire(self, *, by: str) -> list[Outcome]:
        """Remove the records of suspensions that have run out (they bind nobody); for a periodic sweep."""
        now_s = wall_s()
        gone = [record for record in self.snapshot().revocations.values() if record.level_at(now_s) is None]
        return [
            self._write(
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
        announce: bool | None = None,
        contain_timeout_s: float = 2.0,
        on_ack: Callable[[Ack], None] | None = None,
    ) -> tuple[Outcome, Containment]:
        """Revoke as :meth:`revoke` does, and wait until all live points confirm.

        The acknowledgements are subscribed to before the write, and ``elapsed_ms`` runs from just before it.
        """
        request = _request(level, target, reason, by, change_id, expires_at_s, evidence)
        return self._contained(request, contain_timeout_s, on_ack, _is_new(announce, change_id))

    def restore_and_wait(
        self,
        target: Target,
        *,
        reason: str,
        by: str,
        change_id: str | None = None,
        approvals: tuple[Approval, ...] = (),
        contain_timeout_s: float = 2.0,
        on_ack: Callable[[Ack], None] | None = None,
    ) -> tuple[Outcome, Containment]:
        """Restore as :meth:`restore` does, and wait until all live points allow again."""
        request = _restoration(target, reason, by, change_id, approvals)
        return self._contained(request, contain_timeout_s, on_ack)

    def mend(self, choose: Callable[[Snapshot], Iterable[Revocation]], *, floor: int = 0) -> int:
        """Put a whole state in place of the store's, vouched for by our signer; atomic, compared and set.

        For the daemon: to found the state of a new store, and to put back what somebody took away.

        Parameters
        ----------
        choose : callable
            Given what is there, returns the records that are to be there. Called again if somebody else wrote.
        floor : int
            The new epoch will be above this and above the store's own.

        Returns
        -------
        int
            The new epoch. The log has no entry for it: readers take a snapshot.
        """
        return self._writer.mend(choose, floor, uuid.uuid4().hex)

    def restorations(self, targets: Sequence[Target]) -> dict[Target, Change]:
        """Return the last restoration of each of `targets`, as far as the store knows it; unchecked."""
        return self._writer.read(lambda store: store.restorations(targets))

    def keep_restorations(self, changes: Iterable[Change]) -> None:
        """Put restorations back for points that have yet to hear of them; they prove themselves by their votes."""
        self._writer.read(lambda store: store.keep_restorations(changes))

    def publish_keyring(self, keyring: SignedKeyring) -> None:
        """Hand a keyring to all points; they take it if the one they hold signed it."""
        data = keyring.encode()
        self._writer.read(lambda store: store.publish_keyring(keyring.keyring.version, data))

    def use_keyring(self, keyring: Keyring) -> None:
        """Judge by `keyring` from now on."""
        self.keyring = self._writer.certifier.keyring = keyring

    def latest_keyring(self) -> Keyring | None:
        """Return the newest keyring to which the store leads from ours; None without one."""
        keyring = self.keyring
        if keyring is None:
            return None
        return keyring.newest(self._writer.read(lambda store: store.newer_keyrings(keyring.version)))

    def snapshot(self) -> Snapshot:
        """Return everything that is revoked, with the epoch; O(number of revocations)."""
        return self._writer.read(lambda store: store.snapshot(keyring=self.keyring))

    def changes(self, after_epoch: int, limit: int = 1000) -> list[Change]:
        """Return up to `limit` changes above `after_epoch`, oldest first, as far as the log reaches."""
        return self._writer.read(lambda store: store.changes(after_epoch, limit, self.keyring))

    def epoch(self) -> int:
        """Return the number of the last change, 0 before the first."""
        return self._writer.read(Store.epoch)

    def points(self) -> list[PointStatus]:
        """Return every enforcement point that is registered, live or not."""
        return self._writer.read(Store.points)

    def registry(self) -> Registry:
        """Return what :meth:`points` does, with the age of the registry: on a young one points may be missing."""
        return self._writer.read(Store.registry)

    def close(self) -> None:
        """Close idle connections. Later calls open new ones."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def wait_contained(
        self, epoch: int, timeout_s: float, on_ack: Callable[[Ack], None] | None = None
    ) -> Containment:
        """Return once all points that are live confirm `epoch`, or after `timeout_s` seconds.

        `on_ack` is called with each acknowledgement of that epoch or a later one that arrives meanwhile.
        """
        return self._await_points(self._subscribed(), epoch, lease_clock_s(), timeout_s, on_ack, None)

    def follow(
        self,
        after_epoch: int,
        on_change: Callable[[Change], None],
        on_ack: Callable[[Ack], None],
        stop: threading.Event,
        on_connected: Callable[[], None] | None = None,
        on_gap: Callable[[Gap], None] | None = None,
        on_late: Callable[[Change], None] | None = None,
    ) -> None:
        """Call `on_change` for every change after `after_epoch`, in order and once, until `stop` is set.

        Blocks; reconnects for ever and catches up from the log. `on_ack` is called for acknowledgements as
        they come (those sent while disconnected are lost; :meth:`points` has the state). `on_connected` is
        called whenever it has caught up after (re)connecting, `on_gap` when the log no longer holds what is
        missing: take a :meth:`snapshot` then. `on_late` is called for a push under an epoch that was passed already:
        read from the log before, or another change, because the store had lost its count. What a callback raises ends
        the call. Stops within about a second.
        """
        listeners = Listeners(on_change, on_ack, on_connected, on_gap, on_late)
        following = Following(
            self.url,
            self.keys,
            after_epoch,
            listeners,
            timeout_s=self.timeout_s,
            keyring=lambda: self.keyring,
        )
        following.run(stop)

    def _write(
        self, request: Request, on_written: Callable[[Outcome], None] | None, announce: bool = False
    ) -> Outcome:
        started_s = lease_clock_s()
        outcome = self._write_or_keep(request, started_s, announce)
        if on_written is not None:
            on_written(outcome)
        return outcome if outcome.pending else self._writer.await_disk(outcome, started_s)

    def _write_or_keep(self, request: Request, started_s: float, announce: bool) -> Outcome:
        try:
            return self._writer.write(request, started_s, announce=announce)
        except (StoreUnreachable, StoreRefused) as failure:
            # A full disk or a read-only replica passes; a right that is missing does not, and waiting would hide that.
            if self.journal is None or request.kind not in LEVELS or "permission" in str(failure):
                raise
            try:
                entry = self.journal.add(request)
            except JournalError as error:
                raise StoreUnreachable(f"{failure}; and {error}", change_id=request.change_id) from error
        return pending(entry.request, f"pending: kept in {self.journal.directory}", started_s)

    def _contained(
        self,
        request: Request,
        timeout_s: float,
        on_ack: Callable[[Ack], None] | None,
        announce: bool = False,
    ) -> tuple[Outcome, Containment]:
        acks = self._subscribed()
        started_s = lease_clock_s()
        try:
            outcome = self._write_or_keep(request, started_s, announce)
        except BaseException:
            if acks is not None:
                acks.close()
            raise
        if outcome.pending:
            if acks is not None:
                acks.close()
            return outcome, Containment(0, (), (), outcome.written_ms, problem=outcome.note)
        # A change that was made before, or none at all: what points said of that epoch may be about another target.
        refuses = (request.kind in LEVELS) if outcome.changed and not outcome.duplicate else None
        containment = self._await_points(acks, outcome.epoch, started_s, timeout_s, on_ack, refuses)
        # The disk is asked last: the write is on its way there meanwhile, and people wait for the points.
        return self._writer.await_disk(outcome, started_s), containment

    def _subscribed(self) -> AckWait | None:
        """Return a subscription to acknowledgements, or None: not getting one must not hold up a kill."""
        try:
            return AckWait(self.url, self.keys.acks, timeout_s=self.timeout_s)
        except (StoreUnreachable, StoreRefused):
            return None

    def _await_points(
        self,
        acks: AckWait | None,
        epoch: int,
        started_s: float,
        timeout_s: float,
        on_ack: Callable[[Ack], None] | None,
        refuses: bool | None,
    ) -> Containment:
        """Wait for the points; if the store is lost meanwhile, say that instead of losing the outcome."""
        try:
            # Late is good enough: the registry, read after this, has what was acknowledged before.
            with acks or AckWait(self.url, self.keys.acks, timeout_s=self.timeout_s) as subscribed:
                return subscribed.wait(
                    epoch,
                    self.registry,
                    started_s=started_s,
                    timeout_s=timeout_s,
                    on_ack=on_ack,
                    refuses=refuses,
                )
        except (StoreUnreachable, StoreRefused) as error:
            return Containment(epoch, (), (), (lease_clock_s() - started_s) * 1e3, problem=str(error))


def _is_new(announce: bool | None, change_id: str | None) -> bool:
    return change_id is None if announce is None else announce


def _restoration(
    target: Target, reason: str, by: str, change_id: str | None, approvals: tuple[Approval, ...]
) -> Request:
    return Request("restore", target, reason, by, change_id or uuid.uuid4().hex, approvals=approvals)


def _request(
    level: Level,
    target: Target,
    reason: str,
    by: str,
    change_id: str | None,
    expires_at_s: float | None,
    evidence: tuple[str, ...],
) -> Request:
    request = Request(level, target, reason, by, change_id or uuid.uuid4().hex, expires_at_s, evidence)
    if expires_at_s is not None and expires_at_s <= wall_s():
        raise InvalidRequest("expires_at_s", "lies in the past; this suspension would bind nobody")
    return request
