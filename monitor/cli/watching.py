"""The commands that run the daemon, feed it, and read from it, with their options."""

from __future__ import annotations

from pathlib import Path

from monitor.cli.arguments import Commands, as_json, daemon, lazy, state, store


def add(commands: Commands) -> None:
    """Add them all."""
    _up(commands)
    _demo(commands)
    _replay(commands)
    _backtest(commands)
    _tail(commands)
    _agents(commands)
    _doctor(commands)
    _deliveries(commands)


def _up(commands: Commands) -> None:
    up = commands.add_parser("up", help="run the daemon")
    state(up)
    up.add_argument("--config", type=Path, help="a TOML file; see config.reference.toml")
    up.add_argument("--host", help="address to listen on (default: loopback)")
    up.add_argument("--port", type=int, help="port to listen on, 0 for a free one (default: 8787)")
    up.add_argument("--redis", default="", metavar="URL", help="use this server instead of the embedded one")
    up.add_argument(
        "--engine",
        default="embedded",
        metavar="URL",
        help="embedded, or kafka://host:9092[/prefix]: topics PREFIX.actions and PREFIX.alerts (default: killcord)",
    )
    up.set_defaults(run=lazy("up"))


def _demo(commands: Commands) -> None:
    demo = commands.add_parser(
        "demo", help="a fleet of agents: one is hijacked and killed, one is killed by hand"
    )
    demo.add_argument("--once", action="store_true", help="end by itself instead of waiting for Ctrl-C")
    demo.add_argument("--json", action="store_true", help="print one JSON object last on standard output")
    demo.add_argument("--agents", type=int, default=24, help="how many agents, at least 20 (default: 24)")
    demo.add_argument("--seed", type=int, default=1, help="another number is another fleet (default: 1)")
    demo.add_argument(
        "--state", type=Path, help="keep the state here (default: a new directory, removed at the end)"
    )
    demo.set_defaults(run=lazy("demo"))


def _replay(commands: Commands) -> None:
    replay = commands.add_parser("replay", help="send recorded actions through the real ingest")
    replay.add_argument(
        "path", type=Path, help="an NDJSON file (.gz too), or a directory with actions.jsonl[.gz]"
    )
    daemon(replay)
    as_json(replay)
    replay.set_defaults(run=lazy("replay"))


def _backtest(commands: Commands) -> None:
    backtest = commands.add_parser(
        "backtest", help="what a policy would have alerted and killed, from history; compares two policies"
    )
    backtest.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="recorded streams, as for replay, merged by time; or",
    )
    backtest.add_argument(
        "--state", type=Path, metavar="DIR", help="... the action log of a daemon, running or not (default)"
    )
    backtest.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="a configuration, for its [detection] and [response] tables",
    )
    backtest.add_argument("--against", type=Path, metavar="FILE", help="compare it with this one")
    backtest.add_argument("--last", metavar="7d", help="only the end of the history; s, m, h or d")
    backtest.add_argument("--examples", type=int, default=5, metavar="N", help="of each kind (default: 5)")
    as_json(backtest)
    backtest.set_defaults(run=lazy("backtest"))


def _tail(commands: Commands) -> None:
    tail = commands.add_parser("tail", help="the live feed in a terminal")
    tail.add_argument(
        "filter", nargs="*", metavar="FILTER", help="only what matches: agent:billing-* severity:>=high"
    )
    tail.add_argument("--since", type=int, metavar="SEQ", help="resume after this message")
    tail.add_argument("--limit", type=int, metavar="N", help="end after N messages")
    daemon(tail)
    as_json(tail)
    tail.set_defaults(run=lazy("tail"))


def _agents(commands: Commands) -> None:
    agents = commands.add_parser("agents", help="every agent with its model, risk and state")
    daemon(agents)
    as_json(agents)
    agents.set_defaults(run=lazy("agents"))


def _doctor(commands: Commands) -> None:
    doctor = commands.add_parser("doctor", help="what is wrong with this installation, and what to do")
    store(doctor)
    doctor.add_argument(
        "--config", type=Path, metavar="FILE", help="the configuration (default: the running daemon's)"
    )
    doctor.add_argument("--all", action="store_true", help="show what is well too")
    as_json(doctor)
    doctor.set_defaults(run=lazy("doctor"))


def _deliveries(commands: Commands) -> None:
    deliveries = commands.add_parser(
        "deliveries", help="how each delivery route stands; `deliveries test ROUTE` sends a test through one"
    )
    deliveries.add_argument("act", nargs="?", choices=["test"], help="send a message that says it is a test")
    deliveries.add_argument("route", nargs="?", help="through this route")
    daemon(deliveries)
    as_json(deliveries)
    deliveries.set_defaults(run=lazy("deliveries"))
