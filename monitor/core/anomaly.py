"""The alerts that follow from a strange action: what the scores and the decision say, as people see it. Pure."""

from __future__ import annotations

from detectors import Reason, Scores
from monitor.core.alerts import (
    Alert,
    ReasonText,
    ResponseTaken,
    alert_id,
    change_id,
    plain_alert,
    rfc3339,
)
from monitor.core.response import Decision
from monitor.intake.observation import Observation


def anomaly_alert(
    action: Observation,
    seq: int,
    decision: Decision,
    mode: str,
    reasons: tuple[ReasonText, ...],
    scores: Scores,
    i: int,
) -> Alert:
    """Return the alert about the action at place `i` of the scores."""
    own_id = alert_id(action.agent_id, action.id)
    return Alert(
        id=own_id,
        ts=rfc3339(action.ts_s),
        agent_id=action.agent_id,
        session_id=action.session_id,
        tool=action.tool,
        action_id=action.id,
        action_seq=seq,
        verdict="anomalous",
        severity=decision.severity,
        p=float(scores.p[i]),
        threshold_p=float(scores.threshold_p[i]),
        title=reasons[0].sentence
        if reasons
        else f"{action.agent_id} did something unusual with {action.tool}",
        reasons=reasons,
        response=ResponseTaken(
            mode, decision.wanted, decision.taken, decision.why, change_id(own_id) if decision.kill else None
        ),
        on_behalf_of=action.on_behalf_of,
        credential=action.credential,
        policy=action.policy,
    )


def blast_radius_alert(action: Observation, seq: int, decision: Decision, mode: str) -> Alert:
    """Return the alert that automatic kills are held back from this one on."""
    return plain_alert(
        action,
        seq,
        "blast_radius",
        "critical",
        "Automatic kills are paused: too many in a short time",
        ResponseTaken(mode, decision.wanted, "alert", decision.why),
    )


def reason_text(reason: Reason) -> ReasonText:
    """Return the reason as alerts carry it."""
    return ReasonText(reason.signal, reason.observed, reason.expected, reason.p, reason.sentence)
