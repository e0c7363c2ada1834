"""The entries of what stands on the feed: alerts, what people do about them, confirmations, mutes. Pure.

Fields of each type, after those that `entry` tells of:

``alert``             ``alert``: ``id``, ``at`` (when the action was), ``verdict``, ``severity``, ``title``,
                      ``reasons``, ``response``, ``group``; ``parent_id`` is the action's entry
``acknowledgement``   ``acknowledgement``: a point's word that it enforces the change that ``parent_id`` names
``triage``            ``alert`` (``id`` of the group, ``verdict``, ``severity``, ``title``), ``triage``: ``change``,
                      ``state`` after it, ``assignee``, ``reason``, ``comment``
``mute``              ``mute``: ``id``, ``change`` (set or lifted), ``signal``, ``reason``, ``until``
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from monitor.errors import LogError
from monitor.live.message_types import (
    Acknowledgement,
    AcknowledgementMessage,
    AlertChange,
    AlertChangeMessage,
    AlertMessage,
    FeedMessage,
    MuteChange,
    MuteMessage,
    decode_message,
)
from monitor.live.stored import wire_text
from monitor.record.entry import Entry, entry_of, stamp
from monitor.record.known import actor_of, chain_of, known


def feed_entry(seq: int, payload: bytes) -> Entry | None:
    """Return the entry of message `seq` of the feed's log; None if it is told elsewhere, or says nothing lasting.

    Raises
    ------
    LogError
        If this version cannot read the message.
    """
    try:
        message: FeedMessage = decode_message(wire_text(seq, payload))
        said_s = datetime.fromisoformat(message.ts).timestamp()
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
        raise LogError(f"message {seq} of the feed cannot be read by this version: {error}") from error
    match message:
        case AlertMessage():
            kind, fields, ts_s = "alert", _alert(message), said_s
        case AlertChangeMessage(alert_change=change):
            kind, fields, ts_s = "triage", _triage(change), change.at
        case AcknowledgementMessage(acknowledgement=ack):
            kind, fields, ts_s = "acknowledgement", _acknowledgement(ack), said_s
        case MuteMessage(mute=mute):
            kind, fields, ts_s = "mute", _mute(mute), mute.at
        case _:  # transitions are in the action log, in full; the others are of the moment
            return None
    head = {
        "event_id": f"feed-{seq}",
        "type": kind,
        "timestamp": stamp(ts_s),
        "recorded_at": stamp(said_s),
    }
    return entry_of({**head, **fields}, ts_s)


def _alert(message: AlertMessage) -> dict[str, Any]:
    alert = message.alert
    return {
        "parent_id": f"action-{alert.action_seq}" if alert.action_seq else None,
        "agent": known(id=alert.agent_id, run=alert.session_id),
        **chain_of(alert.on_behalf_of),
        "action": {"id": alert.action_id, "tool": alert.tool},
        "authorization": known(credential=alert.credential, policy=alert.policy),
        "risk": known(p=alert.p, threshold_p=alert.threshold_p),
        "alert": known(
            id=alert.id,
            at=alert.ts,
            verdict=alert.verdict,
            severity=alert.severity,
            title=alert.title,
            reasons=msgspec.to_builtins(alert.reasons),
            response=known(**msgspec.to_builtins(alert.response)),
            group=known(**msgspec.to_builtins(message.group)) if message.group else None,
        ),
    }


def _triage(change: AlertChange) -> dict[str, Any]:
    return {
        "agent": known(id=change.agent_id, run=change.session_id),
        **chain_of(change.on_behalf_of),
        "action": {"tool": change.tool},
        "actor": actor_of(change.by),
        "alert": {
            "id": change.id,
            "verdict": change.verdict,
            "severity": change.severity,
            "title": change.title,
        },
        "triage": known(
            change=change.change,
            state=change.state,
            assignee=change.assignee,
            reason=change.reason,
            comment=change.comment,
        ),
    }


def _acknowledgement(ack: Acknowledgement) -> dict[str, Any]:
    fields = known(**msgspec.to_builtins(ack))
    return {"parent_id": f"transition-{ack.epoch}", "acknowledgement": fields}


def _mute(mute: MuteChange) -> dict[str, Any]:
    return {
        "agent": {"id": mute.agent_id},
        "actor": actor_of(mute.by),
        "mute": {
            "id": mute.id,
            "change": mute.change,
            "signal": mute.signal,
            "reason": mute.reason,
            "until": stamp(mute.until),
        },
    }
