"""Whether a kill would be enforced now, as far as anybody can know: from the last drill, and who lives now. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from killswitch import PointStatus
from killswitch.drills.drill_record import Drill

STALE_INTERVALS: Final = 2  # a drill older than so many intervals proves nothing about today
MAX_NAMED: Final = 3


class Readiness(NamedTuple):
    """The claim, and in one sentence why it cannot be made; empty if it can."""

    ready: bool
    why: str


def readiness(
    drill: Drill | None, *, now_s: float, interval_s: float, reachable: bool, points: Iterable[PointStatus]
) -> Readiness:
    """Return whether a kill would be enforced.

    Parameters
    ----------
    drill : Drill or None
        The newest of all points.
    interval_s : float
        How often drills run, in seconds; 0: not at all, and then nothing is claimed.
    """
    why = _hindrance(drill, now_s, interval_s, reachable, [point for point in points if point.live])
    return Readiness(not why, why)


def _hindrance(
    drill: Drill | None, now_s: float, interval_s: float, reachable: bool, live: list[PointStatus]
) -> str:
    if not reachable:
        return "the revocation store does not answer"
    if not interval_s:
        return "drills are turned off ([drill] interval_s = 0), so nothing is known"
    if not live:
        return "no enforcement point lives: a kill would stop nobody that is known"
    if drill is None:
        return "there was no drill yet"
    if drill.verdict != "passed":
        return f"the last drill did not pass: {drill}"
    if drill.durable is False:
        return "in the last drill the store did not have the change on disk in time"
    age_s = now_s - drill.at_s
    if age_s > STALE_INTERVALS * interval_s:
        return f"the last drill was {age_s:.0f} s ago"
    return _newcomers(drill, live)


def newcomers(drill: Drill | None, live: Iterable[PointStatus]) -> list[PointStatus]:
    """Return the points among `live` that did not take part in the drill."""
    took_part = {point.id for point in drill.points} if drill else set()
    return [point for point in live if point.id not in took_part]


def _newcomers(drill: Drill, live: list[PointStatus]) -> str:
    new = newcomers(drill, live)
    if not new:
        return ""
    names = ", ".join(str(point) for point in new[:MAX_NAMED])
    more = f" and {len(new) - MAX_NAMED} more" if len(new) > MAX_NAMED else ""
    return f"not drilled yet: {names}{more}"


def drill_fields(drill: Drill | None) -> dict[str, Any] | None:
    """Return what the status says of the last drill."""
    if drill is None:
        return None
    return {
        "at": drill.at_s,
        "verdict": drill.verdict,
        "passed": drill.verdict == "passed",
        "p50_ms": drill.latency_ms(0.5),
        "p99_ms": drill.latency_ms(0.99),
        "max_ms": drill.latency_ms(1),
        "points": len(drill.points),
        "failing": len(drill.failing),
    }
