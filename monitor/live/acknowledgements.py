"""How quickly each enforcement point confirmed each change, on the daemon's own clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from killswitch import Ack, Change
from killswitch.trust.approvals import is_canary
from monitor.live.feed import now_text

MAX_CHANGES = 1000


class _Awaited:
    __slots__ = ("is_drill", "points", "seen_s")

    def __init__(self, seen_s: float, is_drill: bool) -> None:
        self.seen_s = seen_s
        self.is_drill = is_drill
        self.points: set[str] = set()


class Acknowledgements:
    """Matches acknowledgements with changes; remembers the newest 1,000 changes. Belongs to one thread.

    Parameters
    ----------
    observe : callable, optional
        Told each point's latency for each change, once, in seconds.
    """

    def __init__(self, observe: Callable[[float], None] | None = None) -> None:
        self._observe = observe
        self._awaited: dict[int, _Awaited] = {}

    def note_change(self, change: Change) -> None:
        """Start the change's clock: now it was pushed to the daemon, and in the same moment to the points."""
        if len(self._awaited) >= MAX_CHANGES:
            del self._awaited[next(iter(self._awaited))]
        self._awaited[change.epoch] = _Awaited(time.monotonic(), is_canary(change.target))

    def message(self, ack: Ack, live: int) -> dict[str, Any]:
        """Return the feed message; `latency_ms` is from the change's push to the acknowledgement's, as seen here.

        It is null for an acknowledgement of changes that the daemon did not see pushed, such as a point's first.
        `own_ms` and `refuses` are the point's own words: from the writer's stamp until it enforced the change, by its
        clock, and what its check answers now. `drill` says that the change was a drill's.
        """
        awaited = self._awaited.get(ack.epoch)
        latency_ms = None
        if awaited:
            latency_ms = round((time.monotonic() - awaited.seen_s) * 1000, 3)
            if self._observe and ack.point not in awaited.points:
                self._observe(latency_ms / 1000)
            awaited.points.add(ack.point)
        confirmed = len(awaited.points) if awaited else 1
        return {
            "type": "acknowledgement",
            "ts": now_text(),
            "acknowledgement": {
                "epoch": ack.epoch,
                "point": ack.name,
                "point_id": ack.point,
                "latency_ms": latency_ms,
                "own_ms": ack.latency_ms,
                "refuses": ack.refuses,
                "drill": awaited is not None and awaited.is_drill,
                "confirmed": confirmed,
                "live": max(live, confirmed),  # a point may confirm before the daemon has looked who is there
            },
        }
