"""Puts together the messages that are published: about alerts, what people do with them, and the revocation state.

What comes out has no `seq` yet: the feed numbers it. `message_types` says what the reader gets.
"""

from __future__ import annotations

from typing import Any

import msgspec

from killswitch import Change
from killswitch.trust.approvals import is_canary
from monitor.core.alerts import Alert
from monitor.live.feed import now_text
from monitor.live.message_types import AlertChange, GroupRef, MuteChange


def alert_message(alert: Alert, group: GroupRef | None = None) -> dict[str, Any]:
    """Return the feed message of an alert; without `group` it is the first of its own."""
    group = group or GroupRef(id=alert.id)
    return {
        "type": "alert",
        "ts": now_text(),
        "alert": msgspec.to_builtins(alert),
        "group": msgspec.to_builtins(group),
    }


def alert_change_message(change: AlertChange) -> dict[str, Any]:
    """Return the feed message of what somebody did about a group of alerts."""
    return {"type": "alert_change", "ts": now_text(), "alert_change": msgspec.to_builtins(change)}


def mute_message(mute: MuteChange) -> dict[str, Any]:
    """Return the feed message of a mute that was set or lifted."""
    return {"type": "mute", "ts": now_text(), "mute": msgspec.to_builtins(mute)}


def transition_message(change: Change) -> dict[str, Any]:
    """Return the feed message of a change of the revocation state."""
    new = change.new
    return {
        "type": "transition",
        "ts": now_text(),
        "transition": {
            "epoch": change.epoch,
            "change_id": change.change_id,
            "target": str(change.target),
            "kind": change.kind,
            "level": new.level if new else None,
            "previous_level": change.previous.level if change.previous else None,
            "reason": change.reason,
            "by": change.by,
            "at": change.at_s,
            "expires_at": new.expires_at_s if new else None,
            "evidence": list(new.evidence) if new else [],
            "drill": is_canary(change.target),
        },
    }
