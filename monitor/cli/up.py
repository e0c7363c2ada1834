"""`killcord up`: run the daemon."""

from __future__ import annotations

import argparse
import logging
import sys

from monitor.cli.arguments import operator
from monitor.config import load_config
from monitor.daemon import Options
from monitor.daemon import run as run_daemon
from monitor.errors import ConfigError
from monitor.state_dir import Address


def run(options: argparse.Namespace) -> int:
    """Run until SIGTERM or Ctrl-C."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    config = load_config(options.config)
    if options.engine.startswith("kafka://"):
        from monitor.engines.faust_worker import run_worker

        return run_worker(options.engine, config, options.state, options.redis)
    if options.engine != "embedded":
        raise ConfigError("--engine", "is 'embedded' or 'kafka://host:9092'")

    def on_ready(address: Address) -> None:
        print(f"ready {address.url}", flush=True)
        # Where kills are taken elsewhere, there is the dashboard that can do everything.
        print(f"dashboard {address.kill_url or address.url}/#token={address.token}", file=sys.stderr)

    run_daemon(
        Options(
            state=options.state,
            config=config,
            redis_url=options.redis,
            host=options.host,
            port=options.port,
            owner=operator(),
            on_ready=on_ready,
        )
    )
    return 0
