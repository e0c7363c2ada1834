"""What people see: an alert with its reasons and the response that was taken.

*Verdict* (what a detector says) and *response* (what was done) are different fields. Ids are derived from the action,
so the same action can never raise two alerts, however often it is replayed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from monitor.intake.observation import Observation

Level = Literal["none", "alert", "suspend", "revoke"]
Severity = Literal["low", "medium", "high", "critical"]
Verdict = Literal[
    "anomalous",
    "malfunction",
    "drift",
    "attribution",
    "blast_radius",
    "kill_refused",
    "store_damaged",
    "store_forged",
    "drill_failed",
    "break_glass",
    "record_damaged",
]


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
    """One strange action, something else that is wrong with an agent, or something wrong with the kill switch.

    The verdict says which. `p` is the action's calibrated p-value, `threshold_p` the one that the alert budget allows.
    """

    id: str
    ts: str
    agent_id: str
    session_id: str | None
    tool: str
    action_id: str
    action_seq: int
    verdict: Verdict
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


def refused_kill_alert(change_id: str, target: str, why: str, evidence: Sequence[str], now_s: float) -> Alert:
    """Return the alert that an automatic kill can never be carried out, because it is no valid request."""
    return switch_alert(
        "kill_refused",
        alert_id(target, change_id, "kill_refused"),
        now_s,
        title=f"the automatic kill of {target} could not be carried out: {why}",
        expected="a kill that the store accepts",
        why="the agent goes on: kill it by hand, and report this as a defect",
        about=target.removeprefix("agent:"),
        action_id=evidence[-1] if evidence else change_id,
    )


def switch_alert(
    verdict: Literal[
        "kill_refused", "store_damaged", "store_forged", "drill_failed", "break_glass", "record_damaged"
    ],
    own_id: str,
    now_s: float,
    *,
    title: str,
    expected: str,
    why: str,
    about: str,
    action_id: str = "",
    sentences: Sequence[str] = (),
) -> Alert:
    """Return a critical alert about the kill switch itself, on which people have to act."""
    return Alert(
        id=own_id,
        ts=rfc3339(now_s),
        agent_id=about,
        session_id=None,
        tool="kill switch",
        action_id=action_id or own_id,
        action_seq=0,
        verdict=verdict,
        severity="critical",
        p=None,
        threshold_p=None,
        title=title,
        reasons=tuple(
            ReasonText("kill switch", sentence, expected, 1.0, sentence) for sentence in sentences or (title,)
        ),
        response=ResponseTaken("alert", "none", "none", why),
    )


def set_aside_alert(path: str, why: str, now_s: float) -> Alert:
    """Return the alert that the record could not be gone on with, so that a new one was begun."""
    return switch_alert(
        "record_damaged",
        alert_id(path, why, "record_damaged"),
        now_s,
        title=f"the record was damaged and is set aside in {path}: {why}",
        expected="a record that follows on itself",
        why="a new record was begun from what the logs still hold; find out who or what changed the old one",
        about="killcord/record",
    )


_FOR_PEOPLE: Final[dict[Verdict, str]] = {
    "malfunction": "a malfunction is for its owner to look at",
    "drift": "a drift is for its owner to look at",
    "attribution": "who acted for whom is for people to clear up",
}


def told_only(verdict: Verdict, mode: str) -> ResponseTaken:
    """Return the response to what is told to people and stops nobody."""
    taken: Level = "none" if mode == "observe" else "alert"
    return ResponseTaken(mode, "alert", taken, f"{_FOR_PEOPLE[verdict]}: nothing is stopped")


def plain_alert(
    action: Observation,
    seq: int,
    verdict: Verdict,
    severity: Severity,
    title: str,
    response: ResponseTaken,
    reasons: tuple[ReasonText, ...] = (),
    kind: str = "",
) -> Alert:
    """Return an alert that is not about how strange an action is."""
    return Alert(
        id=alert_id(action.agent_id, action.id, kind or verdict),
        ts=rfc3339(action.ts_s),
        agent_id=action.agent_id,
        session_id=action.session_id,
        tool=action.tool,
        action_id=action.id,
        action_seq=seq,
        verdict=verdict,
        severity=severity,
        p=None,
        threshold_p=None,
        title=title,
        reasons=reasons,
        response=response,
        on_behalf_of=action.on_behalf_of,
        credential=action.credential,
        policy=action.policy,
    )


def rfc3339(ts_s: float) -> str:
    """Return the time as text, in UTC, to the millisecond."""
    return datetime.fromtimestamp(ts_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
