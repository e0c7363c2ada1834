"""Entries that were recorded together, in the form in which they wait to be sealed: columns, no object an entry."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from monitor.errors import LogError
from monitor.proof.hashing import leaf_hashes
from monitor.record.entry import Entry

Ends = npt.NDArray[np.int64]

MAX_ENTRIES: Final = 65_536
_MAX_CACHED: Final = 200_000


class _Stored(msgspec.Struct, frozen=True, array_like=True, tag="batch-1"):
    """A batch as a frame of the tail's log holds it; the numbers are little-endian arrays."""

    cursors: dict[str, int]
    leaves: bytes
    leaf_ends: bytes
    contents: bytes
    content_ends: bytes
    ts_s: bytes
    keys: bytes
    key_entries: bytes


_decoder = msgspec.msgpack.Decoder(_Stored)


class Batch:
    """Consecutive entries.

    Attributes
    ----------
    cursors : dict
        How far each source of the record was recorded once this batch was: source → number.
    leaves, contents : bytes
        The entries' bytes, one after the other; `leaf_ends`, `content_ends` (int64, one an entry) say where each ends.
    ts_s : array of float64
        When each happened, seconds since 1970, as its leaf has it: in whole milliseconds.
    keys, key_entries : arrays of uint32 and uint16
        What the entries are found by (`key_of` a link), and which entry of the batch each belongs to.
    """

    def __init__(
        self,
        cursors: Mapping[str, int],
        leaves: bytes,
        leaf_ends: Ends,
        contents: bytes,
        content_ends: Ends,
        ts_s: npt.NDArray[np.float64],
        keys: npt.NDArray[np.uint32],
        key_entries: npt.NDArray[np.uint16],
    ) -> None:
        self.cursors = dict(cursors)
        self.leaves, self.leaf_ends = leaves, leaf_ends
        self.contents, self.content_ends = contents, content_ends
        self.ts_s = ts_s
        self.keys, self.key_entries = keys, key_entries

    def __len__(self) -> int:
        return len(self.leaf_ends)

    @classmethod
    def of(cls, entries: Sequence[Entry], cursors: Mapping[str, int]) -> Batch:
        """Return the batch of some entries, at most 65,536."""
        if not 0 < len(entries) <= MAX_ENTRIES:
            raise ValueError(f"a batch has 1 to {MAX_ENTRIES} entries, not {len(entries)}")
        leaves = [entry.leaf for entry in entries]
        contents = [entry.content for entry in entries]
        keys = [_cached_key(link) for entry in entries for link in entry.links]
        return cls(
            cursors,
            b"".join(leaves),
            _ends(leaves),
            b"".join(contents),
            _ends(contents),
            np.floor(np.array([entry.ts_s for entry in entries], np.float64) * 1000) / 1000,
            np.array(keys, np.uint32),
            np.repeat(np.arange(len(entries), dtype=np.uint16), [len(entry.links) for entry in entries]),
        )

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint8]:
        """The entries' leaf hashes (RFC 6962), shape (n, 32)."""
        return leaf_hashes(self.leaves, self.leaf_ends)

    def leaf(self, i: int) -> bytes:
        """Return the i-th entry's leaf."""
        return _cut(self.leaves, self.leaf_ends, i)

    def content(self, i: int) -> bytes:
        """Return the i-th entry's content, empty if it has none or it was deleted."""
        return _cut(self.contents, self.content_ends, i)

    def without_contents(self, entries: npt.NDArray[np.bool_]) -> Batch:
        """Return the batch with the contents of these entries (a mask) deleted."""
        kept = [b"" if gone else self.content(i) for i, gone in enumerate(entries.tolist())]
        return Batch(
            self.cursors,
            self.leaves,
            self.leaf_ends,
            b"".join(kept),
            _ends(kept),
            self.ts_s,
            self.keys,
            self.key_entries,
        )

    def encode(self) -> bytes:
        """Return the bytes for a frame of the log."""
        arrays = (self.ts_s.tobytes(), self.keys.tobytes(), self.key_entries.tobytes())
        ends = self.leaf_ends.tobytes(), self.content_ends.tobytes()
        return msgspec.msgpack.encode(
            _Stored(self.cursors, self.leaves, ends[0], self.contents, ends[1], *arrays)
        )

    @classmethod
    def decode(cls, payload: bytes) -> Batch:
        """Return the batch in a frame; raises `LogError` if it is none."""
        try:
            stored = _decoder.decode(payload)
            batch = cls(
                stored.cursors,
                stored.leaves,
                np.frombuffer(stored.leaf_ends, np.int64),
                stored.contents,
                np.frombuffer(stored.content_ends, np.int64),
                np.frombuffer(stored.ts_s, np.float64),
                np.frombuffer(stored.keys, np.uint32),
                np.frombuffer(stored.key_entries, np.uint16),
            )
        except (msgspec.DecodeError, ValueError) as error:
            raise LogError(f"a batch of the record cannot be read by this version: {error}") from error
        batch._check()
        return batch

    def _check(self) -> None:
        count = len(self)
        whole = (
            0 < count <= MAX_ENTRIES
            and len(self.content_ends) == len(self.ts_s) == count
            and len(self.keys) == len(self.key_entries)
            and _is_cut(self.leaf_ends, len(self.leaves))
            and _is_cut(self.content_ends, len(self.contents))
            and bool((self.key_entries < count).all())
        )
        if not whole:
            raise LogError("a batch of the record does not fit together")


def key_of(link: str) -> int:
    """Return the 32-bit key of a link in the index. Keys may collide: what they find is looked at."""
    return zlib.crc32(link.encode(errors="surrogatepass"))


_known: dict[str, int] = {}


def _cached_key(link: str) -> int:
    key = _known.get(link)
    if key is None:
        if len(_known) >= _MAX_CACHED:
            _known.clear()
        key = _known[link] = key_of(link)
    return key


def _ends(pieces: Sequence[bytes]) -> Ends:
    return np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)), dtype=np.int64)


def _cut(data: bytes, ends: Ends, i: int) -> bytes:
    return data[int(ends[i - 1]) if i else 0 : int(ends[i])]


def _is_cut(ends: Ends, size: int) -> bool:
    return bool(ends[0] >= 0 and (np.diff(ends) >= 0).all() and ends[-1] == size)
