"""Whether a record is what was signed: everything is hashed anew, offline, and the first bad entry is named.

What is checked, and what each check sees:

- leaves against their locators, blocks against their roots, parts against theirs: a changed, swapped or inserted entry;
- parts and batches against their numbers: a dropped or replaced part, a gap;
- each part against what the record itself said of it when it was sealed: a whole part made anew, a changed index;
- contents against the digests in their leaves, deleted ones against what the record says of deletions;
- every signed checkpoint against the tree: whatever was made anew consistently. The place is then known as between the
  last checkpoint that holds and the first that does not. One that was kept elsewhere also sees a tail that was cut.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from monitor.errors import LogError, ProofError, RecordDamaged
from monitor.log.segments import read_log
from monitor.proof.checkpoints import Checkpoint, open_checkpoint
from monitor.proof.hashing import fold, leaf_hashes
from monitor.proof.notes import Verifier
from monitor.record.batch import Batch
from monitor.record.checkpointing import kept_checkpoints
from monitor.record.index import BLOCK
from monitor.record.noted import Noted, read_noted
from monitor.record.places import Places
from monitor.record.sealed import BLOCKS, ENTRIES, Block, SealedPart, first_of, part_paths
from monitor.record.tree import RecordTree

T = TypeVar("T")

MAX_PROBLEMS: Final = 100
_STRIDE: Final = 64
"""Blocks that are hashed in one go."""


class Problem(NamedTuple):
    """Something that is not as it was written. `entry` is the first that it concerns, None if none in particular."""

    entry: int | None
    what: str


class Report(NamedTuple):
    """What was found. `problems` come in the order of the checks, from the first entry on in each; at most 100.

    `first` is the oldest entry that is still there, `size` how many there ever were, `checkpoints` how many signed
    ones hold, `newest` the largest of them, `contents_deleted` how many contents are gone, as the record tells.
    """

    first: int
    size: int
    root: bytes | None
    checkpoints: int
    newest: Checkpoint | None
    contents_deleted: int
    problems: list[Problem]

    @property
    def holds(self) -> bool:
        """Whether the record is what was signed."""
        return not self.problems


def verify(
    directory: Path, verifiers: Sequence[Verifier], *, origin: str | None = None, kept: Sequence[bytes] = ()
) -> Report:
    """Check the record in `directory`.

    Parameters
    ----------
    verifiers
        Whose checkpoints count.
    origin
        Whose record this has to be; any, if None.
    kept
        Checkpoints that were kept elsewhere.
    """
    return _Verification(Places(directory), verifiers, origin).run(kept)


class _Verification:
    def __init__(self, places: Places, verifiers: Sequence[Verifier], origin: str | None) -> None:
        self._places = places
        self._verifiers = verifiers
        self._origin = origin
        self._problems: list[Problem] = []
        self._noted = Noted({}, [], 0)
        self._deleted = 0

    def run(self, kept: Sequence[bytes]) -> Report:
        # Its notes are read before they are checked: hashing everything checks them too.
        with contextlib.suppress(LogError, OSError):
            self._noted = read_noted(self._places.directory)
        pruned = self._attempt(self._places.pruned_roots) or []
        first = len(pruned) * ENTRIES
        parts = list(self._parts(first))
        tail, end = self._tail(first + len(parts) * ENTRIES)
        tree = RecordTree(pruned, parts, tail) if not self._problems else None
        if tree:
            self._check_noted(pruned, parts)
        good, newest = self._checkpoints(tree, end, kept)
        root = tree.root() if tree else None
        return Report(first, end, root, good, newest, self._deleted, self._problems[:MAX_PROBLEMS])

    # -- parts --------------------------------------------------------------------------------------------------

    def _parts(self, expected: int) -> Iterator[SealedPart]:
        for path in part_paths(self._places.sealed):
            part = self._attempt(partial(SealedPart, path), first_of(path))
            if first_of(path) < expected:  # retention is deleting it
                continue
            if first_of(path) != expected:
                self._say(expected, f"entries {expected} to {first_of(path) - 1} are missing")
            expected = first_of(path) + ENTRIES
            if part:
                self._attempt(partial(self._check_part, part), part.first)
                yield part

    def _check_part(self, part: SealedPart) -> None:
        for start in range(0, BLOCKS, _STRIDE):
            blocks = [part.leaves(number) for number in range(start, start + _STRIDE)]
            hashes = leaf_hashes(*_joined(blocks))
            at = slice(start * BLOCK, (start + _STRIDE) * BLOCK)
            self._check_hashes(part, start, hashes, part.locators[at])
            for number, leaves in zip(range(start, start + _STRIDE), blocks, strict=True):
                self._check_contents(part.first + number * BLOCK, leaves, part.contents(number))
        if bytes(fold(np.ascontiguousarray(part.table["root"]), 10)[0]) != part.root:
            self._say(part.first, f"the root of entries {part.first} to {part.first + ENTRIES - 1} is wrong")
        if sha256(part.read_index()).digest() != part.index_digest:
            self._say(part.first, f"the index of {part.path.name} was changed")

    def _check_hashes(
        self, part: SealedPart, start: int, hashes: npt.NDArray[np.uint8], locators: npt.NDArray[np.uint32]
    ) -> None:
        found = np.ascontiguousarray(hashes[:, :4]).view("<u4").ravel()
        wrong = np.flatnonzero(found != locators)
        roots = fold(hashes, 6)
        bad = np.flatnonzero((roots != part.table["root"][start : start + _STRIDE]).any(axis=1))
        for block in bad.tolist():
            first = part.first + (start + block) * BLOCK
            within = wrong[(wrong >= block * BLOCK) & (wrong < (block + 1) * BLOCK)]
            if len(within):
                entry = part.first + start * BLOCK + int(within[0])
                self._say(entry, f"entry {entry} is not what was recorded")
            else:
                self._say(
                    first, f"one of the entries {first} to {first + BLOCK - 1} is not what was recorded"
                )
        alone = [int(i) for i in wrong if i // BLOCK not in bad]
        if alone:
            self._say(part.first + start * BLOCK + alone[0], f"the locators of {part.path.name} were changed")

    def _check_contents(self, first: int, leaves: Block, contents: Block | None) -> None:
        for i in range(BLOCK):
            self._check_content(first + i, leaves.of(i), contents.of(i) if contents else b"")

    def _check_content(self, entry: int, leaf: bytes, content: bytes) -> None:
        if content:
            if sha256(content).hexdigest().encode() not in leaf:
                self._say(entry, f"the content of entry {entry} is not what was recorded")
        elif b'"content":{' in leaf:
            self._deleted += 1
            if not any(deletion.covers(entry, leaf) for deletion in self._noted.deletions):
                self._say(entry, f"the content of entry {entry} is gone, and the record does not say why")

    # -- the tail -----------------------------------------------------------------------------------------------

    def _tail(self, sealed: int) -> tuple[npt.NDArray[np.uint8], int]:
        hashes = [np.empty((0, 32), np.uint8)]
        end = sealed
        try:
            for frame in read_log(self._places.tail, sealed + 1):
                if frame.first_seq - 1 != end:
                    self._say(end, f"entries {end} to {frame.first_seq - 2} are missing")
                batch = Batch.decode(frame.payload)
                end = frame.first_seq - 1 + len(batch)
                hashes.append(batch.hashes)
                for i in range(len(batch)):
                    self._check_content(frame.first_seq - 1 + i, batch.leaf(i), batch.content(i))
        except LogError as error:
            self._say(end, f"what follows entry {end - 1} cannot be read: {error}")
        return np.concatenate(hashes), end

    # -- what the record says of itself -------------------------------------------------------------------------

    def _check_noted(self, pruned: Sequence[bytes], parts: Sequence[SealedPart]) -> None:
        for part in parts:
            said = self._noted.sealed.get(part.first)
            if said is None and part is not parts[-1]:  # of the last one it may not have been said yet
                self._say(part.first, f"the record does not say that {part.path.name} was sealed")
            elif said and said != (part.root, part.index_digest):
                self._say(part.first, f"{part.path.name} is not what was sealed")
        if len(pruned) * ENTRIES > self._noted.pruned_to:
            self._say(0, f"entries before {len(pruned) * ENTRIES} are gone, and the record does not say why")

    # -- checkpoints --------------------------------------------------------------------------------------------

    def _checkpoints(
        self, tree: RecordTree | None, end: int, kept: Sequence[bytes]
    ) -> tuple[int, Checkpoint | None]:
        own = self._attempt(lambda: list(kept_checkpoints(self._places.directory))) or []
        self._check_newest(own)
        opened = [found for note in [*own, *kept] if (found := self._open(note))]
        opened.sort(key=lambda checkpoint: checkpoint.size)
        good, newest = 0, None
        for checkpoint in opened:
            if checkpoint.size > end:
                self._say(
                    end, f"the tail is cut: a signed checkpoint has {checkpoint.size} entries, here are {end}"
                )
            elif (
                tree is None or checkpoint.size < tree.first
            ):  # of what retention deleted there is no root any more
                continue
            elif tree.root(checkpoint.size) != checkpoint.root:
                since = newest.size if newest else 0
                self._say(
                    since,
                    f"entries {since} to {checkpoint.size - 1} are not what was signed at {checkpoint.size}",
                )
                break
            else:
                good, newest = good + 1, checkpoint
        return good, newest

    def _check_newest(self, own: Sequence[bytes]) -> None:
        try:
            shown = self._places.checkpoint.read_bytes()
        except FileNotFoundError:
            shown = b""
        if own and shown not in own[-2:]:  # it is written after the other one
            self._say(None, f"{self._places.checkpoint.name} is not the newest checkpoint: it was put back")

    def _open(self, note: bytes) -> Checkpoint | None:
        try:
            checkpoint = open_checkpoint(note, self._verifiers)
        except ProofError as error:
            self._say(None, f"a checkpoint does not count: {error}")
            return None
        if self._origin is not None and checkpoint.origin != self._origin:
            self._say(None, f"a checkpoint is of {checkpoint.origin}, not of {self._origin}")
            return None
        return checkpoint

    def _attempt(self, work: Callable[[], T], entry: int | None = None) -> T | None:
        """Return what the work returns; None, and the problem is noted, if the record is damaged there."""
        try:
            return work()
        except RecordDamaged as error:
            self._say(entry if error.entry is None else error.entry, str(error))
        except (LogError, OSError) as error:
            self._say(entry, str(error))
        return None

    def _say(self, entry: int | None, what: str) -> None:
        self._problems.append(Problem(entry, what))


def _joined(blocks: Sequence[Block]) -> tuple[bytes, npt.NDArray[np.int64]]:
    starts = np.cumsum([0] + [len(block.data) for block in blocks[:-1]])
    ends = np.concatenate([block.ends + start for block, start in zip(blocks, starts.tolist(), strict=True)])
    return b"".join(block.data for block in blocks), ends
