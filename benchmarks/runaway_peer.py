"""Microsoft's Agent Governance Toolkit before the same streams, in an environment and a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.peer_environment import ROOT, NoPeers, PeerEnvironment, Say
from benchmarks.runaway_streams import Event

ENVIRONMENT: Final = PeerEnvironment(
    ROOT / ".cache" / "runaway_peers", Path(__file__).with_name("runaway_peers.lock")
)
PACKAGE: Final = "agent-governance-toolkit-cli"
RUN_S: Final = 7200.0
NOTE: Final = (
    "RogueAgentDetector, default configuration, assessed after each action on the stream's clock, as the toolkit's own "
    "middleware does; an alert is quarantine_recommended. It knows no hours of the day."
)


def run_peer(
    seeds: Sequence[int], agents: int, days: int, recorded: Iterable[Event], say: Say
) -> dict[str, Any]:
    """Return what the peer's detector makes of the simulated and the recorded streams.

    Raises
    ------
    NoPeers
        If it cannot be installed, or does not run.
    """
    ENVIRONMENT.install(say)
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile("w+") as told:
        told.write(json.dumps({"seeds": list(seeds), "agents": agents, "days": days}) + "\n")
        for event in recorded:
            told.write(json.dumps(_plain(event)) + "\n")
        told.seek(0)
        try:
            done = subprocess.run(
                [str(ENVIRONMENT.python), "-m", "benchmarks.runaway_peer_inside"],
                cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=told, stdout=subprocess.PIPE, check=True, timeout=RUN_S,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            raise NoPeers(f"{PACKAGE}: {type(error).__name__}") from error
    answer: dict[str, Any] = json.loads(done.stdout)
    (version,) = ENVIRONMENT.versions([PACKAGE]).values()
    return {**answer, "note": f"{PACKAGE} {version}. {NOTE}"}


def _plain(event: Event) -> tuple[float, dict[str, Any], int]:
    """Return what the peer reads of a recorded action: no argument, it has no place for one."""
    action = {name: event.action[name] for name in ("agent_id", "session_id", "tool")}
    return event.ts_s, action, event.number
