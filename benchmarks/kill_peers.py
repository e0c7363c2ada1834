"""Other kill switches for agents, on the same server and machine, in processes and an environment of their own.

Each has its default settings, because those are what people run. agent-killswitch looks once a second in its asyncio
group and asks Redis at each check; agent-airlock reads its stream at most every five seconds, when a tool is called.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parent.parent
HOME: Final = ROOT / ".cache" / "peers"
LOCK: Final = Path(__file__).with_name("peers.lock")
PACKAGES: Final = ("agent-killswitch", "agent-airlock", "agentmesh-platform", "cedarpy", "redis", "hiredis")
INSTALL_S: Final = 600.0
AIRLOCK_WORKERS: Final = 4  # at once, out of step with each other: a round takes ten seconds

Say = Callable[[str], None]


class NoPeers(Exception):
    """The peers could not be installed; the message says why."""


class Peer:
    """One process in the peers' environment, playing one role of :mod:`benchmarks.peers_inside`."""

    def __init__(self, role: str, url: str) -> None:
        self._process = subprocess.Popen(
            [str(_python()), "-m", "benchmarks.peers_inside", role, url],
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
        install(say)
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
        "packages": _versions(),
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


def install(say: Say) -> None:
    """Make the peers' environment unless it is there; what it holds is pinned by hash.

    Raises
    ------
    NoPeers
        If there is no package index, or one without these versions.
    """
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    stamp = HOME / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say("peers: installing (once) ...")
    try:
        venv.create(HOME, with_pip=True, clear=True)
        subprocess.run(
            [str(_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)],
            check=True, capture_output=True, text=True, timeout=INSTALL_S,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()
        raise NoPeers(f"pip: {last[-1][:200] if last else error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoPeers(f"{type(error).__name__}; is there a package index?") from error
    stamp.write_text(wanted)


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


def _versions() -> dict[str, str]:
    script = (
        "import json, sys; from importlib.metadata import version;"
        "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [str(_python()), "-c", script, *PACKAGES], check=True, capture_output=True, text=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _python() -> Path:
    return HOME / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
