"""The commands that kill, restore, and show that a kill works, with their options."""

from __future__ import annotations

import argparse
from pathlib import Path

from monitor.cli.arguments import (
    Commands,
    as_json,
    lazy,
    operator,
    state,
    store,
    target_and_reason,
    timeout,
    voter,
)


def add(commands: Commands) -> None:
    """Add them all."""
    _kill(commands)
    _restore(commands)
    _status(commands)
    _drill(commands)
    _guard(commands)
    _approve(commands)
    _keys(commands)


def _kill(commands: Commands) -> None:
    kill = commands.add_parser("kill", help="stop a target everywhere")
    target_and_reason(kill, required=False)  # not with --flush
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
    kill.set_defaults(run=lazy("kill"))


def _restore(commands: Commands) -> None:
    restore = commands.add_parser("restore", help="let a target act again")
    target_and_reason(restore)
    voter(restore)
    restore.add_argument(
        "--expires-in",
        type=float,
        default=3_600.0,
        metavar="SECONDS",
        help="how long others can agree, if more people must (default: an hour)",
    )
    restore.set_defaults(run=lazy("restore"))


def _status(commands: Commands) -> None:
    status = commands.add_parser("status", help="what is stopped, and which enforcement points live")
    status.add_argument(
        "target", nargs="?", help="only this one, such as agent:billing-bot; exit status 1 if it is stopped"
    )
    store(status)
    as_json(status)
    status.set_defaults(run=lazy("status"))


def _drill(commands: Commands) -> None:
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
    drill.add_argument("--by", default=operator(), help="who (default: user@host)")
    store(drill)
    as_json(drill)
    drill.set_defaults(run=lazy("drill"))


def _guard(commands: Commands) -> None:
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
    store(guard)
    guard.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="-- CMD", help="the program and its arguments"
    )
    guard.set_defaults(run=lazy("guard"))


def _approve(commands: Commands) -> None:
    approve = commands.add_parser("approve", help="agree to somebody's petition to restore a target")
    approve.add_argument("id", nargs="?", metavar="ID", help="the petition; without --key it is only shown")
    approve.add_argument("--list", action="store_true", help="show all that are open")
    approve.add_argument("--yes", action="store_true", help="do not ask on a terminal")
    voter(approve)
    timeout(approve)
    store(approve)
    as_json(approve)
    approve.set_defaults(run=lazy("approve"))


def _keys(commands: Commands) -> None:
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
        verb.set_defaults(run=lazy("keys", name))
        (store if verb is publish else state)(verb)
    for verb in (new, show):
        as_json(verb)
    new.set_defaults(run=lazy("keys", "new"))
