"""Waiting until every live enforcement point has confirmed a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from killswitch.clocks import lease_clock_s
from killswitch.errors import BadRecord
from killswitch.registry.points import Ack, Containment, PointLatency, PointStatus, Registry, decode_ack
from killswitch.storage.links import Push

SETTLE_S: Final = 1.25
"""How long it takes until all points are on a registry that began anew: a beat (at most 1 s) and a quarter.

A store that was emptied knows no points until their next beats, and a kill must not count as contained by nobody.
"""

_UNSETTLED: Final = (
    f"the list of enforcement points has just begun and may not be whole; ask again, or wait for {SETTLE_S} s"
    " at least"
)

LATE_WORD_S: Final = 0.05
LATE_WORD_PER_POINT_S: Final = 200e-6
"""How long to listen for what points say that are on the registry as confirmed: mostly it was published at the same
time; but a beat may be ahead of the acknowledgement, and those are spread over 150 µs per point."""

ReadRegistry = Callable[[], Registry]
OnAck = Callable[[Ack], None]


class AckWait:
    """A subscription to acknowledgements. Open it before the write, so that no confirmation is missed."""

    def __init__(self, url: str, channel: str, *, timeout_s: float) -> None:
        self._push = Push(url, [channel], timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the subscription."""
        self._push.close()

    def wait(
        self,
        epoch: int,
        read_registry: ReadRegistry,
        *,
        started_s: float,
        timeout_s: float,
        on_ack: OnAck | None,
        refuses: bool | None = None,
    ) -> Containment:
        """Return once all points that are live have come to `epoch`, or after `timeout_s` seconds.

        Parameters
        ----------
        read_registry : callable
            Reads who is there; called at the start, again once a registry that had just begun has settled
            (:data:`SETTLE_S`; also when nobody at all is on one that never saw a point), and, if somebody is missing,
            at the end: a point that signed off in the meantime is not missing, and one whose acknowledgement was lost
            may be on record as confirmed.
        started_s : float
            From when ``elapsed_ms`` and the points' ``writer_ms`` count, on the lease clock.
        on_ack : callable, optional
            Called with each acknowledgement of this change, or of a later one.
        refuses : bool, optional
            What the points' own checks must answer for the target now. By default, and where a point does not say
            (older ones; those that heard of a later change at the same time), its word for the epoch is enough.
        """
        end_s = lease_clock_s() + timeout_s
        tally = _Tally(epoch, refuses, started_s)
        registry = read_registry()
        young_s = SETTLE_S - (registry.age_s or 0.0)
        if young_s > 0:
            settled_s = lease_clock_s() + young_s
            self._hear(tally, min(end_s, settled_s), on_ack)
            registry = read_registry()
            if lease_clock_s() < settled_s:
                return tally.containment(registry, _UNSETTLED)
        tally.expect(registry)
        if tally.waiting:
            self._hear(tally, end_s, on_ack)
        late_s = lease_clock_s() + LATE_WORD_S + LATE_WORD_PER_POINT_S * len(registry.live)
        while tally.unheard and lease_clock_s() < min(end_s, late_s):
            self._hear(tally, min(end_s, late_s), on_ack)
        if tally.waiting:
            registry = read_registry()
        return tally.containment(registry)

    def _hear(self, tally: _Tally, end_s: float, on_ack: OnAck | None) -> None:
        """Take acknowledgements until `end_s`, or until the last one waited for."""
        while (left_s := end_s - lease_clock_s()) > 0:
            ack = self._next_ack(left_s)
            if ack is None or not tally.note(ack):
                continue
            if on_ack is not None:
                on_ack(ack)
            if tally.has_all_confirmed:
                return

    def _next_ack(self, timeout_s: float) -> Ack | None:
        message = self._push.receive(timeout_s)
        if message is None or message[0] != "message":
            return None
        try:
            return decode_ack(message[2])
        except BadRecord:
            return (
                None  # anybody who may publish can write here; only what reads as an acknowledgement counts
            )


@dataclass(frozen=True, slots=True)
class _Heard:
    ack: Ack
    arrived_s: float


class _Tally:
    """Who has said what about one change."""

    def __init__(self, epoch: int, refuses: bool | None, started_s: float) -> None:
        self._epoch = epoch
        self._refuses = refuses
        self._started_s = started_s
        self._heard: dict[str, _Heard] = {}
        self._expected = False
        self.waiting: set[str] = set()
        self.unheard: set[str] = set()

    def note(self, ack: Ack) -> bool:
        """Take down an acknowledgement; return whether it is about this change (or a later one, which says less)."""
        if ack.epoch < self._epoch:
            return False
        before = self._heard.get(ack.point)
        if before is None or (ack.epoch == self._epoch and before.ack.epoch > self._epoch):
            self._heard[ack.point] = _Heard(ack, lease_clock_s())
        self.waiting.discard(ack.point)
        self.unheard.discard(ack.point)
        return True

    def expect(self, registry: Registry) -> None:
        """Wait for the live points that have not come to the change, neither by word nor on the registry.

        Of a change that was just made, listen to the others too: only their words say what they check and how soon.
        """
        self._expected = True
        fresh = self._refuses is not None
        self.unheard = {point.id for point in registry.live if fresh and point.id not in self._heard}
        self.waiting = {
            point.id
            for point in registry.live
            if point.applied_epoch < self._epoch and point.id not in self._heard
        }

    @property
    def has_all_confirmed(self) -> bool:
        """Whether it is known who had to confirm, and all have."""
        return self._expected and not self.waiting

    def containment(self, registry: Registry, doubt: str = "") -> Containment:
        """Return what is known now of the points that are live; `doubt` counts where nothing worse is known."""
        self.expect(registry)
        live = registry.live
        contrary = {point.id for point in live if self._is_contrary(point)}
        silent = self.waiting | contrary
        arrivals = [heard.arrived_s for heard in self._heard.values()]
        last_s = lease_clock_s() if self.waiting or not arrivals else max(arrivals)
        return Containment(
            epoch=self._epoch,
            confirmed=tuple(point for point in live if point.id not in silent),
            missing=tuple(point for point in live if point.id in self.waiting),
            elapsed_ms=(last_s - self._started_s) * 1e3,
            problem="" if silent else doubt,
            contrary=tuple(point for point in live if point.id in contrary),
            latencies=tuple(self._latency(point) for point in live if point.id in self._heard),
        )

    def _is_contrary(self, point: PointStatus) -> bool:
        heard = self._heard.get(point.id)
        if heard is None or self._refuses is None or heard.ack.refuses is None:
            return False
        # At a later epoch its answer was about another target.
        return heard.ack.epoch == self._epoch and heard.ack.refuses is not self._refuses

    def _latency(self, point: PointStatus) -> PointLatency:
        heard = self._heard[point.id]
        own_ms = heard.ack.latency_ms if heard.ack.epoch == self._epoch else None
        return PointLatency(point, own_ms, (heard.arrived_s - self._started_s) * 1e3)
