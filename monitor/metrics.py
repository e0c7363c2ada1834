"""Every metric's name, meaning and type, in one place; rendered in the Prometheus text format 0.0.4."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate
from typing import Final, Literal, NamedTuple


class Metric(NamedTuple):
    """One metric without labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str


class Histogram:
    """Counts of observed values by size. One thread observes; any thread may render.

    Parameters
    ----------
    bounds : tuple of float
        Upper ends of the buckets, rising; a value on a bound belongs to the bucket below it, as Prometheus has it.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        """Return the samples: a cumulative count for each bucket, the sum, and the count."""
        below = list(accumulate(self._counts))
        ends = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
        return [
            *(f'{name}_bucket{{le="{end}"}} {count}' for end, count in zip(ends, below, strict=True)),
            f"{name}_sum {self._sum!r}",
            f"{name}_count {below[-1]}",
        ]


ACTIONS: Final = Metric("killcord_actions_total", "counter", "Actions that were scored since the log began.")
REJECTED: Final = Metric(
    "killcord_actions_rejected_total", "counter", "Actions refused at the edge since start."
)
ALERTS: Final = Metric("killcord_alerts_total", "counter", "Alerts raised since the log began.")
ALERTS_OPEN: Final = Metric("killcord_alert_groups_open", "gauge", "Groups of alerts that nobody has closed.")
ALERTS_DROPPED: Final = Metric(
    "killcord_alert_groups_dropped_total",
    "counter",
    "Groups of alerts that were dropped though nobody had closed them, for want of room or for age.",
)
MUTES: Final = Metric("killcord_mutes", "gauge", "Mutes in force.")
AGENTS: Final = Metric("killcord_agents", "gauge", "Agents that are known.")
CALIBRATED: Final = Metric("killcord_agents_calibrated", "gauge", "Agents whose model is calibrated.")
BACKLOG: Final = Metric("killcord_backlog_actions", "gauge", "Actions taken in but not yet scored.")
POINTS: Final = Metric("killcord_points_live", "gauge", "Enforcement points that are alive.")
READERS: Final = Metric("killcord_feed_readers", "gauge", "Readers of the live feed.")
PENDING: Final = Metric(
    "killcord_kills_pending",
    "gauge",
    "Kills that the store has not confirmed yet, automatic ones and kept ones.",
)
PAUSED: Final = Metric(
    "killcord_kills_paused", "gauge", "1 while the blast-radius guard holds automatic kills back."
)
STORE: Final = Metric("killcord_store_reachable", "gauge", "1 while the revocation store answers.")
EPOCH: Final = Metric("killcord_epoch", "gauge", "Number of the last change of the revocation state seen.")
FSYNCS: Final = Metric("killcord_log_syncs_total", "counter", "Group commits of the action log since start.")
MENDED: Final = Metric(
    "killcord_store_mended_total", "counter", "Times since start that a robbed store was put right."
)
UNRECORDED: Final = Metric(
    "killcord_changes_unrecorded_total",
    "counter",
    "Changes of the revocation state since start that are in force but not in the daemon's log.",
)
DAMAGED: Final = Metric(
    "killcord_journal_damaged", "gauge", "Kept kills that were set aside: a person has to look at them."
)
KILL_READY: Final = Metric(
    "killcord_kill_ready",
    "gauge",
    "1 if the store answers, and in a recent drill every point that lives now stopped a canary in time.",
)
DRILL_FAILURES: Final = Metric("killcord_drill_failures_total", "counter", "Drills that failed since start.")
DRILL_AGE: Final = Metric(
    "killcord_drill_age_seconds", "gauge", "Time since the last drill of all points; +Inf if there was none."
)
SESSIONS: Final = Metric("killcord_sessions", "gauge", "Browsers that are signed in.")
WRONG_TOKENS: Final = Metric(
    "killcord_wrong_tokens_total", "counter", "Unknown tokens presented since start."
)
TURNED_AWAY: Final = Metric(
    "killcord_turned_away_total",
    "counter",
    "Requests refused unheard since start, after too many wrong tokens.",
)
UNWRITTEN: Final = Metric(
    "killcord_audit_unwritten_total", "counter", "Entries since start that the audit trail could not take."
)
KILL_LATENCY: Final = Metric(
    "killcord_kill_latency_seconds",
    "histogram",
    "From a change's push, as the daemon saw it, to each point's acknowledgement; kills, restorations and drills.",
)
KILL_LATENCY_BOUNDS_S: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip

ALL: Final = (
    ACTIONS,
    REJECTED,
    ALERTS,
    ALERTS_OPEN,
    ALERTS_DROPPED,
    MUTES,
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
    MENDED,
    UNRECORDED,
    DAMAGED,
    KILL_READY,
    DRILL_FAILURES,
    DRILL_AGE,
    SESSIONS,
    WRONG_TOKENS,
    TURNED_AWAY,
    UNWRITTEN,
)
HISTOGRAMS: Final = (KILL_LATENCY,)


def render(values: Mapping[Metric, float], histograms: Mapping[Metric, Histogram]) -> str:
    """Return the exposition text; every metric must have a value."""
    lines = []
    for metric in ALL:
        lines += [
            f"# HELP {metric.name} {metric.help}",
            f"# TYPE {metric.name} {metric.kind}",
            f"{metric.name} {_exact(values[metric])}",
        ]
    for metric in HISTOGRAMS:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        lines += histograms[metric].lines(metric.name)
    return "\n".join(lines) + "\n"


def _exact(value: float) -> str:
    """Return every digit (a counter may not lose its last ones); infinity as Prometheus writes it."""
    return "+Inf" if value == math.inf else repr(float(value))
