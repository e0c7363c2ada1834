"""What the running daemon is made of, handed to its edges."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from killswitch import PointStatus, Switch
from monitor import metrics
from monitor.alerts.desk import Desk
from monitor.alerts.open_now import OpenNow
from monitor.config import Config
from monitor.delivery.deliveries import Deliveries
from monitor.engines.embedded import EmbeddedEngine
from monitor.gate import Gate
from monitor.intake.dead_letters import DeadLetters
from monitor.intake.observation import Observer
from monitor.kill.drills import Drills
from monitor.kill.guardian import Guardian
from monitor.kill.journal_drain import JournalDrain
from monitor.kill.killer import Killer
from monitor.kill.readiness import Readiness, drill_fields, readiness
from monitor.live.feed import Feed
from monitor.live.heartbeat import Book, Heartbeat
from monitor.metrics import KILL_LATENCY_BOUNDS_S, Histogram, Labelled, Metric
from monitor.record.host import RecorderHost
from monitor.telemetry import Telemetry


@dataclass
class StoreHealth:
    """What the last look at the store found."""

    reachable: bool = False
    points: tuple[PointStatus, ...] = ()

    @property
    def live(self) -> int:
        """How many enforcement points are alive."""
        return sum(point.live for point in self.points)


@dataclass
class Services:
    """The parts of one daemon."""

    config: Config
    gate: Gate
    engine: EmbeddedEngine
    feed: Feed
    desk: Desk
    switch: Switch  # for what people ask: keeps a kill in the journal if the store is away
    writer: Switch  # for the daemon's own changes: raises then
    killer: Killer
    kept: JournalDrain
    observer: Observer
    dead_letters: DeadLetters
    recorder: RecorderHost
    store: StoreHealth = field(default_factory=StoreHealth)
    guardian: Guardian | None = None
    deliveries: Deliveries = field(default_factory=Deliveries)
    drills: Drills = field(default_factory=Drills)
    kill_latency: Histogram = field(default_factory=lambda: Histogram(KILL_LATENCY_BOUNDS_S))
    telemetry: Telemetry = field(default_factory=Telemetry)
    _calibrated: int = 0
    _count_due_s: float = 0.0
    book: Book | None = None
    heartbeat: Heartbeat = field(init=False)
    _pace: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=10))

    def __post_init__(self) -> None:
        self.heartbeat = Heartbeat(self.status)
        self.book = self.book or OpenNow(self.desk.book)

    def note_pace(self) -> None:
        """Remember how many actions there were by now; to be called about once a second."""
        self._pace.append((time.monotonic(), self.engine.actions))

    def status(self) -> dict[str, Any]:
        """Return the `status` message's content."""
        pipeline = self.engine.pipeline
        ready = self.readiness()
        return {
            "actions": self.engine.actions,
            "actions_per_s": round(self._actions_per_s(), 1),
            "agents": len(pipeline.inventory),
            "calibrated": self._count_calibrated(),
            "alerts": self.engine.alerts,
            "points_live": self.store.live,
            "points_total": len(self.store.points),
            "redis": "connected" if self.store.reachable else "unreachable",
            "kills_pending": len(self.killer.pending()) + self.kept.pending(),
            "kills_paused": pipeline.is_paused(time.time()),
            "backlog": self.engine.backlog,
            "mode": self.config.response.mode,
            "kill_ready": ready.ready,
            "kill_ready_why": ready.why,
            "last_drill": drill_fields(self.drills.log.newest()),
        }

    def readiness(self) -> Readiness:
        """Return whether a kill would be enforced now, as far as drills have shown."""
        return readiness(
            self.drills.log.newest(),
            now_s=time.time(),
            interval_s=self.config.drill.interval_s,
            reachable=self.store.reachable,
            points=self.store.points,
        )

    def metrics(self) -> dict[Metric, float | Labelled]:
        """Return the values of what the parts know of themselves; `telemetry.measured` has the others."""
        status = self.status()
        return {
            metrics.ACTIONS: status["actions"],
            metrics.REJECTED: self.dead_letters.count,
            metrics.ALERTS: status["alerts"],
            metrics.AGENTS: status["agents"],
            metrics.CALIBRATED: status["calibrated"],
            metrics.BACKLOG: status["backlog"],
            metrics.POINTS: status["points_live"],
            **self.feed.traffic.metrics(),
            **self.deliveries.metrics(),
            metrics.PENDING: status["kills_pending"],
            metrics.PAUSED: status["kills_paused"],
            metrics.STORE: self.store.reachable,
            metrics.EPOCH: self.engine.epoch,
            metrics.FSYNCS: self.engine.syncs,
            metrics.MENDED: self.guardian.mended if self.guardian else 0,
            metrics.UNRECORDED: self.engine.unrecorded_changes,
            metrics.DAMAGED: self.kept.damaged(),
            metrics.KILL_READY: status["kill_ready"],
            metrics.DRILL_FAILURES: self.drills.failures,
            metrics.ALERTS_OPEN: self.desk.book.open_groups,
            metrics.ALERTS_DROPPED: self.desk.book.dropped_open,
            metrics.MUTES: len(self.desk.book.mutes.in_force(time.time())),
            metrics.DRILL_AGE: self.drills.age_s(time.time()),
            metrics.SESSIONS: len(self.gate.sessions),
            metrics.WRONG_TOKENS: self.gate.throttle.failures,
            metrics.TURNED_AWAY: self.gate.throttle.turned_away,
            metrics.UNWRITTEN: self.gate.trail.unwritten,
        }

    def histograms(self) -> dict[Metric, Histogram]:
        """Return every histogram."""
        return {
            metrics.KILL_LATENCY: self.kill_latency,
            metrics.INGEST_LATENCY: self.telemetry.ingest_latency,
            metrics.SCORING_LAG: self.engine.scoring_lag,
        }

    def _count_calibrated(self) -> int:
        """Count anew at most so often that it takes a fiftieth of the time: everybody asks, every second."""
        started_s = time.monotonic()
        if started_s >= self._count_due_s:
            self._calibrated = self.engine.pipeline.count_calibrated()
            self._count_due_s = time.monotonic() + 50 * (time.monotonic() - started_s)
        return self._calibrated

    def _actions_per_s(self) -> float:
        if len(self._pace) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._pace[0], self._pace[-1]
        return (last - first) / (last_s - first_s)
