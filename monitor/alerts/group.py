"""A group: an alert, its repeats, and what people did about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from monitor.alerts.life import NEW, Change, Life, after
from monitor.live.filters import SEVERITIES
from monitor.live.message_types import Change as Kind
from monitor.live.message_types import CloseReason, State

Key = tuple[str, str, str]
"""Agent, verdict, and leading signal."""


class Done(NamedTuple):
    """One change in a group's history, and the state after it."""

    change: Kind
    by: str
    at: float
    state: State
    assignee: str | None
    reason: CloseReason | None
    comment: str | None


class Group(msgspec.Struct, eq=False, gc=False):
    """One group. Times ending in `_s` are seconds since 1970; `_ts` are the feed's own stamps, not the agents'.

    Nothing in it can refer back to it, so the garbage collector need not walk a hundred thousand of them.
    """

    id: str
    key: Key
    first: bytes
    """The first alert's JSON: a tenth of the memory that the decoded one would take."""
    severity: str
    """The highest of its alerts."""
    first_ts: str
    last_ts: str = ""
    last_at_s: float = 0.0
    last_seq: int = 0
    last_alert_id: str = ""
    count: int = 0
    touched_s: float = 0.0
    """When it last got an alert or was changed."""
    life: Life = NEW
    history: tuple[Done, ...] = ()

    @property
    def agent_id(self) -> str:
        """Whose alerts these are."""
        return self.key[0]

    @property
    def verdict(self) -> str:
        """What they say."""
        return self.key[1]

    @property
    def signal(self) -> str:
        """The leading one."""
        return self.key[2]

    @property
    def is_closed(self) -> bool:
        """Whether people are done with it; a closed group takes no more alerts."""
        return self.life.state == "closed"

    @property
    def closing(self) -> Done | None:
        """The change that closed it; None if it is not closed."""
        return (
            next((done for done in reversed(self.history) if done.change == "close"), None)
            if self.is_closed
            else None
        )

    def join(self, alert_id: str, severity: str, seq: int, ts: str, at_s: float) -> None:
        """Take an alert in."""
        self.severity = max(self.severity, severity, key=_rank)
        self.last_alert_id, self.last_seq = alert_id, seq
        self.last_ts, self.last_at_s = ts, at_s
        self.touched_s = max(self.touched_s, at_s)
        self.count += 1

    def change(self, change: Change) -> None:
        """Apply a change and remember it; raises `ChangeRefused`, and then nothing has changed."""
        self.life = after(self.life, change)
        self.touched_s = max(self.touched_s, change.at_s)
        done = Done(
            change.kind,
            change.by,
            change.at_s,
            self.life.state,
            change.assignee,
            change.reason,
            change.comment,
        )
        self.history = (*self.history, done)

    def first_alert(self) -> dict[str, Any]:
        """Return the first alert in full."""
        return msgspec.json.decode(self.first)  # type: ignore[no-any-return]

    def fields(self, muted_by: str | None) -> dict[str, Any]:
        """Return the group as the API shows it."""
        life = self.life
        return {
            "id": self.id,
            "alert": self.first_alert(),
            "severity": self.severity,
            "count": self.count,
            "first_ts": self.first_ts,
            "last_ts": self.last_ts,
            "last_alert_id": self.last_alert_id,
            "state": life.state,
            "assignee": life.assignee,
            "reason": life.reason,
            "muted_by": muted_by,
            "comments": life.comments,
            "changed_at": life.changed_at_s,
            "changed_by": life.changed_by,
        }

    def message(self, muted_by: str | None) -> Mapping[str, Any]:
        """Return the group in the form of a feed message, for filters: its severity is the highest of its alerts."""
        group = {"id": self.id, "count": self.count, "state": self.life.state, "muted_by": muted_by}
        return {"type": "alert", "alert": _AlertForFilters(self), "group": group}

    def history_fields(self) -> list[dict[str, Any]]:
        """Return what people did, oldest first."""
        return [done._asdict() for done in self.history]

    def precedent_fields(self) -> dict[str, Any]:
        """Return what somebody wants to know who decides upon another one like it."""
        closing = self.closing
        return {
            "id": self.id,
            "agent_id": self.agent_id,
            "title": self.first_alert()["title"],
            "last_ts": self.last_ts,
            "reason": closing.reason if closing else None,
            "comment": closing.comment if closing else None,
            "by": closing.by if closing else None,
        }


class _AlertForFilters(Mapping[str, Any]):
    """A group's first alert, decoded only if a filter asks for what the group itself does not know."""

    __slots__ = ("_group", "_known", "_rest")

    def __init__(self, group: Group) -> None:
        self._known = {
            "id": group.id,
            "agent_id": group.agent_id,
            "verdict": group.verdict,
            "severity": group.severity,
        }
        self._group = group
        self._rest: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        if name in self._known:
            return self._known[name]
        if self._rest is None:
            self._rest = self._group.first_alert()
        return self._rest[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._group.first_alert(), **self._known})

    def __len__(self) -> int:
        return len(list(iter(self)))


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1
