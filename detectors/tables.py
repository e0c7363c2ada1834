"""Bounded tables of counts and of values, keyed by 32-bit fingerprints.

Set-associative like a processor's cache: a fingerprint belongs to one set of eight entries, so that a look-up
reads one or two cache lines and the memory never grows. All arithmetic is on integers below 2⁶³, which means
the same in Python, numpy and compiled code.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.compiler import kernel, routine
from detectors.layout import NOVEL_KINDS, WAYS

Table = Any  # a numpy array; compiled code specialises on its type

_MASK = 0xFFFFFFFF
# Odd multipliers: the golden ratio and the square roots of 2 and 3, cut so that no sum of products reaches 2⁶³.
_LEFT = 0x278DDE6D
_RIGHT = 0x2D413CCD
_MIX = 0x6ED9EBA1


@kernel
def combine(left: int, right: int) -> int:
    """Return the fingerprint of an ordered pair of fingerprints; never 0 (0 marks an empty entry)."""
    x = left * _LEFT + right * _RIGHT
    x = ((x ^ (x >> 29)) & _MASK) * _MIX
    x = (x ^ (x >> 31)) & _MASK
    return x if x != 0 else 1


@kernel
def find(keys: Table, home: int, key: int) -> int:
    """Return the way in which a key lies in its set, or -1."""
    key32 = np.uint32(key)
    found = -1
    for way in range(WAYS):  # no early exit: the eight comparisons become one instruction
        if keys[home, way] == key32:
            found = way
    return found


@kernel
def count(keys: Table, counts: Table, key: int) -> int:
    """Return a key's count, 0 if it is not in the table."""
    home = (key * keys.shape[0]) >> 32
    way = find(keys, home, key)
    return int(counts[home, way]) if way >= 0 else 0


@routine
def bump(keys: Table, counts: Table, key: int, weight: int, limit: int) -> None:
    """Add to a key's count.

    In a full set the smallest count has to make room, but not at once: it is halved until it is worth no more
    than the newcomer, so that one odd action cannot evict what was seen a hundred times. When a count passes
    `limit` the whole table is halved: proportions stay, and the old fades.
    """
    home = (key * keys.shape[0]) >> 32
    way = find(keys, home, key)
    if way < 0:
        way = 0
        for other in range(1, WAYS):
            if counts[home, other] < counts[home, way]:
                way = other
        if counts[home, way] > weight:
            counts[home, way] = counts[home, way] >> 1
            return
        keys[home, way] = key
        counts[home, way] = 0
    counts[home, way] += weight
    if counts[home, way] > limit:
        shrink(counts, 1)


@kernel
def kinds(keys: Table, counts: Table, key: int, outcome: int) -> tuple[int, int]:
    """Return the count of one outcome of a context, and the sum over its outcomes."""
    home = (key * keys.shape[0]) >> 32
    way = find(keys, home, key)
    if way < 0:
        return 0, 0
    return int(counts[home, way, outcome]), int(total(counts[home, way]))


@routine
def bump_slot(keys: Table, counts: Table, key: int, outcome: int, weight: int, limit: int) -> None:
    """Add to one outcome of a context; makes room as `bump` does."""
    home = (key * keys.shape[0]) >> 32
    way = find(keys, home, key)
    if way < 0:
        way = 0
        smallest = total(counts[home, 0])
        for other in range(1, WAYS):
            size = total(counts[home, other])
            if size < smallest:
                way = other
                smallest = size
        if smallest > weight:
            shrink(counts[home, way], 1)
            return
        keys[home, way] = key
        for kind in range(NOVEL_KINDS):
            counts[home, way, kind] = 0
    counts[home, way, outcome] += weight
    if counts[home, way, outcome] > limit:
        shrink(counts[home, way], 1)  # a context is its own total: no other entry has to follow


@kernel
def total(counts: Table) -> int:
    """Return the sum of a context's outcomes; their number is a constant, so that no loop is left of it."""
    answer = 0
    for i in range(NOVEL_KINDS):
        answer += int(counts[i])
    return answer


@routine
def shrink(counts: Table, bits: int) -> None:
    """Divide every count by a power of two."""
    flat = counts.flat
    for i in range(counts.size):
        flat[i] = flat[i] >> bits


@kernel
def knows(values: Table, key: int) -> bool:
    """Return whether a value is in a set of values."""
    return find(values, (key * values.shape[0]) >> 32, key) >= 0


@routine
def keep(values: Table, key: int) -> None:
    """Remember a value as the most recent of its set."""
    home = (key * values.shape[0]) >> 32
    way = find(values, home, key)
    last = way if way >= 0 else WAYS - 1
    for i in range(WAYS - 1, 0, -1):  # all of them, moved or not: where it lies is a guess for the processor
        values[home, i] = values[home, i - 1] if i <= last else values[home, i]
    values[home, 0] = key
