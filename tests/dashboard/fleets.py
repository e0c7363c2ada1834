"""Fleets for the dashboard's tests: real daemons that real actions were sent to, and real enforcement points."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from killswitch import Guard
from monitor.access.token_file import TokenFile
from monitor.state_dir import StateDir
from tests.monitor.daemons import FAST_CONFIG, RunningDaemon
from tests.monitor.test_daemon import START_S, WARM, habits, hijacked

CONFIG = FAST_CONFIG.replace('mode = "enforce"', 'mode = "alert"')
MARKUP = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
REVERSED = "bot-\u202egpj.exe"
CHAIN = ("alice@example.com", "orchestrator", "planner")
DELEGATED = "errand-bot"

# A point in a process of its own: it can be stopped while the store still counts on it.
_STUCK = """
import sys
import time
from killswitch import Guard
from monitor.access.token_file import TokenFile
from monitor.state_dir import StateDir
guard = Guard.connect(sys.argv[1], name="stuck", lease_s=float(sys.argv[2]))
print("up", flush=True)
sys.stdin.read()
guard.close()
"""


def routes(directory: Path) -> str:
    """The configuration of two delivery routes: one that works, and one that nobody answers."""
    return f"""
[[delivery.routes]]
name = "siem"
kind = "ocsf_file"
path = "{directory / "findings.jsonl"}"
since = "oldest"
[[delivery.routes]]
name = "collector"
kind = "syslog"
host = "127.0.0.1"
port = 9
transport = "tcp"
since = "oldest"
"""


def live_through(daemon: RunningDaemon) -> None:
    """Give a daemon agents with habits, two that were hijacked, a delegated one and one with a hostile name."""
    daemon.send(habits(WARM))
    daemon.wait_until_scored(WARM)
    daemon.send([hijacked(0), hijacked(1, "agent-1")])
    act(daemon, DELEGATED, on_behalf_of=list(CHAIN), credential="cred-7")
    act(daemon, MARKUP, tool=MARKUP, session_id=MARKUP, on_behalf_of=[MARKUP, REVERSED], credential=MARKUP)
    daemon.wait_until_scored(WARM + 4)


def act(daemon: RunningDaemon, agent: str, tool: str = "read_file", **fields: Any) -> None:
    """Let an agent do one thing."""
    action = {
        "id": uuid4().hex,
        "ts": START_S + 11_000,
        "agent_id": agent,
        "tool": tool,
        "session_id": "run-1",
        "args": {},
    }
    receipt = daemon.send([action | fields])
    assert receipt["rejected"] == [], receipt


def revoked(daemon: RunningDaemon) -> dict[str, dict[str, Any]]:
    """Return what is cut off, by target."""
    return {record["target"]: record for record in daemon.get("/v1/revocations")["revocations"]}


def points(daemon: RunningDaemon) -> dict[str, bool]:
    """Return the enforcement points that are known, by name: whether each is live."""
    return {point["name"]: point["live"] for point in daemon.get("/v1/revocations")["points"]}


def kill(daemon: RunningDaemon, target: str, reason: str = "a test", **fields: Any) -> None:
    """Kill by the API, as the on-call engineer."""
    body = {"target": target, "reason": reason, **fields}
    status, answer = daemon.request("POST", "/v1/revocations", body)
    assert status in (200, 202), answer


def restore(daemon: RunningDaemon, target: str) -> None:
    """Restore by the API, as the on-call engineer."""
    status, answer = daemon.request("POST", "/v1/restorations", {"target": target, "reason": "it was a test"})
    assert status in (200, 202), answer


@contextmanager
def guards(daemon: RunningDaemon, *names: str) -> Iterator[list[Guard]]:
    """Connect enforcement points; they are gone afterwards."""
    with ExitStack() as stack:
        connected = []
        for name in names:
            connected.append(Guard.connect(daemon.redis_url, name=name))
            stack.callback(connected[-1].close)
        yield connected


@contextmanager
def stoppable_point(daemon: RunningDaemon, lease_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """Run the point "stuck" in a process of its own, to be stopped by a signal."""
    command = [sys.executable, "-c", _STUCK, daemon.redis_url, str(lease_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as point:
        try:
            assert point.stdout is not None
            assert point.stdout.readline() == b"up\n"
            yield point
        finally:
            # A point that says goodbye is not listed any more: the next test must not count on it.
            point.send_signal(signal.SIGCONT)
            try:
                point.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                point.kill()
                raise


def revoke_token(daemon: RunningDaemon, role: str) -> None:
    """Revoke the token of a role, as the command line does: in the file that the daemon follows."""
    file = TokenFile(StateDir(daemon.state).token_file)
    ids = [token.id for token in file.load() if token.name == f"the-{role}"]
    file.revoke(ids[0], time.time())


def drill(daemon: RunningDaemon) -> None:
    """Run a drill, as the command line does."""
    command = [sys.executable, "-m", "monitor.cli", "drill", "--by", "tester", "--state", str(daemon.state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
