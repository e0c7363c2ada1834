"""What a point asks before it lets anything weaken: who approved it, and whether the log has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from killswitch.revocations import Change, Revocation
from killswitch.storage.store import Store
from killswitch.trust.approvals import is_approved
from killswitch.trust.keyring import Keyring

PAGE: Final = 1_000
MAX_PAGES: Final = (
    100  # the whole log; a point that was away for longer keeps what it held, until it is restored again
)


class Proof:
    """Judges restorations by a keyring, which it keeps up to date. Uses the store's connection: one thread only.

    Without a keyring it takes the store's word for them.
    """

    def __init__(self, store: Store, keyring: Keyring | None) -> None:
        self.store = store
        self.keyring = keyring

    def refresh(self) -> None:
        """Follow the keyring's successors as far as each is signed by the one before."""
        if self.keyring is not None and (newer := self.store.newer_keyrings(self.keyring.version)):
            self.keyring = self.keyring.newest(newer)

    def allows(self, change: Change, held: Revocation | None, now_s: float) -> bool:
        """Return whether `change` may take the place of `held`: enough people approved, or it has run out anyway."""
        if held is None or held.level_at(now_s) is None or self.keyring is None:
            return True
        if change.kind != "restore":
            return False
        self.refresh()  # a key may have been struck off a moment ago
        return self._lifts(change, held.change_id)

    def lifted(self, doubtful: Sequence[Revocation], after_epoch: int) -> frozenset[str]:
        """Return the change ids of `doubtful` records that were lifted.

        The last restoration of each target says so, or the log after `after_epoch`: a record may have been made
        stricter before it was lifted, and then its successor's restoration counts.
        """
        if not doubtful:
            return frozenset()
        self.refresh()
        restorations = self.store.restorations([record.target for record in doubtful])
        found = {
            record.change_id
            for record in doubtful
            if record.target in restorations and self._lifts(restorations[record.target], record.change_id)
        }
        left = [record for record in doubtful if record.change_id not in found]
        return frozenset(found | (self._lifted_in_log(left, after_epoch) if left else set()))

    def _lifted_in_log(self, doubtful: Sequence[Revocation], after_epoch: int) -> set[str]:
        first = {record.target: record.change_id for record in doubtful}
        names = {target: {change_id} for target, change_id in first.items()}
        found: set[str] = set()
        for _ in range(MAX_PAGES):
            page = self.store.changes(after_epoch, PAGE)
            for change in page:
                after_epoch = change.epoch
                ids = names.get(change.target, set())
                if change.new is not None:
                    ids.add(change.new.change_id)
                elif any(self._lifts(change, change_id) for change_id in ids):
                    found.add(first[change.target])
            if len(page) < PAGE:
                break
        return found

    def _lifts(self, change: Change, change_id: str) -> bool:
        if self.keyring is not None:
            return is_approved(self.keyring, change.target, change_id, change.approvals)
        return change.new is None and change.previous is not None and change.previous.change_id == change_id
