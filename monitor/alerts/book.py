"""The book of all groups, made from the feed's messages alone. Pure: the same messages give the same book.

Theory of operation
-------------------
The feed's log is the only place where alerts, people's changes and mutes are written. The book is a fold over it:
`apply` every message in the order of the log, at start from disk and later as each becomes durable, and nothing else
changes it. So what people see is never ahead of the disk, and after a ``kill -9`` the book is what the log says.

An alert's message says which group it was put in (`GroupRef`); the book believes it, so that another configuration
does not regroup the past. `place` decides for a new alert: the newest group of the same agent, verdict and leading
signal, unless that is closed or its last alert is as old as the window.

Memory is bounded. Of closed groups the longest closed are dropped beyond `max_closed_groups`: they are then no longer
listed and no precedents, and their messages stay in the feed's log as long as that keeps them. Of open ones the longest
untouched is dropped beyond `max_open_groups`; the caller is told which, to say so. Both kinds are dropped when nobody
touched them for `closed_days`. Of single alerts the newest `KEPT_ALERTS` are remembered, beside each group's first.
A group whose older messages retention has deleted from the log starts, after a restart, with what the log still has.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec

from monitor.alerts.group import Group, Key
from monitor.alerts.life import Change, Life
from monitor.alerts.logged import Logged, LoggedAlert, decode_alert
from monitor.alerts.mutes import Mutes
from monitor.config import Alerts
from monitor.errors import ChangeRefused
from monitor.live.message_types import AlertChange, GroupRef

KEPT_ALERTS: Final = 50_000
"""Security limit: alerts that are remembered with their group."""

SHOWN_ALERTS: Final = 50
MAX_PRECEDENTS: Final = 10
DAY_S: Final = 86_400.0


class _Kept(msgspec.Struct, gc=False, eq=False):
    group: Group
    alert: bytes
    before: str
    """Id of the group's alert before it, "" for the first: newest first, a group's alerts are a chain."""


class Book:
    """All groups and mutes. Belongs to one thread; every look-up by id takes constant time."""

    def __init__(self, config: Alerts, *, kept_alerts: int = KEPT_ALERTS) -> None:
        self._config = config
        self._kept_alerts = kept_alerts
        self.mutes = Mutes(config.max_mutes)
        self._groups: OrderedDict[str, Group] = OrderedDict()  # by last alert
        self._open: OrderedDict[str, Group] = OrderedDict()  # by last touch; all that are not closed
        self._closed: OrderedDict[str, Group] = OrderedDict()  # by last touch
        self._closed_by_signal: dict[str, OrderedDict[str, Group]] = {}  # by closing
        self._newest: dict[Key, Group] = {}
        self._alerts: OrderedDict[str, _Kept] = OrderedDict()
        self.dropped_open = 0
        """How many groups were dropped that nobody had closed."""

    # -- the fold -----------------------------------------------------------------------------------------------

    def apply(self, seq: int, message: Logged) -> list[Group]:
        """Take up the message with that number; return the open groups that had to be dropped for want of room."""
        if bytes(message.alert):
            self._alert(seq, message, bytes(message.alert))
        elif message.alert_change is not None:
            self._change(message.alert_change)
        elif message.mute is not None:
            self.mutes.apply(message.mute)
        else:
            return []
        return self._drop(message.at_s)

    def _alert(self, seq: int, message: Logged, raw: bytes) -> None:
        alert = decode_alert(raw)
        if alert.id in self._alerts:
            return
        group = self._joined(message, alert) or self._begin(message, alert, raw)
        before = group.last_alert_id
        group.join(alert.id, alert.severity, seq, message.ts, message.at_s)
        if message.group:
            group.count = message.group.count
        self._groups.move_to_end(group.id)
        self._touch(group)
        self._alerts[alert.id] = _Kept(group, raw, before)
        if len(self._alerts) > self._kept_alerts:
            self._alerts.popitem(last=False)

    def _joined(self, message: Logged, alert: LoggedAlert) -> Group | None:
        if message.group:
            return self._groups.get(message.group.id)
        return self.place(alert.key, message.at_s)  # of a version that did not group

    def _begin(self, message: Logged, alert: LoggedAlert, raw: bytes) -> Group:
        placed = message.group or GroupRef(id=alert.id)
        group = Group(placed.id, alert.key, raw, alert.severity, message.ts, life=Life(placed.state))
        self._groups[group.id] = self._open[group.id] = self._newest[group.key] = group
        return group

    def _change(self, logged: AlertChange) -> None:
        group = self._groups.get(logged.id)
        if group is None:
            return  # retention has deleted its alerts
        was_closed = group.is_closed
        try:
            group.change(change_of(logged))
        except ChangeRefused:
            return  # the log was cut before the change that made this one possible
        if group.is_closed and not was_closed:
            del self._open[group.id]
            self._closed[group.id] = group
            self._closed_by_signal.setdefault(group.signal, OrderedDict())[group.id] = group
        elif was_closed and not group.is_closed:
            self._forget_closed(group)
            self._open[group.id] = group
        self._touch(group)

    def _touch(self, group: Group) -> None:
        (self._closed if group.is_closed else self._open).move_to_end(group.id)

    # -- bounds -------------------------------------------------------------------------------------------------

    def _drop(self, now_s: float) -> list[Group]:
        horizon_s = now_s - self._config.closed_days * DAY_S
        for _ in _overdue(self._closed, self._config.max_closed_groups, horizon_s):
            self._forget(next(iter(self._closed.values())))
        dropped = []
        for _ in _overdue(self._open, self._config.max_open_groups, horizon_s):
            dropped.append(next(iter(self._open.values())))
            self._forget(dropped[-1])
        self.dropped_open += len(dropped)
        return dropped

    def _forget(self, group: Group) -> None:
        if group.is_closed:
            self._forget_closed(group)
        else:
            del self._open[group.id]
        del self._groups[group.id]
        if self._newest.get(group.key) is group:
            del self._newest[group.key]
        for alert_id in list(self._newest_ids(group)):
            del self._alerts[alert_id]

    def _forget_closed(self, group: Group) -> None:
        del self._closed[group.id]
        same = self._closed_by_signal[group.signal]
        del same[group.id]
        if not same:
            del self._closed_by_signal[group.signal]

    # -- looking up ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def open_groups(self) -> int:
        """How many groups are not closed."""
        return len(self._open)

    def place(self, key: Key, now_s: float) -> Group | None:
        """Return the group that a new alert joins; None if it begins one."""
        group = self._newest.get(key)
        if group is None or group.is_closed or now_s - group.last_at_s >= self._config.group_window_s:
            return None
        return group

    def has_alert(self, alert_id: str) -> bool:
        """Return whether the alert is in the book, so that nobody is shown it again."""
        return alert_id in self._alerts

    def group(self, group_id: str) -> Group | None:
        """Return the group with that id, or the one that the alert of that id is in."""
        kept = self._alerts.get(group_id)
        return self._groups.get(group_id) or (kept.group if kept else None)

    def newest_first(self, before_seq: int | None = None) -> Iterator[Group]:
        """Yield the groups by their last alert, newest first, while the book does not change."""
        for group in reversed(self._groups.values()):
            if before_seq is None or group.last_seq < before_seq:
                yield group

    def closed(self) -> list[Group]:
        """Return the closed groups that are remembered."""
        return list(self._closed.values())

    def alerts_of(self, group: Group) -> list[dict[str, Any]]:
        """Return the group's newest alerts in full, newest first, as far as they are remembered."""
        ids = islice(self._newest_ids(group), SHOWN_ALERTS)
        return [msgspec.json.decode(self._alerts[alert_id].alert) for alert_id in ids]

    def alert_ids(self, group: Group) -> list[str]:
        """Return the ids of the group's alerts, oldest first, as far as they are remembered."""
        return list(self._newest_ids(group))[::-1]

    def _newest_ids(self, group: Group) -> Iterator[str]:
        alert_id = group.last_alert_id
        while kept := self._alerts.get(alert_id):
            yield alert_id
            alert_id = kept.before

    def muted_by(self, group: Group, now_s: float) -> str | None:
        """Return the id of the mute that hides the group now."""
        return self.mutes.muting(*group.key, now_s)

    def precedents(self, group: Group) -> list[Group]:
        """Return other closed groups of the same signal: the same agent's first, and of each the last closed first."""
        others = [
            other
            for other in reversed(self._closed_by_signal.get(group.signal, {}).values())
            if other is not group
        ]
        others.sort(key=lambda other: other.agent_id != group.agent_id)  # stable: the order within each stays
        return others[:MAX_PRECEDENTS]


def change_of(logged: AlertChange) -> Change:
    """Return the change that a message tells of."""
    return Change(
        kind=logged.change,
        by=logged.by,
        at_s=logged.at,
        assignee=logged.assignee,
        reason=logged.reason,
        comment=logged.comment,
    )


def _overdue(groups: OrderedDict[str, Group], capacity: int, horizon_s: float) -> Iterator[None]:
    """Yield as long as the first of the groups is one too many, or was left alone for too long."""
    while groups and (len(groups) > capacity or next(iter(groups.values())).touched_s < horizon_s):
        yield
