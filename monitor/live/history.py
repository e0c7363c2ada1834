"""The history of kills and restorations, newest first, from the feed's log on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from monitor.log.segments import Frame, read_log, segment_starts

MAX_SEGMENTS: Final = 4
"""Security limit: one page reads no more segments of the log than this; its cursor leads on from there."""

_MARK: Final = b'"transition"'


class Page(NamedTuple):
    """A part of the history, newest first. `next` is the cursor of the following one, None at the end.

    A page may hold fewer than were asked for, even none, and still have a `next`: kills are rare in a log.
    """

    transitions: list[dict[str, Any]]
    next: int | None


def transitions(directory: Path, *, before: int | None, limit: int, drills: bool) -> Page:
    """Return the newest changes of the revocation state whose feed message is numbered below `before`. Blocks.

    Parameters
    ----------
    drills
        Whether the changes that drills made are wanted too; each change says in ``drill`` whether it is one.

    Raises
    ------
    LogError
        If the log is damaged where it is read.
    """
    found: list[dict[str, Any]] = []
    end = before
    starts = [start for start in segment_starts(directory) if before is None or start < before]
    for start in reversed(starts[-MAX_SEGMENTS:]):
        for change in reversed(list(_of_segment(directory, start, end))):
            if drills or not change["drill"]:
                found.append(change)
            if len(found) == limit:
                return Page(found, change["seq"] if change["seq"] > starts[0] else None)
        end = start
    return Page(found, end if end is not None and len(starts) > MAX_SEGMENTS else None)


def _of_segment(directory: Path, start: int, end: int | None) -> Iterator[dict[str, Any]]:
    for frame in read_log(directory, start):
        if end is not None and frame.first_seq >= end:
            return
        change = _transition(frame)
        if change is not None:
            yield change


def _transition(frame: Frame) -> dict[str, Any] | None:
    if _MARK not in frame.payload:
        return None
    message = msgspec.json.decode(frame.payload)
    if message["type"] != "transition":
        return None
    return {"seq": frame.first_seq, "ts": message["ts"], **message["transition"]}
