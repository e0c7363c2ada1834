"""Where alerts and what people do about them become messages of the feed; nobody else publishes either.

Theory of operation
-------------------
Whatever passes here is decided upon the book, written to the feed's log, and taken up by the book when it is durable
(`Keeper`), in that order and one batch at a time: so two people who close the same group cannot both be first, and the
second alert of a kind knows the first's group. What cannot be written has not happened: `LogError`, and the book is as
before. A caller that goes away takes nothing back.

The messages that are no alerts do not wait here, and no kill does: it is asked for before its alert is published.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from monitor.alerts.book import Book
from monitor.alerts.group import Group, Key
from monitor.alerts.life import Change, after, demand
from monitor.alerts.logged import LoggedAlert
from monitor.alerts.mutes import mute_fields
from monitor.errors import ChangeRefused
from monitor.live.message_types import AlertChange, GroupRef, Mute, MuteChange
from monitor.live.messages import alert_change_message, mute_message

T = TypeVar("T")


class Publisher(Protocol):
    """The feed, as far as the desk knows it."""

    async def publish(self, messages: Iterable[dict[str, Any]]) -> None:
        """Return when the messages are on disk; raises `LogError`."""


class Changed(NamedTuple):
    """What became of a bulk change: the groups that it changed, and for each other id why not."""

    groups: list[Group]
    refused: list[tuple[str, str]]


class Desk:
    """Publishes alerts, changes and mutes. All methods belong to one event loop.

    Parameters
    ----------
    now_s
        The clock: what groups and mutes are decided upon, and what the record says.
    """

    def __init__(self, feed: Publisher, book: Book, now_s: Callable[[], float] = time.time) -> None:
        self.book = book
        self._feed = feed
        self._now_s = now_s
        self._one_at_a_time = asyncio.Lock()
        self.teach: Callable[[list[Group]], Awaitable[None]] = _nothing
        """What closing teaches (`Feedback.teach`); told right after, before anything else happens to the groups."""

    async def publish(self, messages: list[dict[str, Any]]) -> None:
        """Return when the messages are durable; alerts are put into their groups, those already shown left out.

        Raises
        ------
        LogError
            If they could not be written.
        """
        if any(message["type"] == "alert" for message in messages):
            await self._alone(lambda: self._publish_alerts(messages))
        else:
            await self._feed.publish(messages)

    async def change(self, ids: Iterable[str], change: Change) -> Changed:
        """Apply a change to each group that allows it; return when that is durable and closed groups have taught.

        Raises
        ------
        ChangeRefused
            If the change lacks what its kind needs; nothing has changed.
        LogError
            If it could not be written; nothing has changed.
        """
        demand(change)
        return await asyncio.shield(asyncio.ensure_future(self._change_and_teach(list(ids), change)))

    async def _change_and_teach(self, ids: list[str], change: Change) -> Changed:
        async with self._one_at_a_time:
            changed = await self._change(ids, change)
            teaching = self.teach(changed.groups) if change.kind == "close" else None
        if teaching:  # the next may go on meanwhile: what is taught was decided above
            await teaching
        return changed

    async def mute(self, agent_id: str, signal: str, reason: str, by: str, for_s: float) -> Mute:
        """Set a mute; return it when it is durable. Raises `ChangeRefused` or `LogError`."""
        return await self._alone(lambda: self._mute(agent_id, signal, reason, by, for_s))

    async def lift(self, mute_id: str, by: str) -> Mute | None:
        """Lift a mute; return it when that is durable, None if no such mute is in force. Raises `LogError`."""
        return await self._alone(lambda: self._lift(mute_id, by))

    async def _alone(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it when nobody else writes, and to its end even if the caller goes away: the log may hold it already."""

        async def locked() -> T:
            async with self._one_at_a_time:
                return await work()

        return await asyncio.shield(asyncio.ensure_future(locked()))

    # -- one at a time ------------------------------------------------------------------------------------------

    async def _publish_alerts(self, messages: list[dict[str, Any]]) -> None:
        placing, placed = _Placing(self.book, self._now_s()), []
        for message in messages:
            if message["type"] != "alert":
                placed.append(message)
            elif group := placing.place(msgspec.convert(message["alert"], LoggedAlert)):
                placed.append({**message, "group": group})
        await self._feed.publish(placed)

    async def _change(self, ids: list[str], change: Change) -> Changed:
        groups: dict[str, Group] = {}
        refused = []
        messages = []
        for wanted in ids:
            group = self.book.group(wanted)
            if group is None:
                refused.append((wanted, "there is no such alert, or it was closed long ago"))
            elif group.id not in groups:
                try:
                    messages.append(alert_change_message(_logged(group, change)))
                    groups[group.id] = group
                except ChangeRefused as error:
                    refused.append((wanted, str(error)))
        await self._feed.publish(messages)
        return Changed(list(groups.values()), refused)

    async def _mute(self, agent_id: str, signal: str, reason: str, by: str, for_s: float) -> Mute:
        at_s = self._now_s()
        mute = MuteChange(
            id=f"mu-{secrets.token_hex(8)}",
            agent_id=agent_id,
            signal=signal,
            reason=reason,
            by=by,
            at=at_s,
            until=at_s + for_s,
            change="set",
        )
        self.book.mutes.demand(mute)
        await self._feed.publish([mute_message(mute)])
        return mute

    async def _lift(self, mute_id: str, by: str) -> Mute | None:
        mute = self.book.mutes.get(mute_id, self._now_s())
        if mute:
            lifted = MuteChange(**{**mute_fields(mute), "by": by, "at": self._now_s()}, change="lifted")
            await self._feed.publish([mute_message(lifted)])
        return mute


class _Placing:
    """Finds the groups of alerts that are published together: each must see those before it, the book does not yet."""

    def __init__(self, book: Book, now_s: float) -> None:
        self._book = book
        self._now_s = now_s
        self._placed: dict[Key, GroupRef] = {}
        self._ids: set[str] = set()

    def place(self, alert: LoggedAlert) -> dict[str, Any] | None:
        """Return the `group` of the alert's message; None if the alert was shown before."""
        if alert.id in self._ids or self._book.has_alert(alert.id):
            return None
        self._ids.add(alert.id)
        before = self._placed.get(alert.key) or self._in_book(alert)
        muted_by = self._book.mutes.muting(*alert.key, self._now_s)
        placed = GroupRef(id=alert.id, muted_by=muted_by)
        if before:
            placed = GroupRef(id=before.id, count=before.count + 1, state=before.state, muted_by=muted_by)
        self._placed[alert.key] = placed
        return {"id": placed.id, "count": placed.count, "state": placed.state, "muted_by": muted_by}

    def _in_book(self, alert: LoggedAlert) -> GroupRef | None:
        group = self._book.place(alert.key, self._now_s)
        return GroupRef(id=group.id, count=group.count, state=group.life.state) if group else None


def _logged(group: Group, change: Change) -> AlertChange:
    """Return what the feed says of the change; raises `ChangeRefused` where the table has no such change."""
    alert = group.first_alert()
    return AlertChange(
        id=group.id,
        change=change.kind,
        state=after(group.life, change).state,
        by=change.by,
        at=change.at_s,
        assignee=change.assignee,
        reason=change.reason,
        comment=change.comment,
        agent_id=group.agent_id,
        tool=alert["tool"],
        severity=alert["severity"],
        verdict=alert["verdict"],
        title=alert["title"],
        on_behalf_of=tuple(alert.get("on_behalf_of") or ()),
        session_id=alert.get("session_id"),
    )


async def _nothing(_: list[Group]) -> None:
    """Teach nobody."""
