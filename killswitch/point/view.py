"""What one enforcement point knows, arranged for one fast look-up per kind of target.

Pure: no clock, no connection. One thread writes it (the follower); any number of threads read it without a
lock, because each reader's step is one dictionary look-up and each writer's step one dictionary store.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Final, Literal, NamedTuple

from killswitch.revocations import LEVELS, Change, Revocation, is_weaker
from killswitch.storage.snapshots import Snapshot
from killswitch.targets import KINDS, Kind, Target

Applied = Literal["applied", "known", "gap"]

# Present in every table, so that an empty name always leaves the fast path and is judged (and refused) with
# care.
_EMPTY_NAME: Final = ""


class _Notice(NamedTuple):
    """Until when a notice binds, the epoch that settles it, and what stood before."""

    until_s: float
    epoch: float
    before: Revocation | None


class View:
    """The revocations in force at one point, as of ``epoch``.

    The tables map a name to its revocation, one table for each kind of target; ``barred`` says that something
    concerns everybody (the fleet, or a record that cannot be read), so that the fast path must not allow
    anything. ``kept`` are targets that the store no longer holds as strictly although nobody restored them: it lost
    data. ``noticed`` are kills announced and not yet written, with what stood before; ``proven`` says that the state
    is one that somebody we trust vouches for, or that nobody has to.
    """

    __slots__ = (
        "agent",
        "agent_version",
        "anchor_id",
        "barred",
        "credential",
        "delegation",
        "epoch",
        "fleet",
        "human",
        "kept",
        "noticed",
        "proven",
        "regressed",
        "session",
        "tables",
        "tenant",
        "tool",
        "unreadable",
    )

    def __init__(self, *, proven: bool = True) -> None:
        self.epoch = 0
        self.anchor_id: str | None = None
        self.kept: set[Target] = set()
        self.noticed: dict[Target, _Notice] = {}
        self.proven = proven
        self.regressed = False
        self.unreadable: tuple[str, ...] = ()
        self.fleet: Revocation | None = None
        self.barred = False
        self.agent: dict[str, Revocation | None] = {_EMPTY_NAME: None}
        self.agent_version: dict[str, Revocation | None] = {_EMPTY_NAME: None}
        self.session: dict[str, Revocation | None] = {_EMPTY_NAME: None}
        self.human: dict[str, Revocation | None] = {_EMPTY_NAME: None}
        self.delegation: dict[str, Revocation | None] = {_EMPTY_NAME: None}
        self.credential: dict[str, Revocation | None] = {_EMPTY_NAME: None}
        self.tool: dict[str, Revocation | None] = {_EMPTY_NAME: None}
        self.tenant: dict[str, Revocation | None] = {_EMPTY_NAME: None}
        self.tables: dict[Kind, dict[str, Revocation | None]] = {
            kind: getattr(self, kind) for kind in KINDS if kind != "fleet"
        }

    def get(self, target: Target) -> Revocation | None:
        """Return the record held against `target`, in force or run out."""
        return self.fleet if target.kind == "fleet" else self.tables[target.kind].get(target.value)

    def revocations(self) -> list[Revocation]:
        """Return all records held; O(n)."""
        found = [
            record for table in self.tables.values() for record in list(table.values()) if record is not None
        ]
        return found if self.fleet is None else [*found, self.fleet]

    def __len__(self) -> int:
        return sum(map(len, self.tables.values())) - len(self.tables) + (self.fleet is not None)

    def notice(self, record: Revocation, until_s: float, epoch: float = math.inf) -> bool:
        """Refuse by `record`, which is about to be written, until the change arrives; say whether that is news.

        What does not arrive is dropped by :meth:`rebuilt`: after `until_s`, on the clock that is given there, or with a
        snapshot of `epoch` or later.
        """
        target = record.target
        before = held = self.get(target)
        if held is not None:
            if not _is_stricter(record, held):
                return False
            before = self.settled(target)
        self.noticed[target] = _Notice(until_s, epoch, before)
        self._put(target, record, keep=True)
        return True

    def apply(
        self, change: Change, *, now_s: float = 0.0, proven: bool = True, notice_until_s: float = math.inf
    ) -> Applied:
        """Take in a change as it was pushed; O(1).

        Parameters
        ----------
        now_s : float
            Seconds since 1970: what has run out may be weakened by anybody.
        proven : bool
            False for a change that may not weaken anything, because nobody we trust stands behind it.
        notice_until_s : float
            How long a kill from ahead is enforced if the snapshot does not come; see :meth:`notice`.

        Returns
        -------
        str
            ``applied``: it was the next one. ``known``: it was in already. ``gap``: the caller must take a
            snapshot, because changes are missing or the history is not the one we know. A kill from ahead is
            enforced even then.
        """
        target = change.target
        held = self.settled(target)
        if change.epoch <= self.epoch:
            return "known" if _is_consistent(held, change) else "gap"
        if change.epoch > self.epoch + 1:
            if change.new is not None:
                self.notice(change.new, notice_until_s, change.epoch)
            return "gap"
        noticed = self.noticed.pop(target, None)
        if proven or held is None or not is_weaker(change.new, held, now_s):
            self._put(target, change.new)
        else:
            self._keep(target, held, noticed is not None)
        self.epoch, self.anchor_id = change.epoch, change.change_id
        return "applied"

    def rebuilt(
        self,
        snapshot: Snapshot,
        *,
        now_s: float = 0.0,
        lease_clock_s: float = 0.0,
        lifted: Collection[str] = (),
        needs_proof: bool = False,
        is_unbroken: bool = False,
    ) -> View:
        """Return the view after `snapshot`.

        If the store went back behind us, or tells another history than the one we saw, it has lost data: then
        nothing is dropped that we hold and that it does not name (``kept``), until somebody restores it by name.

        Parameters
        ----------
        now_s, lease_clock_s : float
            Seconds since 1970, for what has run out; and on the clock of notices.
        lifted : collection of str
            Change ids of records that were lifted, as the log or the votes show.
        needs_proof : bool
            Everything else that the snapshot lacks is kept, whatever history it tells, and somebody must vouch for the
            snapshot. By default an unforked store is taken at its word.
        is_unbroken : bool
            Whether we have heard everything since the last snapshot. Then we need nobody to vouch for what we know.
            After a break we may have missed a kill that somebody took out of the store meanwhile.
        """
        view = View()
        forked = self.is_fork(snapshot)
        for revocation in snapshot.revocations.values():
            view._put(revocation.target, revocation)
        for record in self.unlifted(snapshot, now_s):
            is_doubtful = needs_proof or forked or record.target in self.kept
            if is_doubtful and record.change_id not in lifted:
                view._keep(record.target, record, True)
        view._take_notices(self, lease_clock_s, snapshot.epoch)
        view.epoch, view.anchor_id = snapshot.epoch, snapshot.tip_id
        view.regressed = forked or bool(view.kept)
        view.unreadable = snapshot.unreadable
        has_all = is_unbroken or (snapshot.epoch == self.epoch and snapshot.tip_id == self.anchor_id)
        view.proven = not needs_proof or snapshot.certified or (self.proven and has_all)
        view.barred = view.fleet is not None or bool(view.unreadable) or not view.proven
        return view

    def unlifted(self, snapshot: Snapshot, now_s: float) -> list[Revocation]:
        """Return what we hold and `snapshot` holds less strictly or not at all; O(n)."""
        mine = [self.settled(record.target) for record in self.revocations()]
        return [
            record
            for record in mine
            if record is not None and is_weaker(snapshot.revocations.get(record.target), record, now_s)
        ]

    def next_notice_s(self) -> float:
        """Return when the first notice ends, on the clock it was given on; inf without any."""
        return min((notice.until_s for notice in self.noticed.values()), default=math.inf)

    def settled(self, target: Target) -> Revocation | None:
        """Return what is held against `target`, leaving out a notice, which may come to nothing."""
        return self.noticed[target].before if target in self.noticed else self.get(target)

    def _take_notices(self, older: View, lease_clock_s: float, epoch: int) -> None:
        for target, notice in older.noticed.items():
            record = older.get(target)
            if record is not None and notice.until_s > lease_clock_s and notice.epoch > epoch:
                self.notice(record, notice.until_s, notice.epoch)

    def _keep(self, target: Target, record: Revocation, is_missing: bool) -> None:
        self.kept.add(target)
        self.regressed = True
        if is_missing:
            self._put(target, record, keep=True)

    def is_fork(self, snapshot: Snapshot) -> bool:
        """Return whether `snapshot` comes from a store that lost changes which we have seen."""
        if snapshot.epoch < self.epoch:
            return True
        if self.epoch == 0 or self.anchor_id is None or snapshot.known_id == self.anchor_id:
            return False
        # Our change is not where it was. Innocent only if the log was trimmed beyond it.
        trimmed = snapshot.oldest_epoch is None or snapshot.oldest_epoch > self.epoch
        return not (snapshot.known_id is None and trimmed)

    def _put(self, target: Target, record: Revocation | None, *, keep: bool = False) -> None:
        if not keep:
            self.kept.discard(target)
        if target.kind == "fleet":
            self.fleet = record
            self.barred = record is not None or bool(self.unreadable) or not self.proven
        elif record is None:
            self.tables[target.kind].pop(target.value, None)
        else:
            self.tables[target.kind][target.value] = record


def _is_consistent(held: Revocation | None, change: Change) -> bool:
    """Whether holding `held` is what one expects some time after `change`."""
    if change.new is None:
        return held is None or held.epoch > change.epoch
    return held is not None and held.epoch >= change.epoch


def _is_stricter(record: Revocation, held: Revocation) -> bool:
    if record.level != held.level:
        return LEVELS.index(record.level) > LEVELS.index(held.level)
    return (record.expires_at_s or 0.0, record.held_after) > (held.expires_at_s or 0.0, held.held_after)
