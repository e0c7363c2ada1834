"""Every metric's name, meaning, type and labels, in one place; rendered in the Prometheus text format 0.0.4.

A label's values come from a fixed set of our own making: nothing that an agent or a client chose ever stands in one, or
strangers could make the series without end. `docs/metrics.md` is written from this module (`python -m
monitor.metrics_page`), and a test holds the two together. A new metric is a name here, in `ALL` or `HISTOGRAMS`, and a
value in `Services.metrics`, `Services.histograms` or `telemetry.measured`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate
from typing import Final, Literal, NamedTuple


class Metric(NamedTuple):
    """One metric. `labels` are the names of its labels; without any it is one number."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


Labelled = Mapping[tuple[str, ...], float]
"""The values of a metric with labels: for each combination of label values, in the order of the names."""


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
CALIBRATED: Final = Metric(
    "killcord_agents_calibrated", "gauge", "Agents in memory whose model is calibrated."
)
BACKLOG: Final = Metric("killcord_backlog_actions", "gauge", "Actions taken in but not yet scored.")
POINTS: Final = Metric("killcord_points_live", "gauge", "Enforcement points that are alive.")
READERS: Final = Metric(
    "killcord_feed_readers", "gauge", "Readers of the live feed, by how they read it.", ("transport",)
)
FEED_SENT: Final = Metric(
    "killcord_feed_sent_total",
    "counter",
    "Messages that the feed's readers were sent since start: each counts once for each reader, also one of the past.",
    ("transport",),
)
FEED_MISSED: Final = Metric(
    "killcord_feed_missed_total",
    "counter",
    "Messages since start that a reader of the feed wanted but was too slow for; it is told which, and can fetch them.",
    ("transport",),
)
DELIVERED: Final = Metric(
    "killcord_deliveries_sent_total",
    "counter",
    "Messages that a route's receiver took, since it began.",
    ("route",),
)
DELIVERY_FAILURES: Final = Metric(
    "killcord_deliveries_failed_total",
    "counter",
    "Attempts of a route that failed, since it began.",
    ("route",),
)
DELIVERY_LOST: Final = Metric(
    "killcord_deliveries_lost_total",
    "counter",
    "Messages that a route will not send any more: its receiver refused them for good (set_aside), or retention "
    "deleted them first (missed).",
    ("route", "why"),
)
DELIVERY_BEHIND: Final = Metric(
    "killcord_deliveries_behind",
    "gauge",
    "Messages of the feed that a route has not come to yet.",
    ("route",),
)
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

SEVERITIES: Final = Metric(
    "killcord_alerts_raised_total",
    "counter",
    "Alerts about agents that were raised since start.",
    ("severity",),
)
CHECKPOINT_AGE: Final = Metric(
    "killcord_checkpoint_age_seconds",
    "gauge",
    "Time since the models were last written to disk; +Inf if they never were.",
)
LOG_BYTES: Final = Metric(
    "killcord_log_bytes", "gauge", "Size on disk of the action log and of the feed.", ("log",)
)
DISK_FREE: Final = Metric(
    "killcord_state_free_bytes", "gauge", "Free space on the disk of the state directory."
)
FEED_MESSAGES: Final = Metric(
    "killcord_feed_messages_total", "counter", "Messages that the feed has numbered since its log began."
)
KILLS: Final = Metric(
    "killcord_kills_total",
    "counter",
    "Kills and restorations that the daemon was asked for since start, by the policy (automatic) or over HTTP (api), "
    "and what became of them: contained (every live point confirmed in time), not_contained, pending (kept until the "
    "store answers); of automatic ones written to the store, or refused as no valid request.",
    ("origin", "kind", "outcome"),
)
CHANGES: Final = Metric(
    "killcord_changes_total",
    "counter",
    "Changes of the revocation state since start, whoever made them; those of drills by themselves.",
    ("kind", "drill"),
)
REQUESTS: Final = Metric(
    "killcord_http_requests_total",
    "counter",
    "HTTP requests since start, by endpoint of the API (other: anything else) and class of status.",
    ("method", "endpoint", "status"),
)
BUILD: Final = Metric(
    "killcord_build_info", "gauge", "1; the labels say which version runs.", ("version", "python")
)
CPU: Final = Metric(
    "process_cpu_seconds_total",
    "counter",
    "Processor time that the daemon has used, in user and system mode.",
)
RSS: Final = Metric("process_resident_memory_bytes", "gauge", "Memory of the daemon that is resident.")
STARTED: Final = Metric(
    "process_start_time_seconds", "gauge", "When the daemon started, in seconds since 1970."
)
FILES: Final = Metric("process_open_fds", "gauge", "Files and sockets that the daemon has open.")

INGEST_LATENCY: Final = Metric(
    "killcord_ingest_seconds",
    "histogram",
    "From a request's actions, read in full, to their being durable; what its sender waits for.",
)
SCORING_LAG: Final = Metric(
    "killcord_scoring_lag_seconds",
    "histogram",
    "From a batch's being durable to its being scored and seen to: its kills asked for, its alerts published.",
)
LAG_BOUNDS_S: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0,
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
    FEED_SENT,
    FEED_MISSED,
    DELIVERED,
    DELIVERY_FAILURES,
    DELIVERY_LOST,
    DELIVERY_BEHIND,
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
    SEVERITIES,
    CHECKPOINT_AGE,
    LOG_BYTES,
    DISK_FREE,
    FEED_MESSAGES,
    KILLS,
    CHANGES,
    REQUESTS,
    BUILD,
    CPU,
    RSS,
    STARTED,
    FILES,
)
HISTOGRAMS: Final = (KILL_LATENCY, INGEST_LATENCY, SCORING_LAG)


def render(values: Mapping[Metric, float | Labelled], histograms: Mapping[Metric, Histogram]) -> str:
    """Return the exposition text; every metric must have a value, and values for exactly its labels."""
    lines = []
    for metric in ALL:
        lines += [*_head(metric), *_samples(metric, values[metric])]
    for metric in HISTOGRAMS:
        lines += [*_head(metric), *histograms[metric].lines(metric.name)]
    return "\n".join(lines) + "\n"


def _head(metric: Metric) -> list[str]:
    meaning = metric.help.replace("\\", "\\\\").replace("\n", "\\n")
    return [f"# HELP {metric.name} {meaning}", f"# TYPE {metric.name} {metric.kind}"]


def _samples(metric: Metric, value: float | Labelled) -> list[str]:
    if not isinstance(value, Mapping):
        value = {(): value}
    return [
        f"{metric.name}{_labels(metric.labels, given)} {_exact(number)}"
        for given, number in sorted(value.items())
    ]


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    """Return a label's value as the format has it: backslash, quote and line feed escaped."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _exact(value: float) -> str:
    """Return every digit (a counter may not lose its last ones); infinity as Prometheus writes it."""
    return "+Inf" if value == math.inf else repr(float(value))
