"""Finding entries: by any of their links and by when they happened, a page at a time, newest or oldest first.

The index says in which blocks of 64 entries something may be; the entries themselves decide. What was recorded a moment
ago is found like everything else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.record.batch import key_of
from monitor.record.index import BLOCK
from monitor.record.links import links_of
from monitor.record.reader import Found, Reader, Tail
from monitor.record.sealed import BLOCKS, ENTRIES, Block, SealedPart

Times = npt.NDArray[np.float64]

_TIMESTAMP: Final = b'"timestamp":"'
_STAMP_CHARS: Final = len("2026-01-01T00:00:00.000Z")
_encode: Final = msgspec.json.Encoder().encode


class Query(NamedTuple):
    """What is looked for: entries that have all of `links` and happened in ``[since_s, until_s)``."""

    links: tuple[str, ...] = ()
    since_s: float = -math.inf
    until_s: float = math.inf
    newest_first: bool = True


class Page(NamedTuple):
    """A part of the answer; `next` is the cursor of what follows, None at the end."""

    entries: list[Found]
    next: int | None


def find(reader: Reader, query: Query, *, cursor: int | None = None, limit: int) -> Page:
    """Return up to `limit` entries of the record that answer the query.

    Parameters
    ----------
    cursor
        `next` of the page before this one: the number of the entry that it begins with.

    Raises
    ------
    LogError
        If the record is damaged where it is read.
    """
    found: list[Found] = []
    for entry in matching(reader, query, cursor):
        if len(found) == limit:
            return Page(found, entry.number)
        found.append(entry)
    return Page(found, None)


def matching(reader: Reader, query: Query, cursor: int | None = None) -> Iterator[Found]:
    """Yield the entries that answer the query, from `cursor` on."""
    wanted = _Wanted(query, cursor)
    sources: list[SealedPart | Tail] = [*reader.parts, *reader.tail]
    for source in reversed(sources) if query.newest_first else sources:
        if isinstance(source, Tail):
            yield from _in_batch(source, wanted)
        elif wanted.reaches(source.first, ENTRIES):
            for block in wanted.ordered(_blocks(source, wanted)):
                yield from _in_block(source, block, wanted)


class _Wanted:
    """A query, prepared: keys for the index, and texts that a leaf must hold, which sort most others out."""

    def __init__(self, query: Query, cursor: int | None) -> None:
        self.query = query
        self._cursor = cursor
        self._links = frozenset(query.links)
        self.keys = [key_of(link) for link in query.links]
        self.needles = [_encode(link.partition(":")[2])[1:-1] for link in query.links]

    def has(self, number: int, leaf: bytes) -> bool:
        """Return whether an entry is part of the answer."""
        return (
            self.reaches(number, 1)
            and all(needle in leaf for needle in self.needles)
            and self.query.since_s <= seconds_of(leaf) < self.query.until_s
            and self._links <= frozenset(links_of(leaf))
        )

    def reaches(self, first: int, count: int) -> bool:
        """Return whether some of these entries are still to come, seen from the cursor."""
        if self._cursor is None:
            return True
        return first <= self._cursor if self.query.newest_first else first + count > self._cursor

    def ordered(self, positions: npt.NDArray[np.int64]) -> list[int]:
        """Return ascending positions in the order asked for."""
        ordered: list[int] = (positions[::-1] if self.query.newest_first else positions).tolist()
        return ordered

    def may_be(self, first_s: Times, last_s: Times) -> npt.NDArray[np.bool_]:
        """Return which spans of time touch the one asked for."""
        return (last_s >= self.query.since_s) & (first_s < self.query.until_s)


def seconds_of(leaf: bytes) -> float:
    """Return when an entry happened, in seconds since 1970."""
    at = leaf.index(_TIMESTAMP) + len(_TIMESTAMP)
    return datetime.fromisoformat(leaf[at : at + _STAMP_CHARS].decode()).timestamp()


def _blocks(part: SealedPart, wanted: _Wanted) -> npt.NDArray[np.int64]:
    """Return the blocks of a part that may hold what is wanted."""
    blocks = np.arange(BLOCKS, dtype=np.int64)
    for key in wanted.keys:
        blocks = np.intersect1d(blocks, part.index.find(key), assume_unique=True)
    rows = part.table[blocks]
    return blocks[wanted.may_be(rows["first_s"], rows["last_s"])]


def _in_block(part: SealedPart, block: int, wanted: _Wanted) -> Iterator[Found]:
    first = part.first + block * BLOCK
    leaves, contents = part.leaves(block), None
    for i in wanted.ordered(_positions(leaves, wanted)):
        leaf = leaves.of(i)
        if wanted.has(first + i, leaf):
            contents = contents or part.contents(block)
            yield Found(first + i, leaf, contents.of(i) if contents else b"")


def _positions(leaves: Block, wanted: _Wanted) -> npt.NDArray[np.int64]:
    """Return which leaves of a block hold the first text that is looked for."""
    if not wanted.needles:
        return np.arange(BLOCK, dtype=np.int64)
    needle, places = wanted.needles[0], []
    at = leaves.data.find(needle)
    while at >= 0:
        places.append(at)
        at = leaves.data.find(needle, at + 1)
    return np.unique(np.searchsorted(leaves.ends, places, side="right"))


def _in_batch(tail: Tail, wanted: _Wanted) -> Iterator[Found]:
    first, batch = tail
    is_possible = wanted.may_be(batch.ts_s, batch.ts_s)
    for key in wanted.keys:
        has_key = np.zeros(len(batch), np.bool_)
        has_key[batch.key_entries[batch.keys == key]] = True
        is_possible &= has_key
    for i in wanted.ordered(np.flatnonzero(is_possible)):
        leaf = batch.leaf(i)
        if wanted.has(first + i, leaf):
            yield Found(first + i, leaf, batch.content(i))
