"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def default_state() -> Path:
    """Return where the state lies unless told otherwise: `$XDG_STATE_HOME/killcord`."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "killcord"


def voter(parser: argparse.ArgumentParser) -> None:
    """Add who agrees, and whose keys count."""
    parser.add_argument("--key", type=Path, metavar="FILE", help="your private key, to agree with")
    parser.add_argument(
        "--keyring", type=Path, metavar="FILE", help="whose keys count (default: the daemon's)"
    )


def target_and_reason(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add whom, why and by whom."""
    parser.add_argument(
        "target",
        nargs=None if required else "?",
        help="such as agent:billing-bot, session:run-42, human:alice@example.com, fleet",
    )
    parser.add_argument(
        "--reason", required=required, help="why; kept in the record and shown where it is refused"
    )
    parser.add_argument("--by", default=operator(), help="who (default: user@host)")
    timeout(parser)
    store(parser)
    as_json(parser)


def timeout(parser: argparse.ArgumentParser) -> None:
    """Add how long to wait for points."""
    parser.add_argument(
        "--timeout",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="wait so long for all points (default: 2)",
    )


def store(parser: argparse.ArgumentParser) -> None:
    """Add where the revocation store is."""
    state(parser)
    parser.add_argument(
        "--redis", default="", metavar="URL", help="the revocation store (default: the daemon's)"
    )


def daemon(parser: argparse.ArgumentParser) -> None:
    """Add where the daemon is, and a token for it."""
    state(parser)
    parser.add_argument("--url", help="the daemon (default: the one that runs with the state directory)")
    parser.add_argument("--token", help="(default: the running daemon's own, from the state directory)")
    parser.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="certificates to judge an https daemon by (default: the system's)",
    )


def state(parser: argparse.ArgumentParser) -> None:
    """Add the state directory."""
    parser.add_argument(
        "--state", type=Path, default=default_state(), metavar="DIR", help="the daemon's state directory"
    )


def as_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def operator() -> str:
    """Return who sits at this terminal, as ``user@host``."""
    user = os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid-{os.getuid()}"
    return f"{user}@{os.uname().nodename}"


def lazy(command: str, function: str = "run") -> Callable[[argparse.Namespace], int]:
    """Return a function that imports the command's module only when it runs: `killcord kill` must start fast."""

    def run(options: argparse.Namespace) -> int:
        from importlib import import_module

        return int(getattr(import_module(f"monitor.cli.{command}"), function)(options))

    return run
