"""The commands and their options, in one place; each command's work is in a module of its own."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from killswitch import InvalidRequest, InvalidTarget, KillswitchError, StoreUnreachable
from monitor.errors import ActionError, ConfigError, DaemonError, HistoryError, MonitorError

DONE, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (ConfigError, ActionError, InvalidRequest, InvalidTarget) as error:
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


def default_state() -> Path:
    """Return where the state lies unless told otherwise: `$XDG_STATE_HOME/killcord`."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "killcord"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="killcord", description="Watches what AI agents do and cuts a bad one off in milliseconds."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_up(commands)
    _add_demo(commands)
    _add_replay(commands)
    _add_backtest(commands)
    _add_kill(commands)
    _add_restore(commands)
    _add_status(commands)
    _add_drill(commands)
    _add_tail(commands)
    _add_agents(commands)
    _add_guard(commands)
    _add_approve(commands)
    _add_keys(commands)
    return parser


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def _add_up(commands: Commands) -> None:
    up = commands.add_parser("up", help="run the daemon")
    _state(up)
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
    up.set_defaults(run=_lazy("up"))


def _add_demo(commands: Commands) -> None:
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
    demo.set_defaults(run=_lazy("demo"))


def _add_replay(commands: Commands) -> None:
    replay = commands.add_parser("replay", help="send recorded actions through the real ingest")
    replay.add_argument(
        "path", type=Path, help="an NDJSON file (.gz too), or a directory with actions.jsonl[.gz]"
    )
    _daemon(replay)
    _json(replay)
    replay.set_defaults(run=_lazy("replay"))


def _add_backtest(commands: Commands) -> None:
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
    _json(backtest)
    backtest.set_defaults(run=_lazy("backtest"))


def _add_kill(commands: Commands) -> None:
    kill = commands.add_parser("kill", help="stop a target everywhere")
    _target_and_reason(kill, required=False)  # not with --flush
    kill.add_argument(
        "--flush",
        action="store_true",
        help="instead: carry out the kills that were kept while the store was away (a running daemon does by itself)",
    )
    kill.add_argument("--level", choices=("step_up", "suspend", "revoke"), default="revoke")
    kill.add_argument(
        "--for", dest="for_s", type=float, metavar="SECONDS", help="how long a suspension lasts"
    )
    kill.add_argument(
        "--allow-no-points",
        action="store_true",
        help="exit status 0 also if no enforcement point lives, so that nobody is known to enforce it",
    )
    kill.add_argument("--confirm", metavar="fleet", help="where nobody can be asked: yes, the whole fleet")
    kill.set_defaults(run=_lazy("kill"))


def _add_restore(commands: Commands) -> None:
    restore = commands.add_parser("restore", help="let a target act again")
    _target_and_reason(restore)
    _voter(restore)
    restore.add_argument(
        "--expires-in",
        type=float,
        default=3_600.0,
        metavar="SECONDS",
        help="how long others can agree, if more people must (default: an hour)",
    )
    restore.set_defaults(run=_lazy("restore"))


def _add_status(commands: Commands) -> None:
    status = commands.add_parser("status", help="what is stopped, and which enforcement points live")
    status.add_argument(
        "target", nargs="?", help="only this one, such as agent:billing-bot; exit status 1 if it is stopped"
    )
    _store(status)
    _json(status)
    status.set_defaults(run=_lazy("status"))


def _add_drill(commands: Commands) -> None:
    drill = commands.add_parser(
        "drill", help="would a kill be enforced? revoke a canary, and see every point do it"
    )
    drill.add_argument("--point", metavar="NAME", help="judge only the enforcement points of this name")
    drill.add_argument(
        "--promise",
        type=float,
        default=1000.0,
        metavar="MS",
        help="every point refuses within (default: 1000 ms)",
    )
    drill.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS", help="wait so long for points (default: 5)"
    )
    drill.add_argument("--report", type=Path, metavar="FILE", help="write one page for people: .html or .md")
    drill.add_argument("--evidence", type=Path, metavar="FILE", help="write the signed result")
    drill.add_argument("--verify", type=Path, metavar="FILE", help="only say who signed this evidence or log")
    drill.add_argument("--key", type=Path, metavar="FILE", help="sign with this key (default: the daemon's)")
    drill.add_argument("--keyring", type=Path, metavar="FILE", help="(default: the daemon's)")
    drill.add_argument("--by", default=_operator(), help="who (default: user@host)")
    _store(drill)
    _json(drill)
    drill.set_defaults(run=_lazy("drill"))


def _add_tail(commands: Commands) -> None:
    tail = commands.add_parser("tail", help="the live feed in a terminal")
    tail.add_argument("--since", type=int, metavar="SEQ", help="resume after this message")
    tail.add_argument("--limit", type=int, metavar="N", help="end after N messages")
    _daemon(tail)
    _json(tail)
    tail.set_defaults(run=_lazy("tail"))


def _add_agents(commands: Commands) -> None:
    agents = commands.add_parser("agents", help="every agent with its model, risk and state")
    _daemon(agents)
    _json(agents)
    agents.set_defaults(run=_lazy("agents"))


def _add_guard(commands: Commands) -> None:
    guard = commands.add_parser(
        "guard", help="run any program under supervision: guard --agent NAME -- CMD ..."
    )
    guard.add_argument(
        "--agent", metavar="NAME", help="who acts; the program is stopped when this one is, or"
    )
    guard.add_argument("--agent-version", metavar="VERSION", help="... this version of it")
    guard.add_argument("--session", metavar="ID")
    guard.add_argument(
        "--human", metavar="H", action="append", help="on whose behalf; again for each in the chain"
    )
    guard.add_argument("--credential", metavar="ID")
    guard.add_argument("--tool", metavar="T")
    guard.add_argument("--tenant", metavar="T")
    guard.add_argument(
        "--grace",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="between SIGTERM and SIGKILL when revoked; 0 kills at once (default: 5)",
    )
    guard.add_argument(
        "--lease",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="without news from the store for so long it is stopped (default: 5)",
    )
    guard.add_argument(
        "--on-lease",
        choices=("freeze", "kill"),
        default="freeze",
        help="how it is stopped then (default: freeze, until the store is heard again)",
    )
    guard.add_argument(
        "--no-cgroup", action="store_true", help="walk the processes even where a control group could be made"
    )
    guard.add_argument(
        "--evidence", type=Path, metavar="FILE", help="write here what was stopped, when and why"
    )
    guard.add_argument("--keyring", type=Path, metavar="FILE", help="believe only what these keys signed")
    guard.add_argument(
        "--sentinel",
        type=Path,
        metavar="FILE",
        help="a file that stops what it names, or everything if it is empty",
    )
    _store(guard)
    guard.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="-- CMD", help="the program and its arguments"
    )
    guard.set_defaults(run=_lazy("guard"))


def _add_approve(commands: Commands) -> None:
    approve = commands.add_parser("approve", help="agree to somebody's petition to restore a target")
    approve.add_argument("id", nargs="?", metavar="ID", help="the petition; without --key it is only shown")
    approve.add_argument("--list", action="store_true", help="show all that are open")
    approve.add_argument("--yes", action="store_true", help="do not ask on a terminal")
    _voter(approve)
    _timeout(approve)
    _store(approve)
    _json(approve)
    approve.set_defaults(run=_lazy("approve"))


def _add_keys(commands: Commands) -> None:
    keys = commands.add_parser("keys", help="who may restore: make keys, show and replace the keyring")
    verbs = keys.add_subparsers(required=True, metavar="new|show|propose|sign|publish")
    new = verbs.add_parser("new", help="make a private key, print its public line")
    new.add_argument("name", metavar="NAME", help="whose it is, such as alice@example.com")
    new.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the private key; keep it secret"
    )
    new.add_argument("--role", choices=("operator", "recovery", "daemon"), default="operator")
    show = verbs.add_parser("show", help="the keyring in force")
    propose = verbs.add_parser("propose", help="write a successor of the keyring, to be signed")
    propose.add_argument("--add", action="append", default=[], metavar="LINE", help="what `keys new` printed")
    propose.add_argument("--remove", action="append", default=[], metavar="NAME")
    propose.add_argument(
        "--quorum", action="append", default=[], metavar="N|KIND=N", help="how many must agree to restore"
    )
    propose.add_argument("--out", type=Path, required=True, metavar="FILE")
    sign = verbs.add_parser("sign", help="sign a proposed keyring with a key of the one in force")
    sign.add_argument("file", type=Path, metavar="FILE")
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="your private key")
    sign.add_argument("--yes", action="store_true", help="do not ask on a terminal")
    publish = verbs.add_parser("publish", help="put a keyring in force that enough keys have signed")
    publish.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="(default: again what was published from here)"
    )
    for name, verb in (("show", show), ("propose", propose), ("sign", sign), ("publish", publish)):
        verb.add_argument("--keyring", type=Path, metavar="FILE", help="in force (default: the daemon's)")
        verb.set_defaults(run=_lazy("keys", name))
        (_store if verb is publish else _state)(verb)
    for verb in (new, show):
        _json(verb)
    new.set_defaults(run=_lazy("keys", "new"))


def _voter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", type=Path, metavar="FILE", help="your private key, to agree with")
    parser.add_argument(
        "--keyring", type=Path, metavar="FILE", help="whose keys count (default: the daemon's)"
    )


def _target_and_reason(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument(
        "target",
        nargs=None if required else "?",
        help="such as agent:billing-bot, session:run-42, human:alice@example.com, fleet",
    )
    parser.add_argument(
        "--reason", required=required, help="why; kept in the record and shown where it is refused"
    )
    parser.add_argument("--by", default=_operator(), help="who (default: user@host)")
    _timeout(parser)
    _store(parser)
    _json(parser)


def _timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="wait so long for all points (default: 2)",
    )


def _store(parser: argparse.ArgumentParser) -> None:
    _state(parser)
    parser.add_argument(
        "--redis", default="", metavar="URL", help="the revocation store (default: the daemon's)"
    )


def _daemon(parser: argparse.ArgumentParser) -> None:
    _state(parser)
    parser.add_argument("--url", help="the daemon (default: the one that runs with the state directory)")
    parser.add_argument("--token", help="(default: from the state directory)")


def _state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state", type=Path, default=default_state(), metavar="DIR", help="the daemon's state directory"
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _operator() -> str:
    user = os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid-{os.getuid()}"
    return f"{user}@{os.uname().nodename}"


def _lazy(command: str, function: str = "run") -> Callable[[argparse.Namespace], int]:
    """Return a function that imports the command's module only when it runs: `killcord kill` must start fast."""

    def run(options: argparse.Namespace) -> int:
        from importlib import import_module

        return int(getattr(import_module(f"monitor.cli.{command}"), function)(options))

    return run
