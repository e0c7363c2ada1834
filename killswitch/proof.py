"""What a point asks before it lets anything weaken: who approved it, and whether the log has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from killswitch.approvals import is_approved
from killswitch.keyring import Keyring
from killswitch.revocations import Change, Revocation
from killswitch.store import Store

PAGE: Final = 1_000
MAX_PAGES: Final = (
    100  # the whole log; a point that was away for longer keeps what it held, until it is restored again
)


class Proof:
    """Judges restorations by a keyring, which it keeps up to date. Uses the store's connection: one thread only."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self.store = store
        self.keyring = keyring

    def refresh(self) -> None:
        """Follow the keyring's successors as far as each is signed by the one before."""
        newer = self.store.newer_keyrings(self.keyring.version)
        if newer:
            self.keyring = self.keyring.newest(newer)

    def allows(self, change: Change, held: Revocation | None, now_s: float) -> bool:
        """Return whether `change` may take the place of `held`: enough people approved, or it has run out anyway."""
        if held is None or held.level_at(now_s) is None:
            return True
        if change.kind != "restore":
            return False
        self.refresh()  # a key may have been struck off a moment ago
        return is_approved(self.keyring, held.target, held.change_id, change.approvals)

    def lifted(self, doubtful: Sequence[Revocation], after_epoch: int) -> frozenset[str]:
        """Return the change ids of `doubtful` records that the log, after `after_epoch`, shows to be lifted.

        A record may have been made stricter before it was lifted: then its successor's restoration counts.
        """
        if not doubtful:
            return frozenset()
        self.refresh()
        names = {record.target: {record.change_id} for record in doubtful}
        first = {record.target: record.change_id for record in doubtful}
        found: set[str] = set()
        for _ in range(MAX_PAGES):
            page = self.store.changes(after_epoch, PAGE)
            for change in page:
                after_epoch = change.epoch
                ids = names.get(change.target)
                if ids is None:
                    continue
                if change.new is not None:
                    ids.add(change.new.change_id)
                elif any(is_approved(self.keyring, change.target, lifts, change.approvals) for lifts in ids):
                    found.add(first[change.target])
            if len(page) < PAGE:
                break
        return frozenset(found)
