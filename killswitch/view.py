"""What one enforcement point knows, arranged for one fast look-up per kind of target.

Pure: no clock, no connection. One thread writes it (the follower); any number of threads read it without a
lock, because each reader's step is one dictionary look-up and each writer's step one dictionary store.
"""

from __future__ import annotations

from typing import Final, Literal

from killswitch.revocations import LEVELS, Change, Revocation
from killswitch.snapshots import Snapshot
from killswitch.targets import KINDS, Kind, Target

Applied = Literal["applied", "known", "gap"]

# Present in every table, so that an empty name always leaves the fast path and is judged (and refused) with
# care.
_EMPTY_NAME: Final = ""


class View:
    """The revocations in force at one point, as of ``epoch``.

    The tables map a name to its revocation, one table for each kind of target; ``barred`` says that something
    concerns everybody (the fleet, or a record that cannot be read), so that the fast path must not allow
    anything. ``kept`` are targets that the store no longer names although nobody restored them: it lost data.
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
        "regressed",
        "session",
        "tables",
        "tenant",
        "tool",
        "unreadable",
    )

    def __init__(self) -> None:
        self.epoch = 0
        self.anchor_id: str | None = None
        self.kept: set[Target] = set()
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

    def apply(self, change: Change) -> Applied:
        """Take in a change as it was pushed; O(1).

        Returns
        -------
        str
            ``applied``: it was the next one. ``known``: it was in already. ``gap``: the caller must take a
            snapshot, because changes are missing or the history is not the one we know. A kill from ahead is
            enforced even then.
        """
        held = self.get(change.target)
        if change.epoch <= self.epoch:
            return "known" if _is_consistent(held, change) else "gap"
        follows = change.epoch == self.epoch + 1
        if follows or (change.new is not None and _is_stricter(change.new, held)):
            self._put(change.target, change.new)
        if not follows:
            return "gap"
        self.epoch, self.anchor_id = change.epoch, change.change_id
        return "applied"

    def rebuilt(self, snapshot: Snapshot) -> View:
        """Return the view after `snapshot`.

        If the store went back behind us, or tells another history than the one we saw, it has lost data: then
        nothing is dropped that we hold and that it does not name (``kept``), until somebody restores it by
        name.
        """
        view = View()
        forked = self.is_fork(snapshot)
        for revocation in snapshot.revocations.values():
            view._put(revocation.target, revocation)
        mine = self.revocations()
        candidates = mine if forked else [record for record in mine if record.target in self.kept]
        for record in candidates:
            theirs = view.get(record.target)
            if theirs is None:
                view.kept.add(record.target)
            if theirs is None or (forked and _is_stricter(record, theirs)):
                view._put(record.target, record, keep=True)
        view.epoch, view.anchor_id = snapshot.epoch, snapshot.tip_id
        view.regressed = forked or bool(view.kept)
        view.unreadable = snapshot.unreadable
        view.barred = view.fleet is not None or bool(view.unreadable)
        return view

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
            self.barred = record is not None or bool(self.unreadable)
        elif record is None:
            self.tables[target.kind].pop(target.value, None)
        else:
            self.tables[target.kind][target.value] = record


def _is_consistent(held: Revocation | None, change: Change) -> bool:
    """Whether holding `held` is what one expects some time after `change`."""
    if change.new is None:
        return held is None or held.epoch > change.epoch
    return held is not None and held.epoch >= change.epoch


def _is_stricter(record: Revocation, held: Revocation | None) -> bool:
    if held is None:
        return True
    if record.level != held.level:
        return LEVELS.index(record.level) > LEVELS.index(held.level)
    return (record.expires_at_s or 0.0, record.held_after) > (held.expires_at_s or 0.0, held.held_after)
