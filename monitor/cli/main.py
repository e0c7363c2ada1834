"""Runs one command. Its options are in `watching` and its siblings, its work in a module of its own."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from killswitch import InvalidRequest, InvalidTarget, KillswitchError, StoreUnreachable
from monitor.cli import accessing, killing, triaging, watching
from monitor.errors import ActionError, ConfigError, DaemonError, FilterError, HistoryError, MonitorError

DONE, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (ConfigError, ActionError, FilterError, InvalidRequest, InvalidTarget) as error:
        return _fail(error, USAGE)
    except (DaemonError, HistoryError, StoreUnreachable) as error:
        return _fail(error, UNREACHABLE)
    except (MonitorError, KillswitchError) as error:
        return _fail(error, REFUSED)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return 130


def _fail(error: Exception, status: int) -> int:
    print(f"killcord: {error}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="killcord", description="Watches what AI agents do and cuts a bad one off in milliseconds."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    watching.add(commands)
    triaging.add(commands)
    killing.add(commands)
    accessing.add(commands)
    return parser
