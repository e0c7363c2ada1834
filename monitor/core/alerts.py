"""What people see: an alert with its reasons and the response that was taken.

*Verdict* (what a detector says) and *response* (what was done) are different fields. Ids are derived from the action,
so the same action can never raise two alerts, however often it is replayed.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

Level = Literal["none", "alert", "suspend", "revoke"]
Severity = Literal["low", "medium", "high", "critical"]


class ReasonText(msgspec.Struct, frozen=True):
    """One signal that spoke, in words. `p` is how often so strange a value is seen, in (0, 1]."""

    signal: str
    observed: str
    expected: str
    p: float
    sentence: str


class ResponseTaken(msgspec.Struct, frozen=True):
    """What the policy wanted, what was done, and why the two differ if they do."""

    mode: str
    wanted: Level
    taken: Level
    why: str
    change_id: str | None = None


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One strange action. `p` is its calibrated p-value, `threshold_p` the one that the alert budget allows."""

    id: str
    ts: str
    agent_id: str
    session_id: str | None
    tool: str
    action_id: str
    action_seq: int
    verdict: Literal["anomalous", "blast_radius"]
    severity: Severity
    p: float | None
    threshold_p: float | None
    title: str
    reasons: tuple[ReasonText, ...]
    response: ResponseTaken
    on_behalf_of: tuple[str, ...] = ()
    credential: str | None = None
    policy: str | None = None


def alert_id(agent_id: str, action_id: str, kind: str = "anomalous") -> str:
    """Return the alert id that belongs to an action; the same for the same action, always."""
    name = "\x1f".join((kind, agent_id, action_id)).encode()
    return "al-" + hashlib.blake2b(name, digest_size=10).hexdigest()


def change_id(of_alert: str) -> str:
    """Return the id of the revocation that an alert causes; the store applies each id once."""
    return f"auto-{of_alert}"
