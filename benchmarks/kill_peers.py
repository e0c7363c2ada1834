"""Other kill switches for agents, on the same server and machine, in processes and an environment of their own.

Each has its default settings, because those are what people run. agent-killswitch looks once a second in its asyncio
group and asks Redis at each check; agent-airlock reads its stream at most every five seconds, when a tool is called.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.peer_environment import ROOT, NoPeers, PeerEnvironment, Say

HOME: Final = ROOT / ".cache" / "peers"
LOCK: Final = Path(__file__).with_name("peers.lock")
PACKAGES: Final = ("agent-killswitch", "agent-airlock", "agentmesh-platform", "cedarpy", "redis", "hiredis")
AIRLOCK_WORKERS: Final = 4  # at once, out of step with each other: a round takes ten seconds


class Peer:
    """One process in the peers' environment, playing one role of :mod:`benchmarks.peers_inside`."""

    def __init__(self, role: str, url: str) -> None:
        self._process = subprocess.Popen(
            [str(_environment().python), "-m", "benchmarks.peers_inside", role, url],
            cwd=HOME, env={**os.environ, "PYTHONPATH": str(ROOT)},  # some leave files where they run
            text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, what: str) -> None:
        """Tell the process what to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")

    def answer(self) -> dict[str, Any]:
        """Return its next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise NoPeers(f"{self._process.args!r} ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def measure(url: str, revoked: Sequence[int], rounds: int, say: Say) -> dict[str, Any]:
    """Return the peers' numbers, or ``{"skipped": reason}`` where they cannot be installed."""
    try:
        _environment().install(say)
    except NoPeers as error:
        say(f"peers: skipped, {error}")
        return {"skipped": str(error)}
    say("peers: agent-killswitch ...")
    group = _kills(url, "agent-killswitch", ["agent-killswitch-group"], rounds)
    check = _kills(url, "agent-killswitch", ["agent-killswitch-check"], rounds)
    say("peers: agent-airlock ...")
    workers = ["airlock-call"] * AIRLOCK_WORKERS
    airlock = _kills(url, "airlock", workers, max(1, rounds // AIRLOCK_WORKERS))
    say("peers: checks ...")
    with Peer("checks", url) as peer:
        checks = []
        for count in revoked:
            peer.ask(str(count))
            checks.append(peer.answer())
    return {
        "agent_killswitch": {
            "in_flight": _spread("asyncio task group, default (1 s poll)", group),
            "first_refused_check": _spread("Redis backend, checks without a pause", check),
        },
        "agent_airlock": {"first_refused_call": _spread("Redis stream, default (5 s poll)", airlock)},
        "check": checks,
        "packages": _environment().versions(PACKAGES),
    }


def ratios(peers: dict[str, Any], point: dict[str, Any], in_flight: dict[str, float]) -> dict[str, float]:
    """Return how many times faster we are: like for like, in flight against in flight, refusal against refusal."""
    if "skipped" in peers:
        return {}
    killswitch, airlock = peers["agent_killswitch"], peers["agent_airlock"]
    pairs = {
        "ratio_to_agent_killswitch": (killswitch["in_flight"]["p50_ms"], in_flight["p50_ms"]),
        "ratio_to_agent_killswitch_busy_check": (
            killswitch["first_refused_check"]["p50_ms"],
            point["p50_ms"],
        ),
        "ratio_to_agent_airlock": (airlock["first_refused_call"]["p50_ms"], point["p50_ms"]),
    }
    return {name: round(theirs / ours, 2) for name, (theirs, ours) in pairs.items()}


def _kills(url: str, name: str, workers: Sequence[str], rounds: int) -> list[float]:
    """Return the milliseconds from each kill to each worker's stop, at a random moment of its poll."""
    found = []
    with ExitStack() as stack:
        killer = stack.enter_context(Peer(f"{name}-kill", url))
        peers = [stack.enter_context(Peer(role, url)) for role in workers]
        for _ in range(rounds):
            for peer in peers:
                peer.ask("work")
            for peer in peers:
                peer.answer()
            time.sleep(random.uniform(0.1, 1.1))
            killer.ask("kill")
            started_ns = killer.answer()["started_ns"]
            found += [(peer.answer()["refused_ns"] - started_ns) / 1e6 for peer in peers]
            killer.ask("restore")
            killer.answer()
    return found


def _spread(how: str, values_ms: list[float]) -> dict[str, Any]:
    return {
        "how": how,
        "p50_ms": round(statistics.median(values_ms), 2),
        "max_ms": round(max(values_ms), 2),
        "kills": len(values_ms),
    }


def _environment() -> PeerEnvironment:
    return PeerEnvironment(HOME, LOCK)
