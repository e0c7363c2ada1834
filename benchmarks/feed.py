"""The live feed beside a bare ``websockets.broadcast``: what a delivery costs, how late it is, and whether any is lost.

``python -m benchmarks.feed --json`` starts the daemon in one process, the bare server in another and all readers in a
third, and lets the two servers publish the same alerts at the same pace in turns. Then a reader gets stuck beside 100
others, and then the pipeline works with and without 100 readers who are sent 200 alerts a second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.feed_process import Child
from benchmarks.feed_servers import Pace, Published, run_bare, run_daemon
from benchmarks.feed_viewers import run_viewers
from benchmarks.machine import describe
from benchmarks.replay import memory_mb

CLOCK: Final = (
    "latency: from the stamp in the alert's title, just before it is published, to the reader's process having its last"
    " byte, CLOCK_MONOTONIC; the daemon's includes grouping, encoding and the fsync before anyone has it, the bare"
    " server's only encoding. CPU: user and system time of the whole serving process, all threads, from the first"
    " alert published until 0.2 s after the last; the daemon's includes its heartbeats and everything else it does."
    " per_cpu_s: deliveries (alerts x readers) per CPU second. Medians of the rounds, in turns; no compression"
)
RATIO: Final = (
    "median over the rounds of ours to bare, deliveries per CPU second, at the number of readers nearest 100"
)
MEMORY: Final = (
    "the most that the daemon's resident memory grew in a round with a stuck reader, read twenty times a second, after"
    " the ring of recent messages and the book of alerts were full"
)
MEASURED: Final = ("killcord", "websockets", "uvicorn", "uvloop", "msgspec")
NEAREST: Final = 100
BURST: Final = 6_000
"""Alerts, 7 MB: more than the kernel and the feed keep for a reader that takes nothing."""

LOOK_S: Final = 0.05
LEAVE_S: Final = 20.0


class Point(NamedTuple):
    """So many readers, sent so many alerts a second."""

    n: int
    per_s: float


class Scale(NamedTuple):
    """How much is measured."""

    points: tuple[Point, ...] = (Point(1, 200.0), Point(100, 200.0), Point(1000, 20.0))
    watched: Point = Point(100, 200.0)
    window_s: float = 8.0
    rounds: int = 3
    fill: int = 51_000  # beyond [feed] recent_messages and the 50,000 alerts that the book remembers


QUICK: Final = Scale((Point(1, 100.0), Point(10, 100.0)), Point(10, 100.0), window_s=1.0, rounds=1, fill=500)


class Round(NamedTuple):
    """What one server did for one set of readers."""

    lost: int
    repeated: int
    per_cpu_s: float
    p50_ms: float
    p99_ms: float
    alert_bytes: int


class Crowd(NamedTuple):
    """What became of the readers beside a stuck one, of the daemon's memory, and of the stuck one."""

    others: Round
    grew_mb: float
    missed: int


class Bench:
    """The three processes, and what was lost in all."""

    def __init__(self, daemon: Child, bare: Child, viewers: Child) -> None:
        self.daemon = daemon
        self._bare = bare
        self._viewers = viewers
        self.lost = 0
        self.repeated = 0

    def clients(self, point: Point, scale: Scale) -> tuple[dict[str, Any], list[float]]:
        """Return the row for so many readers, and ours to bare in each round."""
        ours, bare = [], []
        for number in range(scale.rounds):
            say(f"{point.n} readers, {point.per_s:g} alerts/s, round {number + 1} of {scale.rounds} ...")
            ours.append(self._round(self.daemon, point, scale.window_s))
            bare.append(self._round(self._bare, point, scale.window_s))
        self.note(*ours)
        row = {
            "n": point.n,
            "alerts_per_s": point.per_s,
            **figures("", ours),
            **figures("broadcast_", bare),
            "lost": sum(one.lost for one in ours),
            "broadcast_lost": sum(one.lost for one in bare),
            "alert_bytes": ours[-1].alert_bytes,
            "broadcast_alert_bytes": bare[-1].alert_bytes,
        }
        return row, [our.per_cpu_s / its.per_cpu_s for our, its in zip(ours, bare, strict=True)]

    def stuck(self, scale: Scale) -> dict[str, Any]:
        """Return what one reader that takes nothing does to the others, and to the daemon's memory."""
        without: list[Crowd] = []
        beside: list[Crowd] = []
        say(f"filling the daemon's memory with {scale.fill:,} alerts ...")
        self.daemon.call("fill", scale.fill)
        for number in range(scale.rounds):
            say(f"a stuck reader among {scale.watched.n}, round {number + 1} of {scale.rounds} ...")
            without.append(self._crowd(scale, is_stuck=False))
            beside.append(self._crowd(scale, is_stuck=True))
        self.note(*(crowd.others for crowd in (*without, *beside)))
        return {
            "n": scale.watched.n,
            "alerts_per_s": scale.watched.per_s,
            "p99_ms": median([crowd.others.p99_ms for crowd in beside]),
            "p99_without_ms": median([crowd.others.p99_ms for crowd in without]),
            "rss_growth_mb": max(crowd.grew_mb for crowd in beside),
            "rss_growth_without_mb": max(crowd.grew_mb for crowd in without),
            "told_missed": [crowd.missed for crowd in beside],
        }

    def _crowd(self, scale: Scale, *, is_stuck: bool) -> Crowd:
        """Publish a burst that a stuck reader has no room for, and then at the usual pace to the others."""
        memory = Memory(self.daemon.pid)
        if is_stuck:
            self._viewers.call("connect_stuck", self.daemon.call("where"))
        self.daemon.call("fill", BURST)
        self._viewers.call("connect", self.daemon.call("where"), scale.watched.n)
        self.daemon.begin("publish", scale.watched.per_s, scale.window_s)
        memory.watch(scale.window_s)
        others = self._collect(self.daemon.end(), scale.watched.n)
        missed = self._viewers.call("release_stuck") if is_stuck else 0
        self._leave(self.daemon)
        return Crowd(others, memory.grew_mb, missed)

    def pipeline(self, scale: Scale) -> dict[str, Any]:
        """Return the pace of the pipeline alone, and while readers are sent alerts."""
        point, rounds = scale.watched, []
        alone: list[Pace] = []
        watched: list[Pace] = []
        self.daemon.call("ingest", scale.window_s / 2)  # the first actions make all the models
        for number in range(scale.rounds):
            say(f"the pipeline alone and watched, round {number + 1} of {scale.rounds} ...")
            alone.append(self.daemon.call("ingest", scale.window_s))
            self._connect(self.daemon, point.n)
            pace, published = self.daemon.call("ingest_watched", scale.window_s, point.per_s)
            watched.append(pace)
            rounds.append(self._collect(published, point.n))
            self._leave(self.daemon)
        self.note(*rounds)
        ratios = [one.per_s / other.per_s for one, other in zip(watched, alone, strict=True)]
        return {
            "n": point.n,
            "alerts_per_s": point.per_s,
            "alone_per_s": round(statistics.median(pace.per_s for pace in alone)),
            "watched_per_s": round(statistics.median(pace.per_s for pace in watched)),
            "ratio": median(ratios),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "alone_per_cpu_s": round(statistics.median(pace.per_cpu_s for pace in alone)),
            "watched_per_cpu_s": round(statistics.median(pace.per_cpu_s for pace in watched)),
            "p99_ms": median([one.p99_ms for one in rounds]),
        }

    def note(self, *rounds: Round) -> None:
        """Count what the daemon lost."""
        self.lost += sum(one.lost for one in rounds)
        self.repeated += sum(one.repeated for one in rounds)

    def _round(self, server: Child, point: Point, seconds: float) -> Round:
        self._connect(server, point.n)
        published = server.call("publish", point.per_s, seconds)
        found = self._collect(published, point.n)
        self._leave(server)
        return found

    def _connect(self, server: Child, count: int) -> None:
        self._viewers.call("connect", server.call("where"), count)
        wait_until(lambda: server.call("readers") == count, f"{count} readers")

    def _leave(self, server: Child) -> None:
        """Let all readers go, and wait until the server has noticed: the next round starts afresh."""
        self._viewers.call("leave")
        wait_until(lambda: server.call("readers") == 0, "the readers to be gone")

    def _collect(self, published: Published, count: int) -> Round:
        found = self._viewers.call("collect", published.alerts)
        return Round(
            lost=published.alerts * count - found["received"],
            repeated=found["repeated"],
            per_cpu_s=found["received"] / published.cpu_s,
            p50_ms=found["p50_ms"],
            p99_ms=found["p99_ms"],
            alert_bytes=found["bytes"],
        )


class Memory:
    """How much a process's resident memory grows."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before_mb = self._now_mb()
        self._most_mb = self._before_mb

    def watch(self, seconds: float) -> None:
        """Look at it for so long."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._most_mb = max(self._most_mb, self._now_mb())
            time.sleep(LOOK_S)

    @property
    def grew_mb(self) -> float:
        """By how much it was above the beginning, at most."""
        return round(self._most_mb - self._before_mb, 2)

    def _now_mb(self) -> float:
        found = memory_mb(self._pid, "VmRSS")
        if found is None:
            raise RuntimeError("this system does not say how much memory a process has (/proc)")
        return found


def figures(prefix: str, rounds: Sequence[Round]) -> dict[str, float]:
    """Return the medians."""
    return {
        f"{prefix}per_cpu_s": round(statistics.median(one.per_cpu_s for one in rounds)),
        f"{prefix}p50_ms": median([one.p50_ms for one in rounds]),
        f"{prefix}p99_ms": median([one.p99_ms for one in rounds]),
    }


def median(values: Sequence[float]) -> float:
    """Return the median to three decimals."""
    return round(statistics.median(values), 3)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Poll until it holds; raises `RuntimeError` after `LEAVE_S`."""
    deadline_s = time.monotonic() + LEAVE_S
    while not holds():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"waited {LEAVE_S:g} s for {what}")
        time.sleep(LOOK_S)


def measure(scale: Scale) -> dict[str, Any]:
    """Return all figures."""
    say("starting the daemon, the bare server and the readers ...")
    with (
        tempfile.TemporaryDirectory(prefix="killcord-feed-") as directory,
        Child(run_daemon, Path(directory) / "state") as daemon,
        Child(run_bare) as bare,
        Child(run_viewers) as viewers,
    ):
        bench = Bench(daemon, bare, viewers)
        rows = [(*bench.clients(point, scale), point) for point in scale.points]
        stuck = bench.stuck(scale)
        pipeline = bench.pipeline(scale)
    _, ratios, nearest = min(rows, key=lambda row: abs(row[2].n - NEAREST))
    return {
        "benchmark": "feed",
        "clients": [row for row, _, _ in rows],
        "lost": bench.lost,
        "repeated": bench.repeated,
        "ratio_to_broadcast": median(ratios),
        "ratio_to_broadcast_is": RATIO,
        "ratio_at_n": nearest.n,
        "ratios": [round(ratio, 3) for ratio in ratios],
        "stuck": stuck,
        "rss_growth_mb": stuck["rss_growth_mb"],
        "rss_growth_is": MEMORY,
        "pipeline": pipeline,
        "rounds": scale.rounds,
        "clock": CLOCK,
        "load_1min": round(os.getloadavg()[0], 1),
        "machine": describe(MEASURED),
    }


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feed", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object last on standard output")
    parser.add_argument("--rounds", type=int, default=Scale().rounds, help="rounds of each (default 3)")
    parser.add_argument(
        "--quick", action="store_true", help="a look at it in half a minute; no figures to quote"
    )
    options = parser.parse_args()
    found = measure(QUICK if options.quick else Scale(rounds=options.rounds))
    print(json.dumps(found) if options.json else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
