"""OCSF 1.8 Detection Finding (class 2004): the form that security data lakes and SIEMs read. Pure.

One finding for each group: all of its messages have the same `finding_info.uid`. Its first alert creates it, repeats
and changes update it, closing closes it. `metadata.uid` tells a repeated delivery from a new message,
`metadata.sequence` orders them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from monitor.delivery.events import Event
from monitor.delivery.summary import headline, link, sentences
from monitor.delivery.texts import plain

VERSION: Final = "1.8.0"
CLASS_UID: Final = 2004
CREATE, UPDATE, CLOSE = 1, 2, 3
NEW, IN_PROGRESS, SUPPRESSED, RESOLVED = 1, 2, 3, 4
MAX_TEXT: Final = 2000
MAX_REASONS: Final = 50

_STATUS: Final = {"open": NEW, "acknowledged": IN_PROGRESS, "closed": RESOLVED}
_SEVERITY: Final = {"low": 2, "medium": 3, "high": 4, "critical": 5}
_RISK_LEVEL: Final = {"low": 1, "medium": 2, "high": 3, "critical": 4}
_RULE, _LEARNING = 1, 4
_LEARNED: Final = frozenset({"anomalous", "drift"})

# What was done, as action and disposition of the profile `security_control`: 2 Denied, 3 Observed; 24 Access Revoked,
# 3 Quarantined (a suspension ends by itself), 19 Alert, 17 Logged.
_CONTROL: Final = {"revoke": (2, 24), "suspend": (2, 3), "alert": (3, 19), "none": (3, 17)}


def detection_finding(event: Event, product_version: str, dashboard_url: str) -> dict[str, Any]:
    """Return the Detection Finding of an alert or of a change to one."""
    content = event.content
    activity = _activity(event)
    severity = str(content.get("severity"))
    return {
        "category_uid": 2,
        "class_uid": CLASS_UID,
        "activity_id": activity,
        "type_uid": CLASS_UID * 100 + activity,
        "time": epoch_ms(event.ts),
        "severity_id": _SEVERITY.get(severity, 0),
        "status_id": SUPPRESSED if event.group.is_muted else _STATUS.get(event.group.state, 0),
        "is_alert": activity != CLOSE,
        "message": plain(headline(event), MAX_TEXT),
        "count": event.group.count,
        "risk_level_id": _RISK_LEVEL.get(severity, 0),
        "metadata": _metadata(event, product_version),
        "finding_info": _finding_info(event, activity, dashboard_url),
        "resources": [{"uid": content["agent_id"], "name": content["agent_id"], "type": "AI agent"}],
        **(_of_alert(content) if event.type == "alert" else _of_change(content)),
    }


def epoch_ms(ts: str) -> int:
    """Return an RFC 3339 time in milliseconds since 1970."""
    return round(datetime.fromisoformat(ts).timestamp() * 1000)


def _activity(event: Event) -> int:
    if event.type == "alert":
        return CREATE if event.group.count == 1 else UPDATE
    return CLOSE if event.content["change"] == "close" else UPDATE


def _metadata(event: Event, product_version: str) -> dict[str, Any]:
    product = {"name": "killcord", "vendor_name": "killcord", "version": product_version}
    found: dict[str, Any] = {
        "version": VERSION,
        "product": product,
        "uid": event.id,
        "sequence": event.seq,
        "correlation_uid": event.group.id,
    }
    return {**found, "profiles": ["security_control"]} if event.type == "alert" else found


def _finding_info(event: Event, activity: int, dashboard_url: str) -> dict[str, Any]:
    verdict = str(event.content.get("verdict"))
    found: dict[str, Any] = {
        "uid": event.group.id,
        "title": plain(event.content.get("title") or "", MAX_TEXT),
        "types": [verdict],
        "analytic": {"name": f"killcord {verdict}", "type_id": _LEARNING if verdict in _LEARNED else _RULE},
    }
    if why := sentences(event):
        found["desc"] = plain("; ".join(why), MAX_TEXT)
    if activity == CREATE:
        found["created_time"] = epoch_ms(str(event.content.get("ts") or event.ts))
    if address := link(event, dashboard_url):
        found["src_url"] = address
    return found


def _of_alert(content: Mapping[str, Any]) -> dict[str, Any]:
    response = content.get("response") or {}
    action, disposition = _CONTROL.get(str(response.get("taken")), (0, 0))
    found: dict[str, Any] = {
        "action_id": action,
        "disposition_id": disposition,
        "evidences": [_evidence(content)],
        "unmapped": {"agent_id": content["agent_id"], "response": response},
    }
    if (p := content.get("p")) and p > 0:
        found["risk_score"] = min(100, max(0, round(-10 * math.log10(p))))  # decibans of surprise
    if reasons := list(content.get("reasons") or ())[:MAX_REASONS]:
        found["anomaly_analyses"] = [_analysis(content["agent_id"], reasons)]
    return found


def _of_change(content: Mapping[str, Any]) -> dict[str, Any]:
    names = ("change", "by", "at", "assignee", "reason", "comment")
    said = {name: content[name] for name in names if content.get(name) is not None}
    return {
        "unmapped": {"agent_id": content["agent_id"], "change": said},
        **({"comment": plain(content["comment"], MAX_TEXT)} if content.get("comment") else {}),
    }


def _evidence(content: Mapping[str, Any]) -> dict[str, Any]:
    names = ("tool", "session_id", "on_behalf_of", "credential", "policy", "p", "threshold_p", "action_seq")
    return {
        "uid": content.get("action_id"),
        "api": {"operation": content.get("tool")},
        "data": {name: content[name] for name in names if content.get(name) is not None},
    }


def _analysis(agent_id: str, reasons: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return which signals deviated and what their baselines were."""
    return {
        "analysis_targets": [{"name": agent_id, "type": "AI agent"}],
        "anomalies": [
            {
                "observation_parameter": reason["signal"],
                "observation_type": "Deviation Analysis",
                "observations": [{"value": str(reason["observed"])}],
                "observed_pattern": plain(reason["sentence"], MAX_TEXT),
            }
            for reason in reasons
        ],
        "baselines": [
            {"observation_parameter": reason["signal"], "observations": [{"value": str(reason["expected"])}]}
            for reason in reasons
        ],
    }
