"""`killcord agents`: every agent with its model, risk and state."""

from __future__ import annotations

import argparse
import json
from typing import Any

from monitor.cli.client import find_daemon, get


def run(options: argparse.Namespace) -> int:
    """Print the agents, the riskiest first."""
    agents = get(find_daemon(options), "/v1/agents")["agents"]
    agents.sort(key=lambda agent: (-agent["risk"], agent["agent_id"]))
    print(json.dumps(agents) if options.json else _table(agents))
    return 0


def _table(agents: list[dict[str, Any]]) -> str:
    width = max([len("AGENT"), *(len(agent["agent_id"]) for agent in agents)])
    lines = [f"{'AGENT':<{width}}  {'STATE':<13}  {'ACTIONS':>8}  {'ALERTS':>6}  {'RISK':>5}  STOPPED"]
    for agent in agents:
        stopped = agent["revocation"]
        lines.append(
            f"{agent['agent_id']:<{width}}  {agent['model']['state']:<13}  {agent['actions']:>8}  "
            f"{agent['alerts']:>6}  {agent['risk']:>5.1f}  "
            + (f"{stopped['level']}: {stopped['reason']}" if stopped else "-")
        )
    return "\n".join(lines)
