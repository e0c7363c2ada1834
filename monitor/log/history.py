"""The action log as history, read beside the daemon that may be writing it: no lock, no write, one frame at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from monitor.errors import HistoryError
from monitor.log import entries
from monitor.log.entries import Entry
from monitor.log.segments import read_log, segment_starts


def read_history(directory: Path, last_s: float | None = None) -> Iterator[Entry]:
    """Yield the entries of the log in `directory`, in order; none if there is no log.

    Parameters
    ----------
    last_s
        Only what was received in so many seconds before the newest entry. What was in force before that is not known
        then, nor what retention has deleted.

    Raises
    ------
    LogError
        At the first damaged frame.
    HistoryError
        If the files may not be read.
    """
    try:
        since_s, first_seq = (float("-inf"), 0) if last_s is None else _since(directory, last_s)
        for frame in read_log(directory, first_seq):
            entry = entries.decode(frame.payload)
            if entry.now_s >= since_s:
                yield entry
    except OSError as error:
        raise HistoryError(f"the action log in {directory} cannot be read: {error}") from error


def _since(directory: Path, last_s: float) -> tuple[float, int]:
    """Return the time from which entries count, and a number from which on to read: whole segments are passed over."""
    starts = segment_starts(directory)
    newest = next((entry for start in reversed(starts) if (entry := _last_from(directory, start))), None)
    if newest is None:
        return float("-inf"), 0
    since_s = newest.now_s - last_s
    for start in reversed(starts):
        first = next(read_log(directory, start), None)
        if first is not None and entries.decode(first.payload).now_s < since_s:
            return since_s, start
    return since_s, 0


def _last_from(directory: Path, first_seq: int) -> Entry | None:
    frame = None
    for frame in read_log(directory, first_seq):  # noqa: B007 - the last one is wanted
        pass
    return None if frame is None else entries.decode(frame.payload)
