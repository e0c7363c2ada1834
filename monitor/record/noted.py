"""What the record says of itself: which parts were sealed, what was deleted, and by whose order.

It says so in entries of its own, of the type ``record``, which checkpoints cover like all others: a part that is made
anew, an index that hides something, a deletion that nobody ordered contradict them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from monitor.record.entry import decode_leaf
from monitor.record.links import links_of
from monitor.record.other_forms import record_entry
from monitor.record.query import Query, matching
from monitor.record.reader import Reader
from monitor.record.store import Store


def note(
    store: Store, kind: str, cursors: Mapping[str, int] = MappingProxyType({}), **fields: object
) -> None:
    """Have the record say something of itself, on disk when this returns; raises `LogError` if it cannot be written."""
    store.append([record_entry(store.size, kind, time.time(), fields)], cursors)


def note_sealed(store: Store) -> None:
    """Have the record say which parts were sealed since it last did, and what they are."""
    pruned = len(store.pruned)
    for number in range(max(store.cursors.get("sealed", 0), pruned), pruned + len(store.parts)):
        part = store.parts[number - pruned]
        digests = {"root": part.root.hex(), "index_sha256": part.index_digest.hex()}
        note(store, "sealed", {"sealed": number + 1}, first=part.first, **digests)


class Deletion(NamedTuple):
    """The contents of entries below `before` were deleted: of those with the link, of all if it is empty."""

    before: int
    link: str

    def covers(self, entry: int, leaf: bytes) -> bool:
        """Return whether the entry is one of them."""
        return entry < self.before and (not self.link or self.link in links_of(leaf))


class Noted(NamedTuple):
    """`sealed`: first entry of a part → its root and its index's digest. `pruned_to`: entries below are deleted."""

    sealed: dict[int, tuple[bytes, bytes]]
    deletions: list[Deletion]
    pruned_to: int


def read_noted(directory: Path) -> Noted:
    """Return what the record in `directory` says of itself; raises `LogError` if it is damaged."""
    sealed: dict[int, tuple[bytes, bytes]] = {}
    deletions: list[Deletion] = []
    pruned_to = 0
    for found in matching(Reader(directory), Query(("type:record",), newest_first=False)):
        said = decode_leaf(found.leaf)["record"]
        match said["kind"]:
            case "sealed":
                digests = bytes.fromhex(said["root"]), bytes.fromhex(said["index_sha256"])
                sealed.setdefault(said["first"], digests)
            case "contents_deleted":
                deletions.append(Deletion(said["before"], said.get("link", "")))
            case "pruned":
                pruned_to = max(pruned_to, said["before"])
    return Noted(sealed, deletions, pruned_to)
