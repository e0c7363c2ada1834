"""What a point allowed, and when: a file in memory that the point writes and that outlives it.

A run is a stretch of checks of one target with the same answer. Ended runs are appended; each target's current run lies
in a slot, brought up to date with every check, so that a point that is killed leaves everything behind. The times are
when a check *began*: one that began before a kill may rightly allow. Of a run's first check it is also known when it
was *done*: one that began before a restoration and took until after it may rightly allow, too.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NONE: Final = 0
ALLOWED: Final = 1
REVOKED: Final = 2
"""Refused, because the target is revoked."""
BARRED: Final = 3
"""Refused, because the point cannot or may not decide: no lease, no snapshot, nothing proven."""

SLOTS: Final = 64
MAX_RUNS: Final = 400_000
_WORD: Final = struct.Struct("=Q")
_RUN: Final = struct.Struct("=QQQQQ")  # target, answer, first_ns, first_done_ns, last_ns
_SLOTS_AT: Final = _RUN.size  # the header has the count of runs and a count of rewritten slots
_RUNS_AT: Final = _SLOTS_AT + SLOTS * _RUN.size
FILE_BYTES: Final = _RUNS_AT + MAX_RUNS * _RUN.size  # sparse: what is never written takes no room


@dataclass(frozen=True, slots=True)
class Run:
    """Checks of one target at one point with one answer; times on CLOCK_MONOTONIC, in nanoseconds."""

    point: str
    instance: int
    target: int
    answer: int
    first_ns: int
    first_done_ns: int
    last_ns: int


class Recorder:
    """The point's side. One thread."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), FILE_BYTES)
        self._runs = 0
        self._rewrites = 0
        self._answers = [NONE] * SLOTS

    def watch(self, targets: list[int]) -> None:
        """End all runs and begin new ones for `targets`, the first in slot 0."""
        if len(targets) > SLOTS:
            raise ValueError(f"{len(targets)} targets, more than {SLOTS}")
        for slot in range(SLOTS):
            self._end(slot)
        for slot, target in enumerate(targets):
            _WORD.pack_into(self._memory, _slot_at(slot), target)

    def note(self, slot: int, answer: int, began_ns: int, done_ns: int) -> None:
        """Say how a check of the target in `slot`, begun at `began_ns` and done at `done_ns`, was answered."""
        at = _slot_at(slot)
        if self._answers[slot] != answer:
            self._end(slot)
            # In this order: whenever the process dies, a slot has no answer or one with the times that belong to it.
            _WORD.pack_into(self._memory, at + 16, began_ns)
            _WORD.pack_into(self._memory, at + 24, done_ns)
            _WORD.pack_into(self._memory, at + 32, began_ns)
            _WORD.pack_into(self._memory, at + 8, answer)
            self._answers[slot] = answer
        else:
            _WORD.pack_into(self._memory, at + 32, began_ns)

    def _end(self, slot: int) -> None:
        if self._answers[slot] == NONE:
            return
        at = _slot_at(slot)
        run = self._memory[at : at + _RUN.size]
        start = _RUNS_AT + self._runs * _RUN.size
        self._memory[start : start + _RUN.size] = run
        self._runs += 1
        self._rewrites += 1
        _WORD.pack_into(self._memory, 8, self._rewrites)
        _WORD.pack_into(self._memory, at + 8, NONE)
        _WORD.pack_into(self._memory, 0, self._runs)
        self._answers[slot] = NONE


class Reading:
    """The other side: makes the file and reads it, while the point writes or when it is dead."""

    def __init__(self, path: Path, point: str, instance: int) -> None:
        self.point = point
        self.instance = instance
        with path.open("wb") as file:
            file.truncate(FILE_BYTES)
        with path.open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), FILE_BYTES, access=mmap.ACCESS_READ)
        self._taken = 0

    def ended(self) -> list[Run]:
        """Return the runs that ended since the last call."""
        (count,) = _WORD.unpack_from(self._memory, 0)
        first, self._taken = self._taken, count
        return [self._run(_RUNS_AT + number * _RUN.size) for number in range(first, count)]

    def current(self) -> list[Run]:
        """Return the runs under way."""
        while True:
            before = self._memory[:16]
            runs = [self._run(_slot_at(slot)) for slot in range(SLOTS)]
            if self._memory[:16] == before:
                return [run for run in runs if run.answer != NONE]

    def close(self) -> None:
        """Forget the file."""
        self._memory.close()

    def _run(self, at: int) -> Run:
        return Run(self.point, self.instance, *_RUN.unpack_from(self._memory, at))


def _slot_at(slot: int) -> int:
    return _SLOTS_AT + slot * _RUN.size
