"""Microsoft's Agent Governance Toolkit before the same streams, in an environment and a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

from benchmarks.peer_environment import ROOT, PeerEnvironment, Say
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
    fleets = {"seeds": list(seeds), "agents": agents, "days": days}
    lines = map(json.dumps, chain([fleets], map(_plain, recorded)))
    answer: dict[str, Any] = ENVIRONMENT.ask(
        "benchmarks.runaway_peer_inside", lines=lines, timeout_s=RUN_S, say=say
    )
    (version,) = ENVIRONMENT.versions([PACKAGE]).values()
    return {**answer, "note": f"{PACKAGE} {version}. {NOTE}"}


def _plain(event: Event) -> tuple[float, dict[str, Any], int]:
    """Return what the peer reads of a recorded action: no argument, it has no place for one."""
    action = {name: event.action[name] for name in ("agent_id", "session_id", "tool")}
    return event.ts_s, action, event.number
