"""What the feed already showed, read from its log at start, so that recovery shows nothing twice."""

from __future__ import annotations

import msgspec

from monitor.engines.embedded import Shown
from monitor.record.segments import SegmentedLog


class _Response(msgspec.Struct):
    change_id: str | None = None


class _Alert(msgspec.Struct):
    id: str
    response: _Response


class _Transition(msgspec.Struct):
    epoch: int


class _Message(msgspec.Struct):
    """The parts of a feed message that matter here."""

    type: str
    alert: _Alert | None = None
    transition: _Transition | None = None


_decode = msgspec.json.Decoder(_Message).decode


def read_shown(feed_log: SegmentedLog) -> Shown:
    """Return the ids of all alerts in the feed's log, their kills, and the last epoch whose transition is there."""
    alert_ids, change_ids, epoch = set(), set(), 0
    for frame in feed_log.read():
        message = _decode(frame.payload)
        if message.alert:
            alert_ids.add(message.alert.id)
            if message.alert.response.change_id:
                change_ids.add(message.alert.response.change_id)
        if message.transition:
            epoch = max(epoch, message.transition.epoch)
    return Shown(frozenset(alert_ids), frozenset(change_ids), epoch)
