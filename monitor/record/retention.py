"""What is deleted from the record and when, so that the rest still verifies and says what is gone.

Whole parts go, the oldest first, by age and size: the roots of their subtrees stay. Contents (the task, arguments, what
else the sender told) go earlier, or at once for one person, agent or session: the leaves and their hashes stay. Before
anything is deleted the record says so, and that is signed.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from monitor.record.checkpointing import Checkpointing
from monitor.record.noted import note
from monitor.record.sealed import ENTRIES, SealedPart
from monitor.record.store import Store

DAY_S: Final = 86_400.0
INTERVAL_S: Final = 3600.0


class Limits(NamedTuple):
    """For how long entries and their contents are kept, and how many bytes in all."""

    days: float
    content_days: float
    bytes: int


class Retention:
    """Deletes from one record. For one thread."""

    def __init__(self, store: Store, checkpoints: Checkpointing, limits: Limits) -> None:
        self._store = store
        self._checkpoints = checkpoints
        self._limits = limits
        self._due_s = 0.0

    def keep_if_due(self) -> None:
        """Delete what is too old or too much, once an hour."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + INTERVAL_S
            self.keep(time.time())

    def keep(self, now_s: float) -> None:
        """Delete what is too old or too much at this time."""
        self._delete_contents(now_s - self._limits.content_days * DAY_S)
        self._prune(now_s - self._limits.days * DAY_S)

    def forget(self, link: str, by: str, reason: str) -> int:
        """Delete the contents of every entry with the link, and return how many they were."""
        note(self._store, "contents_deleted", before=self._store.size, link=link, by=by, reason=reason)
        self._checkpoints.sign(self._store)
        return self._store.forget(link)

    def _delete_contents(self, horizon_s: float) -> None:
        old = [part for part in _older(self._store.parts, horizon_s) if part.with_contents]
        if old:
            note(self._store, "contents_deleted", before=old[-1].first + ENTRIES, reason="retention")
            self._checkpoints.sign(self._store)
            for part in old:
                self._store.delete_contents(part)

    def _prune(self, horizon_s: float) -> None:
        parts = self._store.parts
        gone = len(_older(parts, horizon_s))
        excess = sum(part.size for part in parts[gone:]) - self._limits.bytes
        while excess > 0 and gone < len(parts):
            excess -= parts[gone].size
            gone += 1
        if gone:
            before = parts[gone - 1].first + ENTRIES
            note(self._store, "pruned", before=before, reason="retention")
            self._checkpoints.sign(self._store)
            self._store.prune(gone)


def _older(parts: list[SealedPart], horizon_s: float) -> list[SealedPart]:
    """Return the oldest parts all of whose entries happened before this time."""
    count = 0
    while count < len(parts) and float(parts[count].table["last_s"].max()) < horizon_s:
        count += 1
    return parts[:count]
