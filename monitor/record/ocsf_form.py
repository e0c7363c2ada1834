"""Entries in OCSF 1.8, for security data lakes and SIEMs: one event an entry. Pure.

An action is an API Activity (class 6003), an alert and what people do about it a Detection Finding (2004), a change of
what an agent may do a User Access Management event (3005). All others are base events (0). OCSF has no place yet for
an agent in these classes: its id is in `unmapped` and in `resources`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from monitor.delivery.events import Event, Group
from monitor.delivery.ocsf import VERSION, detection_finding, epoch_ms
from monitor.delivery.texts import plain
from monitor.record.known import known
from monitor.record.time_line import text

MAX_MESSAGE_CHARS: Final = 400

_READ, _UPDATE = 2, 3
_ASSIGN_PRIVILEGES, _REVOKE_PRIVILEGES = 1, 2
_INFORMATIONAL, _HIGH = 1, 4
_OTHER: Final = 99

# What an enforcement point said, as action and disposition of the profile `security_control`: 1 Allowed, 2 Denied,
# 3 Observed (nobody was asked); 1 Allowed, 2 Blocked, 14 Delayed, 17 Logged.
_CONTROL: Final = {"allowed": (1, 1), "refused": (2, 2), "held": (2, 14), None: (3, 17)}
_ACTIVITY: Final[dict[bool | None, int]] = {True: _UPDATE, False: _READ, None: _OTHER}  # by its side effect
_STATUS: Final[dict[bool | None, int]] = {True: 1, False: 2, None: 0}
_REASON: Final = {"signal": "", "observed": "", "expected": "", "sentence": ""}
_STANDARD: Final = frozenset({"v", "event_id", "type", "timestamp", "recorded_at", "trace_id"})

Leaf = Mapping[str, Any]


def ocsf_of(
    leaf: Leaf,
    content: Mapping[str, Any] | None = None,
    *,
    product_version: str = "",
    dashboard_url: str = "",
) -> dict[str, Any]:
    """Return the OCSF event of an entry.

    Parameters
    ----------
    leaf, content
        As `decode_leaf` and `decode_content` return them; without a content the event tells of the leaf alone.
    product_version, dashboard_url
        What the event names as its source; "" leaves it out.
    """
    match leaf["type"]:
        case "action":
            found = _api_activity(leaf, content or {})
        case "alert" | "triage":
            found = detection_finding(_event(leaf), product_version, dashboard_url)
        case "authorization_transition":
            found = _user_access(leaf)
        case _:
            found = _base_event(leaf)
    return {**found, "metadata": {**found.get("metadata", {}), **_metadata(leaf, product_version)}}


def _api_activity(leaf: Leaf, content: Mapping[str, Any]) -> dict[str, Any]:
    action, said, agent = leaf["action"], leaf.get("authorization") or {}, leaf["agent"]
    result = action.get("result") or {}
    control = _CONTROL.get(said.get("decision"), (0, 0))
    request = {"uid": action.get("call_id") or action["id"]}
    if "args" in content:
        request["data"] = content["args"]
    return {
        **_classified(6, 6003, _ACTIVITY[action.get("side_effect")]),
        "time": epoch_ms(leaf["timestamp"]),
        "severity_id": _INFORMATIONAL,
        "status_id": _STATUS[result.get("ok")],
        "action_id": control[0],
        "disposition_id": control[1],
        "message": plain(text(leaf), MAX_MESSAGE_CHARS),
        "metadata": {"profiles": ["security_control"]},
        "actor": _agent_actor(leaf),
        "api": {"operation": action["tool"], "request": request},
        "src_endpoint": known(name=agent["id"], instance_uid=agent.get("run")),
        "resources": [
            {"uid": agent["id"], "name": agent["id"], "type": "AI agent"},
            *([{"name": action["resource"]}] if action.get("resource") else ()),
        ],
        **(known(duration=_whole(result.get("duration_ms"))) or {}),
        "unmapped": {
            "agent_id": agent["id"],
            **(
                known(
                    agent_version=agent.get("version"),
                    delegations=leaf.get("delegations"),
                    parent_id=leaf.get("parent_id"),
                    action=action,
                    risk=leaf.get("risk"),
                    content={name: value for name, value in content.items() if name != "salt"} or None,
                    content_sha256=(leaf.get("content") or {}).get("sha256"),
                )
                or {}
            ),
        },
    }


def _agent_actor(leaf: Leaf) -> dict[str, Any]:
    """Return who acted: the agent as an application, for a user, in a session, by which right."""
    agent, human, said = leaf["agent"], leaf.get("on_behalf_of"), leaf.get("authorization") or {}
    policy = said.get("policy")
    right = known(decision=said.get("decision"), policy={"name": policy} if policy else None)
    return {
        "app_name": agent["id"],
        "app_uid": agent["id"],
        **(
            known(
                user={"name": human["id"], "uid": human["id"], "type_id": 1} if human else None,
                session=known(uid=agent.get("run"), credential_uid=said.get("credential")),
                authorizations=[right] if right else None,
            )
            or {}
        ),
    }


def _user_access(leaf: Leaf) -> dict[str, Any]:
    target, trigger = leaf["target"], leaf.get("trigger") or {}
    kind, _, name = target.partition(":")
    is_freed = leaf["new_state"] == "active"
    return {
        **_classified(3, 3005, _ASSIGN_PRIVILEGES if is_freed else _REVOKE_PRIVILEGES),
        "time": epoch_ms(leaf["timestamp"]),
        "severity_id": _INFORMATIONAL if is_freed or trigger.get("type") == "drill" else _HIGH,
        "status_id": 1,
        "message": plain(text(leaf), MAX_MESSAGE_CHARS),
        "actor": _person(leaf),
        "user": {"uid": target, "name": name or target, "type": kind, "type_id": _OTHER},
        "privileges": ["call tools"],
        "resources": [{"uid": target, "name": name or target, "type": _resource_type(kind)}],
        "unmapped": {name: value for name, value in leaf.items() if name not in _STANDARD},
    }


def _base_event(leaf: Leaf) -> dict[str, Any]:
    return {
        **_classified(0, 0, _OTHER),
        "activity_name": leaf["type"],
        "time": epoch_ms(leaf["timestamp"]),
        "severity_id": _INFORMATIONAL,
        "message": plain(text(leaf), MAX_MESSAGE_CHARS),
        "unmapped": {name: value for name, value in leaf.items() if name not in _STANDARD},
    }


def _event(leaf: Leaf) -> Event:
    """Return an alert, or a change to one, as deliveries know it."""
    alert, agent, risk = leaf["alert"], leaf["agent"], leaf.get("risk") or {}
    action, said, triage = leaf.get("action") or {}, leaf.get("authorization") or {}, leaf.get("triage") or {}
    group = alert.get("group") or {}
    human = leaf.get("on_behalf_of")
    seq = int(leaf["event_id"].rpartition("-")[2])
    content = {
        **{name: alert.get(name) for name in ("id", "verdict", "severity", "title", "response")},
        "ts": alert.get("at"),
        "reasons": [{**_REASON, **reason} for reason in alert.get("reasons") or ()],
        "agent_id": agent["id"],
        "session_id": agent.get("run"),
        "tool": action.get("tool"),
        "action_id": action.get("id"),
        "on_behalf_of": [*([human["id"]] if human else ()), *(leaf.get("delegations") or ())],
        **{name: said.get(name) for name in ("credential", "policy")},
        **{name: risk.get(name) for name in ("p", "threshold_p")},
        **triage,
        **({"by": leaf["actor"].get("id"), "at": leaf["timestamp"]} if triage else {}),
    }
    state = str(group.get("state") or triage.get("state") or "open")
    of = Group(
        str(group.get("id") or alert["id"]), int(group.get("count") or 1), state, bool(group.get("muted_by"))
    )
    kind = "alert_change" if triage else "alert"
    return Event(seq, leaf["event_id"], kind, leaf["timestamp"], "", content, of, {})


def _metadata(leaf: Leaf, product_version: str) -> dict[str, Any]:
    product = {"name": "killcord", "vendor_name": "killcord"}
    trace_id = leaf.get("trace_id")
    return {
        "version": VERSION,
        "product": {**product, "version": product_version} if product_version else product,
        "uid": leaf["event_id"],
        "log_name": "record",
        "logged_time": epoch_ms(leaf["recorded_at"]),
        **({"correlation_uid": trace_id} if trace_id else {}),
    }


def _classified(category: int, class_uid: int, activity: int) -> dict[str, Any]:
    return {
        "category_uid": category,
        "class_uid": class_uid,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
    }


def _person(leaf: Leaf) -> dict[str, Any]:
    actor = leaf.get("actor") or {}
    name = str(actor.get("id") or "unknown")
    if actor.get("type") == "system":
        return {"app_name": name}
    return {"user": {"name": name, "uid": name, "type_id": 1}}


def _resource_type(kind: str) -> str:
    return "AI agent" if kind in ("agent", "agent_version") else kind


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
