"""Where a record keeps what, below its directory.

sealed/        65,536 entries a file, never written to again
tail/          the entries after those: a durable log
checkpoints/   every signed checkpoint: a durable log of notes
checkpoint     the newest one, for whoever keeps it elsewhere
pruned         roots of the parts that retention has deleted, 32 bytes each
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from monitor.errors import RecordDamaged
from monitor.record.sealed import ENTRIES, SealedPart, first_of, part_paths
from monitor.state_dir import sync_directory

RECORD: Final = "record"
"""The record's directory in a state directory."""

COMPLETE: Final = "complete"
"""A file in a tail that was written anew: all of it is on disk."""

_ROOT_BYTES = 32


class Places(NamedTuple):
    """Paths of one record."""

    directory: Path

    @property
    def sealed(self) -> Path:
        """The sealed files."""
        return self.directory / "sealed"

    @property
    def tail(self) -> Path:
        """The log of what is not sealed yet."""
        return self.directory / "tail"

    @property
    def new_tail(self) -> Path:
        """A tail that was written anew and is not in its place yet."""
        return self.directory / "tail.new"

    @property
    def checkpoints(self) -> Path:
        """The log of signed checkpoints."""
        return self.directory / "checkpoints"

    @property
    def checkpoint(self) -> Path:
        """The newest signed checkpoint."""
        return self.directory / "checkpoint"

    @property
    def pruned(self) -> Path:
        """Roots of the parts that retention has deleted."""
        return self.directory / "pruned"

    def pruned_roots(self) -> list[bytes]:
        """Return the roots of the parts that retention has deleted, in order."""
        try:
            data = self.pruned.read_bytes()
        except FileNotFoundError:
            return []
        if len(data) % _ROOT_BYTES:
            raise RecordDamaged(f"{self.pruned} is cut short", 0)
        return [data[at : at + _ROOT_BYTES] for at in range(0, len(data), _ROOT_BYTES)]


def open_parts(
    places: Places, pruned: int, known: Mapping[Path, SealedPart] | None = None
) -> list[SealedPart]:
    """Return the sealed parts after the `pruned` first ones, in order.

    Parameters
    ----------
    known
        Parts that are open already, by path: those whose file is still the same are taken from there.

    Raises
    ------
    RecordDamaged
        If one is damaged or missing.
    """
    parts: list[SealedPart] = []
    for path in part_paths(places.sealed):
        expected = (pruned + len(parts)) * ENTRIES
        if first_of(path) < pruned * ENTRIES:  # retention is deleting it
            continue
        part = (known or {}).get(path)
        if part is None or not part.is_current():
            part = SealedPart(path)
        if part.first != expected:
            raise RecordDamaged(f"entries {expected} to {part.first - 1} are missing", expected)
        parts.append(part)
    return parts


def put_in_place(places: Places) -> None:
    """Let a tail that was written anew replace the old one, now or after a crash; drop one that is not whole."""
    if (places.new_tail / COMPLETE).exists():
        shutil.rmtree(places.tail, ignore_errors=True)
        places.new_tail.rename(places.tail)
        sync_directory(places.directory)
    else:
        shutil.rmtree(places.new_tail, ignore_errors=True)
