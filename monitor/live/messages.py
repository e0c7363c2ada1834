"""The feed's messages about alerts and about changes of the revocation state."""

from __future__ import annotations

from typing import Any

import msgspec

from killswitch import Change
from killswitch.trust.approvals import is_canary
from monitor.core.alerts import Alert
from monitor.live.feed import now_text


def alert_message(alert: Alert) -> dict[str, Any]:
    """Return the feed message of an alert."""
    return {"type": "alert", "ts": now_text(), "alert": msgspec.to_builtins(alert)}


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
