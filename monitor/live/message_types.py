"""Every message of the feed as a type, and the JSON Schema of them all. Pure; the client and the daemon share it.

``at``, ``until``, ``expires_at`` and ``changed_at`` are seconds since 1970 (UTC); ``ts`` is RFC 3339. Unknown fields
are ignored when reading, so that a newer daemon can say more.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from monitor.core.alerts import Alert, Severity, Verdict

State = Literal["open", "acknowledged", "closed"]
Change = Literal["acknowledge", "assign", "comment", "close", "reopen"]
CloseReason = Literal["false_positive", "benign", "duplicate", "confirmed"]


class GroupRef(msgspec.Struct, frozen=True, kw_only=True):
    """Where an alert belongs: `id` is that of the first alert that it repeats (its own, if it is the first).

    `count` is how many there are with this one, `state` the group's, `muted_by` the id of the mute that hides it.
    """

    id: str
    count: int = 1
    state: State = "open"
    muted_by: str | None = None


class AlertGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group of alerts as people work on it; `alert` is its first, `severity` the highest of all."""

    id: str
    alert: Alert
    severity: Severity
    count: int
    first_ts: str
    last_ts: str
    last_alert_id: str
    state: State
    assignee: str | None = None
    reason: str | None = None
    muted_by: str | None = None
    comments: int = 0
    changed_at: float | None = None
    changed_by: str | None = None


class AlertChange(msgspec.Struct, frozen=True, kw_only=True):
    """One act on a group of alerts; `state` is the one after it. What the change does not set is null.

    The fields from `agent_id` on are the first alert's, so that filters find the change too.
    """

    id: str
    change: Change
    state: State
    by: str
    at: float
    assignee: str | None = None
    reason: CloseReason | None = None
    comment: str | None = None
    agent_id: str
    tool: str
    severity: Severity
    verdict: Verdict
    title: str
    on_behalf_of: tuple[str, ...] = ()
    session_id: str | None = None


class Mute(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts of exactly this agent and signal are hidden until `until`."""

    id: str
    agent_id: str
    signal: str
    reason: str
    by: str
    at: float
    until: float


class MuteChange(Mute, frozen=True, kw_only=True):
    """A mute that was set or lifted; `by` and `at` tell who did that and when."""

    change: Literal["set", "lifted"]


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the revocation state."""

    epoch: int
    change_id: str
    target: str
    kind: str
    level: str | None
    previous_level: str | None
    reason: str
    by: str
    at: float
    expires_at: float | None
    evidence: tuple[str, ...]
    drill: bool


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True):
    """A point's word that it enforces every change up to `epoch`; `live.acknowledgements` tells what the times mean."""

    epoch: int
    point: str
    point_id: str
    latency_ms: float | None
    own_ms: float | None
    refuses: bool | None
    drill: bool
    confirmed: int
    live: int


class Span(msgspec.Struct, frozen=True, kw_only=True, rename={"from_seq": "from", "to_seq": "to"}):
    """Numbers of messages, both ends included."""

    from_seq: int
    to_seq: int


class Reset(msgspec.Struct, frozen=True, kw_only=True):
    """The reader asked for what comes after `since`, but the daemon's log ends at `last_seq`: it is not the same log.

    A state restored from an older copy does that. The reader goes on after `last_seq`; what it has seen beyond may
    come again under other numbers, or not at all.
    """

    since: int
    last_seq: int


class LastDrill(msgspec.Struct, frozen=True, kw_only=True):
    """How the newest drill of the kill switch went."""

    at: float
    verdict: str
    passed: bool
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    points: int
    failing: int


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The heartbeat: how the daemon is. Or, instead, what the reader has missed, or that the log is another one."""

    actions: int | UnsetType = UNSET
    actions_per_s: float | UnsetType = UNSET
    agents: int | UnsetType = UNSET
    calibrated: int | UnsetType = UNSET
    alerts: int | UnsetType = UNSET
    points_live: int | UnsetType = UNSET
    points_total: int | UnsetType = UNSET
    redis: str | UnsetType = UNSET
    kills_pending: int | UnsetType = UNSET
    kills_paused: bool | UnsetType = UNSET
    backlog: int | UnsetType = UNSET
    mode: str | UnsetType = UNSET
    kill_ready: bool | UnsetType = UNSET
    kill_ready_why: str | UnsetType = UNSET
    last_drill: LastDrill | UnsetType | None = UNSET
    missed: Span | UnsetType = UNSET
    reset: Reset | UnsetType = UNSET


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the daemon takes the reader for."""

    name: str
    role: str
    permissions: tuple[str, ...]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What is open now: the newest groups that are not closed, newest first, and the mutes in force."""

    alerts: tuple[AlertGroup, ...]
    mutes: tuple[Mute, ...]
    me: Me


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    seq: int
    ts: str


class AlertMessage(_Message, frozen=True, kw_only=True, tag="alert"):
    """An alert was raised. Daemons before groups stored alerts without `group`."""

    alert: Alert
    group: GroupRef | None = None


class AlertChangeMessage(_Message, frozen=True, kw_only=True, tag="alert_change"):
    """Somebody did something about a group of alerts."""

    alert_change: AlertChange


class MuteMessage(_Message, frozen=True, kw_only=True, tag="mute"):
    """A mute was set or lifted."""

    mute: MuteChange


class TransitionMessage(_Message, frozen=True, kw_only=True, tag="transition"):
    """Something was killed or restored."""

    transition: Transition


class AcknowledgementMessage(_Message, frozen=True, kw_only=True, tag="acknowledgement"):
    """An enforcement point confirmed a change."""

    acknowledgement: Acknowledgement


class StatusMessage(_Message, frozen=True, kw_only=True, tag="status"):
    """About once a second. Not in the log: `seq` is the number from which this reader can resume."""

    status: Status


class SnapshotMessage(_Message, frozen=True, kw_only=True, tag="snapshot"):
    """First, for those who ask for it. Not in the log: everything up to `seq` is in it."""

    snapshot: Snapshot


FeedMessage = (
    AlertMessage
    | AlertChangeMessage
    | MuteMessage
    | TransitionMessage
    | AcknowledgementMessage
    | StatusMessage
    | SnapshotMessage
)

decode_message: Final = msgspec.json.Decoder(FeedMessage).decode
"""Return the message that a JSON text is; raises `msgspec.ValidationError`."""


def feed_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of every message of the feed."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A message of Killcord's live feed",
        **msgspec.json.schema(FeedMessage),
    }
