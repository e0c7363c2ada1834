"""Waiting until every live enforcement point has confirmed a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from killswitch.clocks import lease_clock_s
from killswitch.errors import BadRecord
from killswitch.links import Push
from killswitch.points import Ack, Containment, PointStatus, decode_ack

ReadPoints = Callable[[], list[PointStatus]]


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
        read_points: ReadPoints,
        *,
        started_s: float,
        timeout_s: float,
        on_ack: Callable[[Ack], None] | None,
    ) -> Containment:
        """Return once all points that are live have come to `epoch`, or after `timeout_s` seconds.

        Parameters
        ----------
        read_points : callable
            Reads the registry; called at the start and, if somebody is missing, at the end: a point that
            signed off in the meantime is not missing, and one whose acknowledgement was lost may be on record
            as confirmed.
        started_s : float
            From when ``elapsed_ms`` counts, on the lease clock.
        """
        end_s = lease_clock_s() + timeout_s
        live = {point.id: point for point in read_points() if point.live}
        waiting = {point_id for point_id, point in live.items() if point.applied_epoch < epoch}
        last_s = lease_clock_s()
        while waiting and (left_s := end_s - lease_clock_s()) > 0:
            ack = self._next_ack(left_s)
            if ack is None:
                continue
            if ack.epoch >= epoch and ack.point in waiting:
                waiting.discard(ack.point)
                last_s = lease_clock_s()
            if on_ack is not None:
                on_ack(ack)
        if waiting:
            last_s = lease_clock_s()
            live = {point.id: point for point in read_points() if point.live}
            waiting = {point_id for point_id, point in live.items() if point.applied_epoch < epoch}
        return Containment(
            epoch=epoch,
            confirmed=tuple(point for point_id, point in live.items() if point_id not in waiting),
            missing=tuple(live[point_id] for point_id in waiting),
            elapsed_ms=(last_s - started_s) * 1e3,
        )

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
