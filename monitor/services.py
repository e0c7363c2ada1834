"""What the running daemon is made of, handed to its edges."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from killswitch import PointStatus, Switch
from monitor import metrics
from monitor.access import Access
from monitor.config import Config
from monitor.engines.embedded import EmbeddedEngine
from monitor.intake.dead_letters import DeadLetters
from monitor.intake.observation import Observer
from monitor.kill.killer import Killer
from monitor.live.feed import Feed
from monitor.metrics import Metric


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
    access: Access
    engine: EmbeddedEngine
    feed: Feed
    switch: Switch
    killer: Killer
    observer: Observer
    dead_letters: DeadLetters
    store: StoreHealth = field(default_factory=StoreHealth)
    _pace: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=10))

    def note_pace(self) -> None:
        """Remember how many actions there were by now; to be called about once a second."""
        self._pace.append((time.monotonic(), self.engine.actions))

    def status(self) -> dict[str, Any]:
        """Return the `status` message's content."""
        pipeline = self.engine.pipeline
        agents = pipeline.inventory.all()
        return {
            "actions": self.engine.actions,
            "actions_per_s": round(self._actions_per_s(), 1),
            "agents": len(agents),
            "calibrated": self._calibrated(),
            "alerts": self.engine.alerts,
            "points_live": self.store.live,
            "points_total": len(self.store.points),
            "redis": "connected" if self.store.reachable else "unreachable",
            "kills_pending": len(self.killer.pending()),
            "kills_paused": pipeline.is_paused(time.time()),
            "backlog": self.engine.backlog,
            "mode": self.config.response.mode,
        }

    def metrics(self) -> dict[Metric, float]:
        """Return every metric's value."""
        status = self.status()
        return {
            metrics.ACTIONS: status["actions"],
            metrics.REJECTED: self.dead_letters.count,
            metrics.ALERTS: status["alerts"],
            metrics.AGENTS: status["agents"],
            metrics.CALIBRATED: status["calibrated"],
            metrics.BACKLOG: status["backlog"],
            metrics.POINTS: status["points_live"],
            metrics.READERS: self.feed.readers,
            metrics.PENDING: status["kills_pending"],
            metrics.PAUSED: status["kills_paused"],
            metrics.STORE: self.store.reachable,
            metrics.EPOCH: self.engine.epoch,
            metrics.FSYNCS: self.engine.syncs,
        }

    def _calibrated(self) -> int:
        pipeline = self.engine.pipeline
        return sum(
            pipeline.calibration(named.agent_id).state == "calibrated" for named in pipeline.inventory.all()
        )

    def _actions_per_s(self) -> float:
        if len(self._pace) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._pace[0], self._pace[-1]
        return (last - first) / (last_s - first_s)
