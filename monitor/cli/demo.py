"""`killcord demo`: the whole story in a minute."""

from __future__ import annotations

import argparse

from monitor.demo.run import DemoOptions
from monitor.demo.run import run as run_demo


def run(options: argparse.Namespace) -> int:
    """Run the demo; 0 only if the story held."""
    return run_demo(
        DemoOptions(
            once=options.once,
            json=options.json,
            agents=options.agents,
            seed=options.seed,
            state=options.state,
        )
    )
