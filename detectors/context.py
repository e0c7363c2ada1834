"""What came before an action: the tools its session used, and flagged actions that wait for a verdict."""

from __future__ import annotations

import numpy as np

from detectors.compiler import kernel
from detectors.layout import PENDING, SESSIONS, Row
from detectors.signals import START

_MOST_STEPS = 255
_UNKNOWN = 255  # a pending action's bin that was not known


@kernel
def place_of(row: Row, session: int) -> int:
    """Return where a session lies among the agent's latest, -1 if it is not there."""
    for i in range(SESSIONS):
        if row["sessions"][i] == session:
            return i
    return -1


@kernel
def previous_tool(row: Row, session: int) -> np.uint64:
    """Return the tool that the session used last, 0 if it is not among the agent's latest."""
    at = place_of(row, session)
    none = np.uint64(0)  # unsigned like the tools, or a float would be compiled
    return np.uint64(row["session_tools"][at]) if at >= 0 else none


@kernel
def fold(hash_: np.uint64) -> int:
    """Return the 32-bit fingerprint of a 64-bit hash; `START` for none."""
    return START if hash_ == np.uint64(0) else int(np.int64(hash_ >> np.uint64(32)))


@kernel
def enter_session(row: Row, session: int, tool: np.uint64, suspected: int) -> None:
    """Make a session the agent's latest, with the tool that it used and the suspicion it is under."""
    sessions = row["sessions"]
    tools = row["session_tools"]
    suspicion = row["suspicion"]
    steps = row["session_steps"]
    taken = steps_of(row, session)
    at = 0
    while at < SESSIONS - 1 and sessions[at] != session:
        at += 1
    while at > 0:
        sessions[at] = sessions[at - 1]
        tools[at] = tools[at - 1]
        suspicion[at] = suspicion[at - 1]
        steps[at] = steps[at - 1]
        at -= 1
    sessions[0] = session
    tools[0] = tool
    suspicion[0] = suspected
    steps[0] = min(taken + 1, _MOST_STEPS)


@kernel
def steps_of(row: Row, session: int) -> int:
    """Return how many actions the session has taken, 255 at most; 0 if it is not among the agent's latest."""
    at = place_of(row, session)
    return int(row["session_steps"][at]) if at >= 0 else 0


@kernel
def suspicion_of(row: Row, session: int) -> int:
    """Return how many further actions of the session teach nothing because one of it was flagged."""
    at = place_of(row, session)
    return int(row["suspicion"][at]) if at >= 0 else 0


@kernel
def trust(row: Row, session: int) -> None:
    """Let the session teach again: people said that what was flagged is normal."""
    at = place_of(row, session)
    if at >= 0:
        row["suspicion"][at] = 0


@kernel
def remember(row: Row, action: int, previous: int, gap: int, pace: int) -> None:
    """Keep the context of a flagged action until its verdict; the oldest of six is forgotten."""
    for i in range(PENDING - 1, 0, -1):
        row["pending"][i] = row["pending"][i - 1]
        row["pending_tools"][i] = row["pending_tools"][i - 1]
        row["pending_bins"][i, 0] = row["pending_bins"][i - 1, 0]
        row["pending_bins"][i, 1] = row["pending_bins"][i - 1, 1]
    row["pending"][0] = action
    row["pending_tools"][0] = previous
    row["pending_bins"][0, 0] = gap if gap >= 0 else _UNKNOWN
    row["pending_bins"][0, 1] = pace if pace >= 0 else _UNKNOWN


@kernel
def recall(row: Row, action: int) -> tuple[int, int, int]:
    """Return previous tool, gap and pace of a formerly flagged action, and forget them; -1 each if unknown."""
    for i in range(PENDING):
        if row["pending"][i] == action:
            row["pending"][i] = 0
            gap = int(row["pending_bins"][i, 0])
            pace = int(row["pending_bins"][i, 1])
            return (
                int(row["pending_tools"][i]),
                gap if gap != _UNKNOWN else -1,
                pace if pace != _UNKNOWN else -1,
            )
    return -1, -1, -1
