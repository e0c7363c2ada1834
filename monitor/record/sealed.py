"""A sealed part of the record: 65,536 entries in one file that is never written to again.

    magic │ blocks of 64 leaves │ blocks of 64 contents │ table │ locators │ index: keys, starts, blocks │ footer

A block is one Zstandard frame (RFC 8878): 64 lengths (u32), then the bytes. The table has a row a block: where its
leaves and its contents are, when its entries happened (first and last), and the root of its subtree. A locator is the
first four bytes of an entry's leaf hash: roots say that something was changed, locators where. All is little-endian.

Deleting contents writes the file anew; leaves, hashes and the index stay as they are.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

from monitor.errors import RecordDamaged
from monitor.proof.hashing import fold, leaf_hashes
from monitor.record.batch import Batch
from monitor.record.index import BLOCK, Index, build_index
from monitor.state_dir import sync_directory

ENTRIES: Final = 65_536
LEVEL: Final = 16
BLOCKS: Final = ENTRIES // BLOCK
BLOCK_LEVEL: Final = 6
MAX_BLOCK_BYTES: Final = 64 * 1024 * 1024
"""Security limit: what claims to be more when it is unpacked is damage."""

MAGIC: Final = b"KILLCORD RECORD 1\r\n"
_END: Final = b"KRE1"
_ZSTD_LEVEL: Final = 3
_LENGTHS: Final = np.dtype("<u4")
_ROW: Final = np.dtype(
    [
        ("at", "<u8"),
        ("bytes", "<u4"),
        ("content_at", "<u8"),
        ("content_bytes", "<u4"),
        ("first_s", "<f8"),
        ("last_s", "<f8"),
        ("root", "u1", (32,)),
    ]
)
_FOOTER: Final = struct.Struct(
    "<QQIII32s32sI4s"
)  # first, table_at, keys, pairs, contents, root, index, crc, end

Table = npt.NDArray[np.void]


class Block:
    """The bytes of 64 entries of one kind, one after the other, and where each ends (int64)."""

    __slots__ = ("data", "ends")

    def __init__(self, data: bytes, ends: npt.NDArray[np.int64]) -> None:
        self.data = data
        self.ends = ends

    def of(self, i: int) -> bytes:
        """Return the bytes of the i-th entry of the block."""
        return self.data[int(self.ends[i - 1]) if i else 0 : int(self.ends[i])]


class _Footer(NamedTuple):
    first: int
    table_at: int
    keys: int
    pairs: int
    with_contents: int
    root: bytes
    index_digest: bytes


class SealedPart:
    """One sealed file, mapped into memory. Reading it checks what it needs to be read; `verify` checks everything.

    Attributes
    ----------
    first : int
        The number of its first entry, a multiple of 65,536.
    root : bytes
        What the file says is the root of its subtree.
    index_digest : bytes
        What the file says is the SHA-256 of its index.

    Raises
    ------
    RecordDamaged
        If it is no whole sealed file of this version. FileNotFoundError if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            self.size, self._inode = status.st_size, status.st_ino
            if self.size < len(MAGIC) + _FOOTER.size:
                raise RecordDamaged(f"{path.name} is cut short", first_of(path))
            self._data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        footer = _read_footer(self._data)
        if footer is None or footer.first != first_of(path):
            raise RecordDamaged(f"{path.name} is not a sealed part of the record, or damaged", first_of(path))
        self.first, self.root, self.index_digest = footer.first, footer.root, footer.index_digest
        self.with_contents = bool(footer.with_contents)
        at = footer.table_at
        self.table: Table = np.frombuffer(self._data, _ROW, BLOCKS, at)
        at += self.table.nbytes
        self.locators = np.frombuffer(self._data, "<u4", ENTRIES, at)
        at += self.locators.nbytes
        self._index_at = at
        keys = np.frombuffer(self._data, "<u4", footer.keys, at)
        starts = np.frombuffer(self._data, "<u4", footer.keys + 1, at + keys.nbytes)
        blocks = np.frombuffer(self._data, "<u2", footer.pairs, at + keys.nbytes + starts.nbytes)
        self.index = Index(keys, starts, blocks)

    def is_current(self) -> bool:
        """Return whether the path still leads to this file: deleting contents puts another in its place."""
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def leaves(self, block: int) -> Block:
        """Return a block's leaves; raises `RecordDamaged` if it cannot be unpacked."""
        row = self.table[block]
        return self._unpack(block, int(row["at"]), int(row["bytes"]))

    def contents(self, block: int) -> Block | None:
        """Return a block's contents, None if none of its entries has one."""
        row = self.table[block]
        size = int(row["content_bytes"])
        return self._unpack(block, int(row["content_at"]), size) if size else None

    def read_index(self) -> bytes:
        """Return the bytes that `index_digest` is of."""
        return self._data[self._index_at : self.size - _FOOTER.size]

    @cached_property
    def node(self) -> Callable[[int, int], bytes]:
        """Return hashes of the tree below `root`: ``node(level, index)``, the index counted within this part."""
        levels = [self.table["root"]]
        while len(levels[-1]) > 1:
            levels.append(fold(np.ascontiguousarray(levels[-1]), 1))

        def node(level: int, index: int) -> bytes:
            if level >= BLOCK_LEVEL:
                return bytes(levels[level - BLOCK_LEVEL][index])
            block, within = divmod(index << level, BLOCK)
            leaves = self.leaves(block)
            hashes = leaf_hashes(leaves.data, leaves.ends)
            return bytes(fold(hashes[within : within + (1 << level)], level)[0])

        return node

    def _unpack(self, block: int, at: int, size: int) -> Block:
        packed = self._data[at : at + size]
        try:
            if zstandard.frame_content_size(packed) > MAX_BLOCK_BYTES:
                raise zstandard.ZstdError("it claims to be too long")
            data = zstandard.ZstdDecompressor().decompress(packed)
        except zstandard.ZstdError as error:
            first = self.first + block * BLOCK
            raise RecordDamaged(
                f"entries {first} to {first + BLOCK - 1} cannot be unpacked: {error}", first
            ) from error
        head = BLOCK * _LENGTHS.itemsize
        if len(data) < head or len(data) - head != int(np.frombuffer(data, _LENGTHS, BLOCK).sum()):
            first = self.first + block * BLOCK
            raise RecordDamaged(f"entries {first} to {first + BLOCK - 1} do not fit together", first)
        ends = np.cumsum(np.frombuffer(data, _LENGTHS, BLOCK), dtype=np.int64)
        return Block(data[head:], ends)


# -- writing ------------------------------------------------------------------------------------------------------


def seal(directory: Path, first: int, batches: Sequence[Batch]) -> SealedPart:
    """Write batches of together 65,536 entries, from number `first` on, as a sealed file; on disk when it returns.

    Raises
    ------
    OSError
        If it cannot be written; nothing of it is left then.
    """
    hashes = np.concatenate([batch.hashes for batch in batches])
    if len(hashes) != ENTRIES or first % ENTRIES:
        raise ValueError(f"{len(hashes)} entries from {first} are no part of the record")
    offsets = np.cumsum([0] + [len(batch) for batch in batches[:-1]])
    index = build_index(
        np.concatenate([batch.keys for batch in batches]),
        np.concatenate(
            [batch.key_entries + offset for batch, offset in zip(batches, offsets.tolist(), strict=True)]
        ),
    )
    times = np.concatenate([batch.ts_s for batch in batches]).reshape(BLOCKS, BLOCK)
    table = np.zeros(BLOCKS, _ROW)
    table["first_s"], table["last_s"] = times.min(axis=1), times.max(axis=1)
    table["root"] = fold(hashes, BLOCK_LEVEL)
    leaves = _blocks((batch.leaves, batch.leaf_ends) for batch in batches)
    contents = (
        block if block.data else None
        for block in _blocks((batch.contents, batch.content_ends) for batch in batches)
    )
    locators = np.ascontiguousarray(hashes[:, :4]).view("<u4").ravel()
    return _write(part_path(directory, first), first, leaves, contents, table, locators, index)


def rewrite(part: SealedPart, keep: Callable[[int, bytes], bool]) -> SealedPart:
    """Write the file anew with the contents only of entries for which ``keep(number, leaf)`` is true; return it."""

    def contents() -> Iterator[Block | None]:
        for number in range(BLOCKS):
            block = part.contents(number)
            yield block and _kept(block, part.leaves(number), part.first + number * BLOCK, keep)

    leaves = (part.leaves(number) for number in range(BLOCKS))
    return _write(part.path, part.first, leaves, contents(), part.table.copy(), part.locators, part.index)


def part_path(directory: Path, first: int) -> Path:
    """Return where the sealed part that begins with entry `first` lies."""
    return directory / f"{first:015d}.sealed"


def first_of(path: Path) -> int:
    """Return the number of the first entry of a sealed file, from its name."""
    try:
        return int(path.name.removesuffix(".sealed"))
    except ValueError as error:
        raise RecordDamaged(f"{path} does not belong in a record; move it away") from error


def part_paths(directory: Path) -> list[Path]:
    """Return the sealed files of a record, in order."""
    return sorted(directory.glob("*.sealed"))


def _write(
    path: Path,
    first: int,
    leaves: Iterator[Block],
    contents: Iterator[Block | None],
    table: Table,
    locators: npt.NDArray[np.uint32],
    index: Index,
) -> SealedPart:
    scratch = path.with_suffix(".new")
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
    with_contents = 0
    try:
        with scratch.open("wb") as file:
            file.write(MAGIC)
            for row, block in zip(table, leaves, strict=True):
                row["at"] = file.tell()
                row["bytes"] = file.write(_pack(compressor, block))
            for row, content in zip(table, contents, strict=True):
                row["content_at"] = file.tell()
                row["content_bytes"] = file.write(_pack(compressor, content)) if content else 0
                with_contents |= content is not None
            table_at = file.tell()
            file.write(table.tobytes() + locators.tobytes())
            packed = index.keys.tobytes() + index.starts.tobytes() + index.blocks.tobytes()
            file.write(packed)
            root, digest = bytes(fold(np.ascontiguousarray(table["root"]), 10)[0]), sha256(packed).digest()
            footer = (first, table_at, len(index.keys), len(index.blocks), with_contents, root, digest)
            crc = zlib.crc32(_FOOTER.pack(*footer, 0, _END))
            file.write(_FOOTER.pack(*footer, crc, _END))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    sync_directory(path.parent)
    return SealedPart(path)


def _read_footer(data: mmap.mmap) -> _Footer | None:
    *fields, crc, end = _FOOTER.unpack_from(data, len(data) - _FOOTER.size)
    footer = _Footer(*fields)
    index_bytes = 4 * footer.keys + 4 * (footer.keys + 1) + 2 * footer.pairs
    ends_at = footer.table_at + BLOCKS * _ROW.itemsize + 4 * ENTRIES + index_bytes + _FOOTER.size
    is_whole = (
        data[: len(MAGIC)] == MAGIC
        and end == _END
        and crc == zlib.crc32(_FOOTER.pack(*fields, 0, _END))
        and ends_at == len(data)
    )
    return footer if is_whole else None


def _pack(compressor: zstandard.ZstdCompressor, block: Block) -> bytes:
    lengths = np.diff(block.ends, prepend=0).astype(_LENGTHS)
    return compressor.compress(lengths.tobytes() + block.data)


def _blocks(pieces: Iterator[tuple[bytes, npt.NDArray[np.int64]]]) -> Iterator[Block]:
    """Yield blocks of 64 entries of batches' bytes, which need not be cut where blocks are."""
    data, ends = [], []
    at = 0
    for piece, piece_ends in pieces:
        data.append(piece)
        ends.append(piece_ends + at)
        at += len(piece)
    joined, all_ends = b"".join(data), np.concatenate(ends)
    start = 0
    for cut in all_ends.reshape(BLOCKS, BLOCK):
        yield Block(joined[start : int(cut[-1])], cut - start)
        start = int(cut[-1])


def _kept(block: Block, leaves: Block, first: int, keep: Callable[[int, bytes], bool]) -> Block | None:
    """Return the block without the contents that are not to be kept; None if nothing is left."""
    pieces = [block.of(i) for i in range(BLOCK)]
    pieces = [piece if piece and keep(first + i, leaves.of(i)) else b"" for i, piece in enumerate(pieces)]
    if not any(pieces):
        return None
    return Block(b"".join(pieces), np.cumsum([len(piece) for piece in pieces], dtype=np.int64))
