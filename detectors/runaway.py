"""Agents that run away: far faster than on any earlier day, or awake at an hour at which they never were.

That is a malfunction more often than an attack, so it is an alert of its own kind and no evidence of a hijack. Haste is
held against the highest pace of *earlier* windows, not of the latest minutes: a slow ramp would otherwise carry its own
baseline along. A window lasts a day; while less than four are known, a quarter of what is known.
"""

from __future__ import annotations

import math

from detectors.compiler import kernel
from detectors.layout import HOURS, Row
from detectors.tables import Table

STEADY, HASTE, ODD_HOUR = range(3)
"""What `runaway` answers."""

FACTOR = 8.0
"""Times the highest pace of any earlier window; ours."""
LEAST = 30.0
"""Actions in about a minute below which nobody is hasty."""
AWAKE_S = 3600.0
"""After so long without an action the next one is a waking."""
_SHARE = 0.1  # of the alert budget, for odd hours
_HOUR_S = 3600.0
_DAY_S = 86_400.0
_WAKINGS_LIMIT = 60_000


@kernel
def runaway(
    row: Row, ts_s: float, gap_s: float, level: float, known: bool, alerts_per_agent_day: float
) -> int:
    """Return whether an agent runs away with this action.

    Parameters
    ----------
    level
        Decayed count of its actions in the last minute or so, this one included.
    known
        Whether enough of the agent was seen to say so.

    """
    if not known or not math.isfinite(ts_s):
        return STEADY
    if level >= LEAST and row["peak_before"] > 0.0 and level >= FACTOR * row["peak_before"]:
        return HASTE
    if gap_s >= AWAKE_S and odd(row["hours"], hour_of(ts_s)) <= _SHARE * alerts_per_agent_day / wakings_a_day(
        row
    ):
        return ODD_HOUR
    return STEADY


@kernel
def hour_of(ts_s: float) -> int:
    """Return the hour of the day, UTC."""
    return int(ts_s / _HOUR_S) % HOURS


@kernel
def odd(hours: Table, hour: int) -> float:
    """Return how often the agent woke within an hour of this one, smoothed by one waking at any hour."""
    near = float(hours[(hour - 1) % HOURS]) + float(hours[hour]) + float(hours[(hour + 1) % HOURS])
    whole = 0.0
    for i in range(HOURS):
        whole += float(hours[i])
    return float((near + 3.0 / HOURS) / (whole + 1.0))


@kernel
def wakings_a_day(row: Row) -> float:
    """Return how often a day the agent wakes, at least once."""
    whole = 0.0
    for i in range(HOURS):
        whole += float(row["hours"][i])
    return float(max(1.0, whole / max(1.0, row["span_s"] / _DAY_S)))


@kernel
def note_pace(row: Row, ts_s: float, gap_s: float, level: float, verdict: int) -> None:
    """Let the windows and the hours move on; after an alert the pace that was told of is the one to exceed."""
    if not math.isfinite(ts_s):
        return
    if verdict == HASTE:
        row["peak_before"] = level
    elif ts_s - row["window_s"] >= max(_HOUR_S, min(_DAY_S, row["span_s"] / 4.0)):
        # What was highest fades by a tenth a window, so that one wild day does not blind for ever.
        row["peak_before"] = max(row["peak_now"], 0.9 * row["peak_before"])
        row["peak_now"] = level
        row["window_s"] = ts_s
    row["peak_now"] = max(row["peak_now"], level)
    if gap_s >= AWAKE_S:
        hours = row["hours"]
        hours[hour_of(ts_s)] += 1
        if hours[hour_of(ts_s)] > _WAKINGS_LIMIT:
            for i in range(HOURS):
                hours[i] = hours[i] >> 1
