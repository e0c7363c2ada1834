"""The faults of a chaos round: what can break, for how long, and how it is put right again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import redis

from benchmarks.chaos_world import PointProcess, World
from benchmarks.faults import Direction, Proxy


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that breaks: ``at_s`` after the round's beginning, for ``for_s`` seconds where it lasts."""

    kind: str
    at_s: float
    for_s: float
    seed: int

    def __str__(self) -> str:
        return f"{self.at_s:.3f} s: {self.kind} for {self.for_s:.3f} s (seed {self.seed})"


def _server_kill(world: World, fault: Fault) -> None:
    with world.server_lock:
        world.server.kill()
        time.sleep(fault.for_s)
        world.server.start()


def _server_restart(world: World, fault: Fault) -> None:
    with world.server_lock:
        world.server.restart()


def _server_pause(world: World, fault: Fault) -> None:
    with world.server_lock:
        world.server.pause()
        time.sleep(fault.for_s)
        world.server.resume()


def _partition(world: World, fault: Fault) -> None:
    _on_wires(world, fault, lambda proxy: proxy.silence_all())


def _half_partition(world: World, fault: Fault) -> None:
    directions: list[Direction] = ["up", "down"]
    direction = random.Random(fault.seed).choice(directions)
    _on_wires(world, fault, lambda proxy: proxy.swallow(direction))


def _slow_wire(world: World, fault: Fault) -> None:
    delay_s = random.Random(fault.seed).uniform(0.01, 0.2)
    _on_wires(world, fault, lambda proxy: proxy.delay(delay_s))


def _cut(world: World, fault: Fault) -> None:
    _on_wires(world, fault, lambda proxy: proxy.cut())


def _reset(world: World, fault: Fault) -> None:
    for point in _some(world, fault):
        if point.proxy:
            point.proxy.reset()


def _point_restart(world: World, fault: Fault) -> None:
    _some(world, fault)[0].restart()


def _point_pause(world: World, fault: Fault) -> None:
    point = _some(world, fault)[0]
    point.pause()
    time.sleep(fault.for_s)
    point.resume()


def _daemon_kill(world: World, fault: Fault) -> None:
    world.daemon.restart()


KINDS: Final[dict[str, tuple[Callable[[World, Fault], None], float]]] = {
    "server_kill": (_server_kill, 2.0),
    "server_restart": (_server_restart, 1.0),
    "server_pause": (_server_pause, 2.0),
    "partition": (_partition, 3.0),
    "half_partition": (_half_partition, 2.0),
    "slow_wire": (_slow_wire, 1.0),
    "cut": (_cut, 1.0),
    "reset": (_reset, 1.0),
    "point_restart": (_point_restart, 2.0),
    "point_pause": (_point_pause, 1.5),
    "daemon_kill": (_daemon_kill, 0.4),
}
"""What breaks by itself: how, and how often relative to the others."""

THEFTS: Final[Mapping[str, float]] = {
    "flushall": 0.7,
    "flushdb": 0.5,
    "hdel": 1.5,
    "replay_state": 1.0,
    "replay_head": 0.7,
}
"""What somebody does to the store who may write to it, and how often."""

ROLLBACKS: Final[Mapping[str, float]] = {"replay_all": 1.0}
"""A whole old copy put back, signed and complete: a point that starts before the daemon looks believes it."""


def plan(random_: random.Random, *, thefts: Mapping[str, float]) -> list[Fault]:
    """Return the faults of one round: one to four, often at once, each theft often followed by a cold start."""
    weights = {kind: weight for kind, (_, weight) in KINDS.items()} | dict(thefts)
    faults: list[Fault] = []
    for _ in range(random_.choices((1, 2, 3, 4), (4, 4, 2, 1))[0]):
        kind = random_.choices(list(weights), list(weights.values()))[0]
        fault = Fault(kind, random_.uniform(0, 0.9), random_.uniform(0.05, 1.6), random_.randrange(1 << 30))
        faults.append(fault)
        if kind in thefts and random_.random() < 0.6:
            later_s = fault.at_s + random_.uniform(0, 0.2)
            faults.append(Fault("point_restart", later_s, 0.0, random_.randrange(1 << 30)))
    return sorted(faults, key=lambda fault: fault.at_s)


def strike(
    world: World, faults: list[Fault], started_s: float, counts: dict[str, int]
) -> list[threading.Thread]:
    """Let the faults happen, each in a thread that also ends it; returns the threads."""
    threads = [
        threading.Thread(target=_happen, args=(world, fault, started_s, counts), daemon=True)
        for fault in faults
    ]
    for thread in threads:
        thread.start()
    return threads


def _happen(world: World, fault: Fault, started_s: float, counts: dict[str, int]) -> None:
    time.sleep(max(0.0, started_s + fault.at_s - time.monotonic()))
    if fault.kind in KINDS:
        KINDS[fault.kind][0](world, fault)
    else:
        try:
            _rob(world, fault)
        except redis.RedisError:
            return  # the server is away just now, for intruders too; it did not happen
    counts[fault.kind] = counts.get(fault.kind, 0) + 1


def _rob(world: World, fault: Fault) -> None:
    intruder = world.intruder
    deeds = {
        "flushall": intruder.flush_all,
        "flushdb": intruder.flush_db,
        "hdel": intruder.delete_records,
        "replay_state": intruder.replay_state,
        "replay_head": intruder.replay_head,
        "replay_all": intruder.replay_all,
    }
    deeds[fault.kind](random.Random(fault.seed))


def _on_wires(world: World, fault: Fault, break_it: Callable[[Proxy], None]) -> None:
    proxies = [point.proxy for point in _some(world, fault) if point.proxy is not None]
    for proxy in proxies:
        break_it(proxy)
    time.sleep(fault.for_s)
    for proxy in proxies:
        proxy.speak()


def _some(world: World, fault: Fault) -> list[PointProcess]:
    chosen = random.Random(fault.seed)
    return chosen.sample(world.points, chosen.randint(1, len(world.points)))
