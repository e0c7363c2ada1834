"""Messages of the feed as lines for a terminal, which nothing in them can act on: agents chose the words. Pure."""

from __future__ import annotations

from typing import Final

from monitor.cli.asking import shown
from monitor.live.message_types import (
    AcknowledgementMessage,
    AlertChangeMessage,
    AlertMessage,
    FeedMessage,
    MuteMessage,
    StatusMessage,
    TransitionMessage,
)

MAX_CHARS: Final = 400
_RED, _YELLOW, _GREEN, _DIM, _OFF = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[2m", "\x1b[0m"
_SEVERITY: Final = {"critical": "\x1b[1;31m", "high": _RED, "medium": _YELLOW}
_KIND: Final = {"revoke": _RED, "suspend": _RED, "restore": _GREEN}


def line(message: FeedMessage, in_colour: bool = False) -> str | None:
    """Return the message in a line; nothing for a mere heartbeat."""
    said = _said(message)
    if said is None:
        return None
    words, colour = said
    text = shown(words)
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS - 1] + "…"
    head = shown(f"{message.ts} #{message.seq}")
    if not in_colour:
        return f"{head} {text}"
    return f"{_DIM}{head}{_OFF} {colour}{text}{_OFF if colour else ''}"


def _said(message: FeedMessage) -> tuple[str, str] | None:
    """Return the words and their colour."""
    match message:
        case AlertMessage(alert=alert, group=group):
            repeats = f" (×{group.count})" if group and group.count > 1 else ""
            muted = " (muted)" if group and group.muted_by else ""
            words = f"{alert.severity.upper()} {alert.agent_id}: {alert.title} [{alert.response.taken}]"
            return words + repeats + muted, _SEVERITY.get(alert.severity, "")
        case AlertChangeMessage(alert_change=change):
            details = [change.reason, change.assignee and f"to {change.assignee}", change.comment]
            more = "".join(f": {detail}" for detail in details if detail)
            return f"{change.change.upper()} {change.agent_id} {change.id} by {change.by}{more}", ""
        case MuteMessage(mute=mute):
            verb = "MUTE" if mute.change == "set" else "UNMUTE"
            return f"{verb} {mute.agent_id} × {mute.signal} by {mute.by}: {mute.reason}", ""
        case TransitionMessage(transition=change):
            words = f"{change.kind.upper()} {change.target} by {change.by}: {change.reason}"
            return words, _KIND.get(change.kind, "")
        case AcknowledgementMessage(acknowledgement=ack):
            return f"confirmed by {ack.point} ({ack.confirmed}/{ack.live})", _DIM
        case StatusMessage(status=status) if status.missed:
            return f"MISSED {status.missed.from_seq} to {status.missed.to_seq}: no longer kept", _YELLOW
    return None
