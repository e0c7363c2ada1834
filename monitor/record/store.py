"""The record's writer: entries become durable in the tail, and are sealed 65,536 at a time.

Theory of operation
-------------------
`append` writes one frame and waits for the disk once, however many entries it holds: group commit is calling it with
all that waits. A frame also says how far each source was recorded, so what is recorded and how far are one fact.

Once the tail holds 65,536 entries a thread writes them as a sealed file; appending goes on meanwhile. Only when that
file is on disk are they dropped from the tail. A crash between the two leaves both, and opening the record drops the
copy. Nothing here is ever changed in place.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from monitor.errors import LogError, RecordDamaged
from monitor.log.segments import Record, SegmentedLog
from monitor.record.batch import Batch, key_of
from monitor.record.entry import Entry
from monitor.record.links import links_of
from monitor.record.places import COMPLETE, Places, open_parts, put_in_place
from monitor.record.sealed import ENTRIES, SealedPart, rewrite, seal
from monitor.record.tree import Hashes, RecordTree
from monitor.state_dir import write_private

TAIL_SEGMENT_BYTES = 16 * 1024 * 1024
MAX_TAIL = 2 * ENTRIES
"""Entries in memory; whoever appends more waits for the sealing thread."""


class Store:
    """The record in `directory`, made if it is not there. For one thread; a context manager.

    Attributes
    ----------
    cursors : dict
        How far each source is recorded: source → number.
    size : int
        How many entries there are, those that retention has deleted included; the next one gets this number.
    syncs : int
        How often the disk was waited for.

    Raises
    ------
    LogError
        If another process writes it.
    RecordDamaged
        If what is there does not follow on itself.
    """

    def __init__(self, directory: Path) -> None:
        self._places = Places(directory)
        self._places.sealed.mkdir(parents=True, exist_ok=True, mode=0o700)
        put_in_place(self._places)
        self._log = SegmentedLog(self._places.tail, segment_bytes=TAIL_SEGMENT_BYTES)
        self._sealer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="seal")
        self._sealing: Future[SealedPart] | None = None
        self.cursors: dict[str, int] = {}
        self.syncs = 0
        try:
            self.pruned = self._places.pruned_roots()
            self.parts = open_parts(self._places, len(self.pruned))
            self._batches = self._open_tail()
        except BaseException:
            self.close()
            raise
        self._tail_size = sum(map(len, self._batches))

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self._sealed_size + self._tail_size

    def append(self, entries: Sequence[Entry], cursors: Mapping[str, int]) -> None:
        """Return when the entries are on disk, and with them that the sources are recorded up to `cursors`.

        Raises
        ------
        LogError
            If they could not be written. None of them is recorded then, and trying again is right, but for `LogFailed`.
        """
        self.settle()
        after = {**self.cursors, **cursors}
        if not entries:  # how far it was read is known after a restart too, only later
            self.cursors = after
            return
        batches, records = [], []
        start = 0
        while start < len(entries):  # no batch lies in two parts
            room = ENTRIES - (self.size + start) % ENTRIES
            piece = entries[start : start + room]
            start += len(piece)
            batches.append(Batch.of(piece, after if start == len(entries) else self.cursors))
            records.append(Record(batches[-1].encode(), len(piece)))
        self._log.append(*records)
        self._log.sync()
        self.syncs += 1
        self._batches += batches
        self._tail_size += len(entries)
        self.cursors = after

    def settle(self, *, wait: bool = False) -> None:
        """Have what is due sealed, and take up what was; with `wait`, return only when nothing is due any more."""
        while True:
            if self._sealing and (wait or self._sealing.done() or self._tail_size >= MAX_TAIL):
                self._take_up(self._sealing)
            if self._sealing is None and self._tail_size >= ENTRIES:
                self._sealing = self._sealer.submit(
                    seal, self._places.sealed, self._sealed_size, self._first_part()
                )
            if self._sealing is None or not (wait or self._tail_size >= MAX_TAIL):
                return

    def tree(self) -> RecordTree:
        """Return the tree over all entries; it stays as it is while the record grows."""
        return RecordTree(list(self.pruned), list(self.parts), self._tail_hashes())

    # -- deleting -----------------------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """The number of the oldest entry that is still there."""
        return len(self.pruned) * ENTRIES

    def prune(self, count: int) -> None:
        """Delete the `count` oldest sealed parts; their roots stay."""
        gone = self.parts[:count]
        roots = [*self.pruned, *(part.root for part in gone)]
        write_private(self._places.pruned, b"".join(roots))
        self.pruned, self.parts = roots, self.parts[count:]
        for part in gone:
            part.path.unlink()

    def delete_contents(self, part: SealedPart) -> None:
        """Delete all contents of a sealed part."""
        self.parts[self.parts.index(part)] = rewrite(part, lambda number, leaf: False)

    def forget(self, link: str) -> int:
        """Delete the contents of all entries that have the link; return how many they were."""
        self._finish_sealing()
        forgotten = 0

        def keep(number: int, leaf: bytes) -> bool:
            nonlocal forgotten
            is_it = link in links_of(leaf)
            forgotten += is_it
            return not is_it

        for i, part in enumerate(self.parts):
            if part.with_contents and len(part.index.find(key_of(link))):
                self.parts[i] = rewrite(part, keep)
        self._rewrite_tail(keep)
        return forgotten

    def _rewrite_tail(self, keep: Callable[[int, bytes], bool]) -> None:
        """Write the tail anew beside itself, and put it in its place: a crash leaves the one or the other."""
        number, kept = self._sealed_size, []
        for batch in self._batches:
            gone = [bool(batch.content(i)) and not keep(number + i, batch.leaf(i)) for i in range(len(batch))]
            kept.append(batch.without_contents(np.array(gone)) if any(gone) else batch)
            number += len(batch)
        if all(new is old for new, old in zip(kept, self._batches, strict=True)):
            return
        shutil.rmtree(self._places.new_tail, ignore_errors=True)
        first_seq = self._sealed_size + 1
        fresh = SegmentedLog(self._places.new_tail, segment_bytes=TAIL_SEGMENT_BYTES, first_seq=first_seq)
        for batch in kept:
            fresh.append(Record(batch.encode(), len(batch)))
        fresh.sync()
        fresh.close()
        write_private(self._places.new_tail / COMPLETE, b"")
        self._log.close()
        put_in_place(self._places)
        self._log = SegmentedLog(self._places.tail, segment_bytes=TAIL_SEGMENT_BYTES)
        self._batches = kept

    def _finish_sealing(self) -> None:
        if self._sealing:
            self._take_up(self._sealing)

    def close(self) -> None:
        """Release the files; what is being sealed is sealed first. Idempotent."""
        self._sealer.shutdown()
        self._log.close()

    # -- inside -------------------------------------------------------------------------------------------------

    @property
    def _sealed_size(self) -> int:
        return (len(self.pruned) + len(self.parts)) * ENTRIES

    def _tail_hashes(self) -> Hashes:
        none = np.empty((0, 32), np.uint8)
        return np.concatenate([none, *(batch.hashes for batch in self._batches)])

    def _first_part(self) -> list[Batch]:
        taken, count = [], 0
        for batch in self._batches:
            if count == ENTRIES:
                break
            taken.append(batch)
            count += len(batch)
        return taken

    def _take_up(self, sealing: Future[SealedPart]) -> None:
        """Drop from the tail what is sealed; a file that could not be written is tried again."""
        self._sealing = None
        try:
            part = sealing.result()
        except OSError as error:
            raise LogError(f"a part of the record could not be sealed: {error}; is the disk full?") from error
        del self._batches[: len(self._first_part())]
        self.parts.append(part)
        self._tail_size -= ENTRIES
        self._log.drop_before(self._sealed_size + 1, older_than_s=sys.maxsize, keep_bytes=0)

    def _open_tail(self) -> list[Batch]:
        if self._log.next_seq <= self._sealed_size or self._log.first_seq > self._sealed_size + 1:
            raise RecordDamaged(f"the entries after {self._sealed_size} are missing", self._sealed_size)
        batches = []
        for frame in self._log.read(0):
            batch = Batch.decode(frame.payload)
            if len(batch) != frame.entries:
                raise RecordDamaged(
                    f"entry {frame.first_seq - 1} does not fit its frame", frame.first_seq - 1
                )
            self.cursors = batch.cursors
            if frame.first_seq > self._sealed_size:
                batches.append(batch)
        return batches
