"""Every endpoint of the daemon, who may use it and what it does: the one table that routes and documents."""

from __future__ import annotations

from typing import Final

from monitor.web import ingest, kills, views
from monitor.web.endpoints import LIMIT, Endpoint, Query

ENDPOINTS: Final = (
    Endpoint("POST", "/v1/actions", ingest.post_actions, "ingest", "Take actions in; answered when durable"),
    Endpoint(
        "GET",
        "/v1/actions",
        views.get_actions,
        "read",
        "An agent's newest actions, newest first",
        (Query("agent", "whose", {"type": "string"}, required=True), LIMIT),
    ),
    Endpoint("GET", "/v1/agents", views.get_agents, "read", "Every agent with its model, risk and state"),
    Endpoint("GET", "/v1/alerts", views.get_alerts, "read", "The newest alerts, newest first", (LIMIT,)),
    Endpoint(
        "POST",
        "/v1/alerts/{alert_id}/verdict",
        views.post_verdict,
        "triage",
        "Say whether an alert was right",
        body=views.VerdictBody,
    ),
    Endpoint("GET", "/v1/revocations", kills.get_revocations, "read", "What is stopped, and all points"),
    Endpoint("POST", "/v1/revocations", kills.post_revocation, "kill", "Kill a target", body=kills.Kill),
    Endpoint(
        "POST", "/v1/restorations", kills.post_restoration, "kill", "Restore a target", body=kills.Restore
    ),
    Endpoint("GET", "/healthz", views.healthz, None, "Whether the process lives"),
    Endpoint("GET", "/readyz", views.readyz, None, "Whether actions are taken in and kills would be written"),
    Endpoint("GET", "/metrics", views.get_metrics, None, "Metrics in the Prometheus text format"),
)
