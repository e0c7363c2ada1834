"""The daemon's drills: on a schedule, soon after start, and soon after new enforcement points came.

A point that would not stop an agent raises an alert before it is needed. The canary is a session that nobody has, so
no model, no agent and no budget knows of it; its changes are on the feed like any other, marked as a drill.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from killswitch.drills.drill import run_drill
from killswitch.drills.drill_record import Drill
from monitor.core.alerts import Alert, alert_id, switch_alert
from monitor.kill.drill_log import DrillLog
from monitor.kill.readiness import newcomers
from monitor.live.messages import alert_message

if TYPE_CHECKING:
    from monitor.services import Services

log = logging.getLogger("killcord.drills")

BY: Final = "killcord/drill"
FIRST_AFTER_S: Final = 10.0  # points that lost their store with the last daemon are back by then
NEWCOMERS_AFTER_S: Final = 30.0  # at least so long between two drills, however many points come and go
FIRST_RETRY_S: Final = 60.0  # after a failed drill; twice as long each time, up to the interval
LOOK_EVERY_S: Final = 1.0
MAX_REASONS: Final = 20


@dataclass
class Drills:
    """What the daemon knows of its drills. Belongs to the event loop."""

    log: DrillLog = field(default_factory=DrillLog)
    failures: int = 0
    failed_in_a_row: int = 0
    _told: frozenset[str] = frozenset()

    def is_news(self, drill: Drill) -> bool:
        """Return whether people have not been told of this failure yet: an incident is one alert, not one a drill."""
        failing = frozenset(point.id for point in drill.failing) or frozenset({drill.verdict})
        told, self._told = self._told, failing if drill.verdict == "failed" else frozenset()
        return not self._told <= told

    def next_after_s(self, interval_s: float) -> float:
        """Return the seconds until the next drill: sooner after a failure, so that its end is seen too."""
        if not self.failed_in_a_row:
            return interval_s
        return min(interval_s, FIRST_RETRY_S * float(2 ** min(self.failed_in_a_row - 1, 16)))

    def age_s(self, now_s: float) -> float:
        """Return how long ago the last drill of all points was, in seconds; infinity if there was none."""
        last = self.log.newest()
        return float("inf") if last is None else max(0.0, now_s - last.at_s)


async def run_drills(services: Services) -> None:
    """Drill for as long as the daemon runs; returns at once if drills are turned off. Raises nothing of a drill's."""
    interval_s = services.config.drill.interval_s
    if not interval_s:
        return
    started_s = time.monotonic()
    due_s = started_s + _jittered(min(FIRST_AFTER_S, interval_s))
    newcomers_due_s = due_s
    while True:
        await asyncio.sleep(min(LOOK_EVERY_S, interval_s / 4))
        now_s = time.monotonic()
        if now_s < due_s and not (now_s >= newcomers_due_s and _has_newcomers(services)):
            continue
        if services.store.live or not services.store.reachable:  # with nobody there, there is nothing to show
            await _drill_once(services)
        due_s = time.monotonic() + _jittered(services.drills.next_after_s(interval_s))
        newcomers_due_s = time.monotonic() + min(NEWCOMERS_AFTER_S, interval_s)


def _has_newcomers(services: Services) -> bool:
    live = (point for point in services.store.points if point.live)
    return services.store.reachable and bool(newcomers(services.drills.log.newest(), live))


async def _drill_once(services: Services) -> None:
    drills = services.drills
    try:
        drill = await asyncio.to_thread(
            run_drill, services.writer, by=BY, promise_ms=services.config.drill.promise_ms
        )
        await asyncio.to_thread(drills.log.add, drill)
    except Exception:  # the root of this task: whatever broke off, the next drill must come
        drills.failures += 1
        drills.failed_in_a_row += 1
        log.exception("a drill broke off, or could not be kept")
        return
    is_news = drills.is_news(drill)
    if drill.verdict != "failed":
        drills.failed_in_a_row = 0
        log.info("drill: %s", drill)
        return
    drills.failures += 1
    drills.failed_in_a_row += 1
    log.error("drill: %s", "; ".join([str(drill), *(f"{point} {point.problem}" for point in drill.failing)]))
    if is_news:
        await services.desk.publish([alert_message(drill_alert(drill, time.time()))])


def drill_alert(drill: Drill, now_s: float) -> Alert:
    """Return the alert that a failed drill raises; one, however many points failed."""
    failing = drill.failing
    first = f": {failing[0]} {failing[0].problem}" if failing else ""
    return switch_alert(
        "drill_failed",
        alert_id(BY, drill.id, "drill_failed"),
        now_s,
        title=f"a kill would not be enforced everywhere: {drill}{first}",
        expected="refuses the canary in time, and allows it again",
        why="see to the enforcement point before it is needed; killcord drill shows whether it is put right",
        about=BY,
        action_id=drill.id,
        sentences=[f"{point} {point.problem}" for point in failing[:MAX_REASONS]],
    )


def _jittered(after_s: float) -> float:
    """Spread daemons out, so that a fleet of them does not drill in step."""
    return after_s * random.uniform(0.8, 1.2)  # noqa: S311 - not a secret
