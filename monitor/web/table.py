"""Every endpoint of the daemon, who may use it and what it does: the one table that routes and documents."""

from __future__ import annotations

from typing import Final

from monitor.web import (
    agents,
    alerts,
    audit_views,
    blast_radius,
    deliveries,
    feed_events,
    feed_history,
    health,
    history,
    ingest,
    kills,
    login,
    mutes,
    openapi,
    sessions,
    views,
)
from monitor.web.endpoints import BEFORE, FILTER, LIMIT, Endpoint, Query

_SEQ: Final = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
_SINCE: Final = Query("since", "resume after this number", _SEQ)
_SNAPSHOT: Final = Query("snapshot", "1: begin with what is open now", {"enum": ["0", "1"]})

ENDPOINTS: Final = (
    Endpoint(
        "POST",
        "/v1/actions",
        ingest.post_actions,
        "ingest",
        "Take actions in; answered when durable",
        schema=ingest.ACTIONS_SCHEMA,
    ),
    Endpoint(
        "GET",
        "/v1/actions",
        views.get_actions,
        "read",
        "An agent's newest actions, newest first",
        (Query("agent", "whose", {"type": "string"}, required=True), LIMIT),
    ),
    Endpoint("GET", "/v1/agents", agents.get_agents, "read", "Every agent with its model, risk and state"),
    Endpoint(
        "GET", "/v1/agents/{agent_id:path}", agents.get_agent, "read", "One agent, and what it did lately"
    ),
    Endpoint(
        "GET",
        "/v1/blast-radius",
        blast_radius.get_blast_radius,
        "read",
        "Who was active in the last hour and would be refused, if this target were killed",
        (Query("target", "such as agent:billing-bot or fleet", {"type": "string"}, required=True),),
    ),
    Endpoint(
        "GET",
        "/v1/transitions",
        history.get_transitions,
        "read",
        "The history of kills and restorations, newest first",
        (LIMIT, BEFORE, Query("drills", "1: those of drills too", {"type": "string", "enum": ["0", "1"]})),
    ),
    Endpoint("GET", "/v1/drills", history.get_drills, "read", "The drills, newest first", (LIMIT,)),
    Endpoint("GET", "/v1/status", health.get_status, "read", "What the feed's status messages hold"),
    Endpoint(
        "GET",
        "/v1/alerts",
        alerts.get_alerts,
        "read",
        "Groups of alerts, the newest first",
        (FILTER, LIMIT, BEFORE),
    ),
    Endpoint("GET", "/v1/alerts/{alert_id}", alerts.get_alert, "read", "A group with its alerts and history"),
    Endpoint(
        "POST",
        "/v1/alerts/changes",
        alerts.post_changes,
        "triage",
        "Acknowledge, assign, comment, close or reopen up to 500 groups",
        body=alerts.Changes,
    ),
    Endpoint("GET", "/v1/mutes", mutes.get_mutes, "read", "The mutes in force"),
    Endpoint("POST", "/v1/mutes", mutes.post_mute, "triage", "Mute an agent's signal", body=mutes.NewMute),
    Endpoint("DELETE", "/v1/mutes/{mute_id}", mutes.delete_mute, "triage", "Lift a mute"),
    Endpoint(
        "GET",
        "/v1/feed/events",
        feed_events.get_events,
        "read",
        "The feed as server-sent events",
        (_SINCE, FILTER, _SNAPSHOT),
    ),
    Endpoint(
        "GET",
        "/v1/feed/messages",
        feed_history.get_messages,
        "read",
        "Messages of the feed by their numbers, such as those that a reader missed",
        (
            Query("from", "the first number", _SEQ, required=True),
            Query("to", "the last number; without it, up to the newest", _SEQ),
            FILTER,
            LIMIT,
        ),
    ),
    Endpoint(
        "GET", "/v1/feed/schema", feed_history.get_schema, "read", "JSON Schema of every message of the feed"
    ),
    Endpoint("GET", "/v1/revocations", kills.get_revocations, "read", "What is stopped, and all points"),
    Endpoint("POST", "/v1/revocations", kills.post_revocation, "kill", "Kill a target", body=kills.Kill),
    Endpoint(
        "POST", "/v1/restorations", kills.post_restoration, "kill", "Restore a target", body=kills.Restore
    ),
    Endpoint("GET", "/v1/deliveries", deliveries.get_deliveries, "read", "How each delivery route stands"),
    Endpoint(
        "POST", "/v1/deliveries/{route}/test", deliveries.post_test, "triage", "Send a test through a route"
    ),
    Endpoint(
        "POST",
        "/v1/session",
        sessions.post_session,
        None,
        "Sign a browser in with a token",
        body=sessions.SignIn,
        is_private=True,
    ),
    Endpoint("GET", "/v1/session", sessions.get_session, None, "Who this is, and what they may do"),
    Endpoint("DELETE", "/v1/session", sessions.delete_session, None, "Sign the browser out"),
    Endpoint("GET", sessions.LOGIN_PATH, login.get_login, None, "Sign in at the provider"),
    Endpoint(
        "GET",
        login.CALLBACK_PATH,
        login.get_callback,
        None,
        "Where the provider sends the browser back to",
        (
            Query("state", "which attempt to sign in this is", {"type": "string"}),
            Query("code", "what the provider gives an ID token for", {"type": "string"}),
        ),
    ),
    Endpoint(
        "GET",
        "/v1/audit",
        audit_views.get_audit,
        "audit",
        "Who did what, newest first",
        (LIMIT, Query("before", "the `next` of an earlier page", {"type": "integer", "minimum": 1})),
    ),
    Endpoint("GET", "/v1/openapi.json", openapi.get_openapi, None, "This description (OpenAPI 3.1)"),
    Endpoint("GET", "/healthz", health.healthz, None, "Whether the process lives"),
    Endpoint(
        "GET", "/readyz", health.readyz, None, "Whether actions are taken in and kills would be written"
    ),
    Endpoint("GET", "/metrics", health.get_metrics, None, "Metrics in the Prometheus text format"),
)
