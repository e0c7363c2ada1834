"""What the parts of a running daemon count as they work, and the reading of what they do not count themselves.

Counters start at 0 with every combination of labels that can be foreseen: a rate over a series that appears with its
first event would miss that event.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from killswitch import Change, Containment, Outcome
from killswitch.revocations import CHANGE_KINDS
from killswitch.trust.approvals import is_canary
from monitor import metrics
from monitor.core.alerts import Severity
from monitor.metrics import LAG_BOUNDS_S, Histogram, Labelled, Metric

if TYPE_CHECKING:
    from monitor.services import Services

KILL_KINDS: Final = ("kill", "restore")
OUTCOMES: Final = ("contained", "not_contained", "pending")
AUTOMATIC: Final = ("written", "refused")
STATUSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")


class Telemetry:
    """Counters and histograms. What is counted in other threads is counted by one thread only."""

    def __init__(self) -> None:
        self.ingest_latency = Histogram(LAG_BOUNDS_S)
        self.kills: Counter[tuple[str, ...]] = Counter(
            dict.fromkeys(product(("api",), KILL_KINDS, OUTCOMES), 0)
        )
        self.changes: Counter[tuple[str, ...]] = Counter(
            dict.fromkeys(product(CHANGE_KINDS, ("false", "true")), 0)
        )
        self.requests: Counter[tuple[str, ...]] = Counter()
        self.started_at_s = time.time()

    def note_change(self, change: Change) -> None:
        """Count a change of the revocation state."""
        self.changes[change.kind, str(is_canary(change.target)).lower()] += 1

    def note_kill(self, kind: Literal["kill", "restore"], outcome: Outcome, containment: Containment) -> None:
        """Count what became of a kill or restoration that was asked for over HTTP."""
        contained = "contained" if containment.contained else "not_contained"
        self.kills["api", kind, "pending" if outcome.pending else contained] += 1

    def note_request(self, method: str, endpoint: str, status: int) -> None:
        """Count an answered request; `endpoint` is one of the API's own paths, or ``other``."""
        self.requests[method, endpoint, STATUSES[min(max(status // 100, 1), 5) - 1]] += 1


class Disk(NamedTuple):
    """What the state directory takes, and what is left beside it."""

    log_bytes: int
    feed_bytes: int
    free_bytes: int
    checkpoint_at_s: float | None


def read_disk(services: Services) -> Disk:
    """Look at the files of the daemon. Blocks, for as long as the file system takes for some hundred files."""
    state = services.engine.directory
    return Disk(
        _size(state / "log"),
        _size(services.feed.directory),
        _free_bytes(state),
        _modified_s(state / "checkpoint"),
    )


def measured(services: Services, disk: Disk) -> dict[Metric, float | Labelled]:
    """Return the values of the metrics that no other part reports."""
    telemetry = services.telemetry
    age_s = float("inf") if disk.checkpoint_at_s is None else max(0.0, time.time() - disk.checkpoint_at_s)
    automatic: Labelled = {
        ("automatic", "kill", outcome): services.killer.outcomes[outcome] for outcome in AUTOMATIC
    }
    return {
        metrics.SEVERITIES: {
            (severity,): services.engine.severities[severity] for severity in get_args(Severity)
        },
        metrics.CHECKPOINT_AGE: age_s,
        metrics.LOG_BYTES: {("actions",): disk.log_bytes, ("feed",): disk.feed_bytes},
        metrics.DISK_FREE: disk.free_bytes,
        metrics.FEED_MESSAGES: services.feed.last_seq,
        metrics.KILLS: {**telemetry.kills, **automatic},
        metrics.CHANGES: dict(telemetry.changes),
        metrics.REQUESTS: dict(telemetry.requests),
        metrics.BUILD: {(_version(), python_version()): 1},
        metrics.CPU: time.process_time(),
        metrics.RSS: _resident_bytes(),
        metrics.STARTED: telemetry.started_at_s,
        metrics.FILES: _open_files(),
    }


def _version() -> str:
    try:
        return version("killcord")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


def _size(directory: Path) -> int:
    total = 0
    for path in directory.glob("*.seg"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # retention was faster
    return total


def _free_bytes(directory: Path) -> int:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return 0


def _modified_s(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except OSError:
        return None


def _resident_bytes() -> int:
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:  # no /proc: the peak is the next best that every system tells
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return len(os.listdir("/dev/fd"))
