"""Recorded streams as an action log would hold them: checked, observed, in the order of time, each id once."""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path

from monitor.errors import ActionError, HistoryError
from monitor.intake.action import action_from_fields
from monitor.intake.observation import Observation, Observer
from monitor.intake.recordings import find_recording, read_recording
from monitor.intake.seen_ids import SeenIds
from monitor.log.entries import Actions

CHUNK = 1000
NAMED_REFUSALS = 5
_SECRET = bytes(
    32
)  # digests leave the process with nobody, and the same stream gives the same scores everywhere


class RecordedHistory:
    """The actions of recorded streams as entries of a log, to be iterated once; several streams are merged by time.

    Parameters
    ----------
    last_s
        Only the actions of so many seconds before the newest one; finding that one reads every stream once more.
    dedupe_ids
        How many ids are remembered, so that the same id of the same agent counts once.

    Raises
    ------
    HistoryError
        If there is no recording at a path.
    """

    def __init__(self, paths: Sequence[Path], *, last_s: float | None, dedupe_ids: int) -> None:
        try:
            self._files = [find_recording(path) for path in paths]
        except ActionError as error:
            raise HistoryError(str(error)) from error
        self._last_s = last_s
        self._seen = SeenIds(dedupe_ids, 0)
        self.duplicates = 0
        self.rejected = 0
        self.refusals: list[str] = []
        """Why the first few actions were refused."""

    def __iter__(self) -> Iterator[Actions]:
        since_s = 0.0 if self._last_s is None else self._newest_s() - self._last_s
        streams = [self._observed(file, note=True) for file in self._files]
        merged = heapq.merge(*streams, key=operator.attrgetter("ts_s"))
        wanted = (action for action in merged if action.ts_s >= since_s and self._is_new(action))
        while chunk := list(itertools.islice(wanted, CHUNK)):
            yield Actions(max(action.ts_s for action in chunk), chunk)

    def _newest_s(self) -> float:
        return max(
            (action.ts_s for file in self._files for action in self._observed(file, note=False)),
            default=0.0,
        )

    def _observed(self, file: Path, *, note: bool) -> Iterator[Observation]:
        observer = Observer(_SECRET, store_args=False)
        for number, document in enumerate(read_recording(file), 1):
            try:
                yield observer.observe(action_from_fields(document))
            except ActionError as error:
                if note:
                    self._refuse(f"{file.name}, action {number}: {error.field}: {error}")

    def _is_new(self, action: Observation) -> bool:
        is_new = self._seen.is_new(action.agent_id, action.id)
        self.duplicates += not is_new
        return is_new

    def _refuse(self, why: str) -> None:
        self.rejected += 1
        if len(self.refusals) < NAMED_REFUSALS:
            self.refusals.append(why)
