"""What the book reads of the feed's messages; everything else in them is none of its business.

Fields that an older daemon did not write have defaults, so that its log can still be read.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from monitor.live.message_types import AlertChange, GroupRef, MuteChange


class Signal(msgspec.Struct, gc=False):
    """One reason of an alert."""

    signal: str


class Response(msgspec.Struct, frozen=True, gc=False):
    """What was done about an alert."""

    change_id: str | None = None


class LoggedAlert(msgspec.Struct, gc=False):
    """An alert, as far as grouping goes."""

    id: str
    agent_id: str
    verdict: str = "anomalous"
    severity: str = "low"
    reasons: tuple[Signal, ...] = ()
    response: Response = Response()

    @property
    def key(self) -> tuple[str, str, str]:
        """What its repeats have in common with it: agent, verdict and leading signal ("" without reasons)."""
        return self.agent_id, self.verdict, self.reasons[0].signal if self.reasons else ""


class LoggedTransition(msgspec.Struct, gc=False):
    """A change of the revocation state."""

    epoch: int


class Logged(msgspec.Struct):
    """A message of the feed's log."""

    type: str
    ts: str = ""
    alert: msgspec.Raw = msgspec.Raw()
    """Empty if it is about something else."""
    group: GroupRef | None = None
    alert_change: AlertChange | None = None
    mute: MuteChange | None = None
    transition: LoggedTransition | None = None

    @property
    def at_s(self) -> float:
        """When it was published, in seconds since 1970; 0 if it does not say."""
        return datetime.fromisoformat(self.ts).timestamp() if self.ts else 0.0


_decode = msgspec.json.Decoder(Logged).decode
_decode_alert = msgspec.json.Decoder(LoggedAlert).decode


def decode_logged(payload: bytes) -> Logged:
    """Return a message of the feed's log."""
    return _decode(payload)


def decode_alert(raw: bytes | msgspec.Raw) -> LoggedAlert:
    """Return what matters of an alert."""
    return _decode_alert(raw)
