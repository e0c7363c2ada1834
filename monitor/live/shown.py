"""The feed's log, read once at start: for the alerts' book, and so that recovery shows nothing twice."""

from __future__ import annotations

from monitor.alerts.keeper import Keeper
from monitor.alerts.logged import decode_alert
from monitor.engines.contract import Shown
from monitor.log.segments import SegmentedLog


def read_feed(feed_log: SegmentedLog, keeper: Keeper) -> Shown:
    """Have the feed's log taken up by the alerts' book, and return what people were shown already; one pass for both.

    That is the ids of all alerts, of their kills, and the last epoch whose transition is there.
    """
    alert_ids, change_ids, epoch = set(), set(), 0
    for frame in feed_log.read():
        message = keeper.note(frame.first_seq, frame.payload)
        if message and bytes(message.alert):
            alert = decode_alert(message.alert)
            alert_ids.add(alert.id)
            if alert.response.change_id:
                change_ids.add(alert.response.change_id)
        if message and message.transition:
            epoch = max(epoch, message.transition.epoch)
    return Shown(frozenset(alert_ids), frozenset(change_ids), epoch)
