"""Reading a record beside the process that writes it: no lock, no write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from monitor.errors import RecordDamaged
from monitor.log.segments import read_log
from monitor.record.batch import Batch
from monitor.record.index import BLOCK
from monitor.record.places import Places, open_parts
from monitor.record.sealed import BLOCKS, ENTRIES, SealedPart
from monitor.record.tree import RecordTree

_ATTEMPTS: Final = 5


class Found(NamedTuple):
    """One entry: its number, its leaf, and its content, empty if it has none or it was deleted."""

    number: int
    leaf: bytes
    content: bytes


class Tail(NamedTuple):
    """A batch that is not sealed yet, and the number of its first entry."""

    first: int
    batch: Batch


class Reader:
    """A record as it was at the last `refresh`. For one thread.

    Attributes
    ----------
    pruned : list of bytes
        Roots of the parts that retention has deleted.
    parts, tail
        The sealed parts and the batches after them.

    Raises
    ------
    LogError
        If it is damaged where it has to be read; `RecordDamaged` where it is known at which entry.
    """

    def __init__(self, directory: Path) -> None:
        self.places = Places(directory)
        self._known: dict[Path, SealedPart] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take in what was written since."""
        for _ in range(_ATTEMPTS):
            self.pruned = self.places.pruned_roots()
            self.parts = open_parts(self.places, len(self.pruned), self._known)
            tail = self._read_tail()
            if tail is not None:
                self.tail = tail
                self._known = {part.path: part for part in self.parts}
                return
        raise RecordDamaged(f"the entries after {self._sealed_size} are missing", self._sealed_size)

    @property
    def first(self) -> int:
        """The number of the oldest entry that is still there."""
        return len(self.pruned) * ENTRIES

    @property
    def size(self) -> int:
        """How many entries there are, those that retention has deleted included."""
        last = self.tail[-1] if self.tail else None
        return last.first + len(last.batch) if last else self._sealed_size

    def tree(self) -> RecordTree:
        """Return the tree over all entries."""
        none = np.empty((0, 32), np.uint8)
        return RecordTree(
            self.pruned, self.parts, np.concatenate([none, *(piece.batch.hashes for piece in self.tail)])
        )

    def entry(self, number: int) -> Found:
        """Return one entry; raises `IndexError` if it is not there (any more)."""
        if not self.first <= number < self.size:
            raise IndexError(f"entry {number} is not in the record: it has {self.first} to {self.size - 1}")
        return next(iter(self.entries(number)))

    def entries(self, start: int = 0) -> Iterator[Found]:
        """Yield every entry from number `start` on, in order."""
        for part in self.parts:
            if part.first + ENTRIES > start:
                for block in range(max(0, start - part.first) // BLOCK, BLOCKS):
                    yield from (found for found in of_block(part, block) if found.number >= start)
        for first, batch in self.tail:
            for i in range(max(0, start - first), len(batch)):
                yield Found(first + i, batch.leaf(i), batch.content(i))

    # -- inside -------------------------------------------------------------------------------------------------

    @property
    def _sealed_size(self) -> int:
        return (len(self.pruned) + len(self.parts)) * ENTRIES

    def _read_tail(self) -> list[Tail] | None:
        """Return what follows the sealed parts, None if more was sealed meanwhile."""
        tail: list[Tail] = []
        expected = self._sealed_size
        for frame in read_log(self.places.tail, expected + 1):
            first = frame.first_seq - 1
            if first > expected and not tail:
                return None
            tail.append(Tail(first, Batch.decode(frame.payload)))
            expected = first + frame.entries
        return tail


def of_block(part: SealedPart, block: int) -> Iterator[Found]:
    """Yield the entries of one block of a sealed part."""
    leaves, contents = part.leaves(block), part.contents(block)
    first = part.first + block * BLOCK
    for i in range(BLOCK):
        yield Found(first + i, leaves.of(i), contents.of(i) if contents else b"")
