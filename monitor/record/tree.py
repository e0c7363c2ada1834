"""The Merkle tree over a record: what was deleted, what is sealed, and what still waits, as one source of hashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from monitor.errors import ProofError
from monitor.proof.hashing import parents
from monitor.proof.merkle import node_hash, root_at
from monitor.record.sealed import ENTRIES, LEVEL, SealedPart

Hashes = npt.NDArray[np.uint8]
Node = Callable[[int, int], bytes]


class RecordTree:
    """RFC 6962 tree. Subtrees of 65,536 entries are known by their roots; below, parts are asked.

    Parameters
    ----------
    pruned
        Roots of the parts that retention has deleted, from the first entry on.
    parts
        The sealed parts that follow them.
    tail
        Leaf hashes of the entries after those, shape (n, 32).

    Attributes
    ----------
    first, size : int
        The oldest entry that is still there, and how many there ever were.
    """

    def __init__(self, pruned: Sequence[bytes], parts: Sequence[SealedPart], tail: Hashes) -> None:
        self._pruned = pruned
        self._parts = parts
        self._levels = [tail]
        self._sealed = len(pruned) + len(parts)
        self.first = len(pruned) * ENTRIES
        self.size = self._sealed * ENTRIES + len(tail)
        self._above = lru_cache(maxsize=4096)(self._join)

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` entries, of all by default; raises `ProofError` if there are fewer."""
        size = self.size if size is None else size
        if not 0 <= size <= self.size:
            raise ProofError(f"there are {self.size} entries, not {size}")
        return root_at(size, self.node)

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of the subtree of ``2**level`` entries that begins at ``index * 2**level``.

        Raises
        ------
        ProofError
            If retention has deleted what it would be made of.
        """
        first = index << level
        if first >= self._sealed * ENTRIES:
            return self._tail_node(level, (first - self._sealed * ENTRIES) >> level)
        if level > LEVEL:
            return self._above(level, index)
        part, within = divmod(first, ENTRIES)
        if part >= len(self._pruned):
            return self._parts[part - len(self._pruned)].node(level, within >> level)
        if level < LEVEL:
            raise ProofError(f"entry {first} was deleted by retention; only the root of its part is left")
        return self._pruned[part]

    def _join(self, level: int, index: int) -> bytes:
        return node_hash(self.node(level - 1, 2 * index), self.node(level - 1, 2 * index + 1))

    def _tail_node(self, level: int, index: int) -> bytes:
        while len(self._levels) <= level:
            below = self._levels[-1]
            self._levels.append(parents(np.ascontiguousarray(below[: len(below) // 2 * 2])))
        return bytes(self._levels[level][index])
