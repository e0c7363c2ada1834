"""Every metric's name, meaning and type, in one place; rendered in the Prometheus text format 0.0.4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple


class Metric(NamedTuple):
    """One metric without labels."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str


ACTIONS: Final = Metric("killcord_actions_total", "counter", "Actions that were scored since the log began.")
REJECTED: Final = Metric(
    "killcord_actions_rejected_total", "counter", "Actions refused at the edge since start."
)
ALERTS: Final = Metric("killcord_alerts_total", "counter", "Alerts raised since the log began.")
AGENTS: Final = Metric("killcord_agents", "gauge", "Agents that are known.")
CALIBRATED: Final = Metric("killcord_agents_calibrated", "gauge", "Agents whose model is calibrated.")
BACKLOG: Final = Metric("killcord_backlog_actions", "gauge", "Actions taken in but not yet scored.")
POINTS: Final = Metric("killcord_points_live", "gauge", "Enforcement points that are alive.")
READERS: Final = Metric("killcord_feed_readers", "gauge", "Readers of the live feed.")
PENDING: Final = Metric(
    "killcord_kills_pending", "gauge", "Automatic kills that the store has not confirmed yet."
)
PAUSED: Final = Metric(
    "killcord_kills_paused", "gauge", "1 while the blast-radius guard holds automatic kills back."
)
STORE: Final = Metric("killcord_store_reachable", "gauge", "1 while the revocation store answers.")
EPOCH: Final = Metric("killcord_epoch", "gauge", "Number of the last change of the revocation state seen.")
FSYNCS: Final = Metric("killcord_log_syncs_total", "counter", "Group commits of the action log since start.")

ALL: Final = (
    ACTIONS,
    REJECTED,
    ALERTS,
    AGENTS,
    CALIBRATED,
    BACKLOG,
    POINTS,
    READERS,
    PENDING,
    PAUSED,
    STORE,
    EPOCH,
    FSYNCS,
)


def render(values: Mapping[Metric, float]) -> str:
    """Return the exposition text; every metric must have a value."""
    lines = []
    for metric in ALL:
        lines += [
            f"# HELP {metric.name} {metric.help}",
            f"# TYPE {metric.name} {metric.kind}",
            f"{metric.name} {float(values[metric])!r}",  # exact: a counter may not lose its last digits
        ]
    return "\n".join(lines) + "\n"
