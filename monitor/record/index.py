"""By which link which entries are found: for each key, the blocks of 64 entries that have it.

Compressed sparse rows: `keys` (sorted, each once), `starts` (one more), `blocks`. About 20 bytes an entry. Keys are
32 bits and blocks hold 64 entries, so what is found is a superset: whoever asks looks at the entries themselves.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

BLOCK: Final = 64
"""Entries a block."""


class Index(NamedTuple):
    """Arrays of uint32 (n), uint32 (n + 1) and uint16 (m)."""

    keys: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.uint32]
    blocks: npt.NDArray[np.uint16]

    def find(self, key: int) -> npt.NDArray[np.uint16]:
        """Return the blocks that may hold entries with the key, in ascending order."""
        at = int(np.searchsorted(self.keys, np.uint32(key)))
        if at == len(self.keys) or self.keys[at] != key:
            return np.empty(0, np.uint16)
        return self.blocks[int(self.starts[at]) : int(self.starts[at + 1])]


def build_index(keys: npt.NDArray[np.uint32], entries: npt.NDArray[np.int64]) -> Index:
    """Return the index of pairs of a key and the position of an entry that has it, 0 to 65,535."""
    pairs = np.unique((keys.astype(np.uint64) << np.uint64(16)) | (entries // BLOCK).astype(np.uint64))
    found = (pairs >> np.uint64(16)).astype(np.uint32)
    first = (
        np.flatnonzero(np.concatenate(([True], found[1:] != found[:-1]))) if len(found) else np.empty(0, int)
    )
    starts = np.append(first, len(found)).astype(np.uint32)
    return Index(found[first], starts, (pairs & np.uint64(0xFFFF)).astype(np.uint16))
