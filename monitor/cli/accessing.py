"""The commands that say who may do what, and show who did what, with their options."""

from __future__ import annotations

from monitor.access.roles import ROLES
from monitor.cli.arguments import Commands, as_json, daemon, lazy, operator, state


def add(commands: Commands) -> None:
    """Add them all."""
    _tokens(commands)
    _audit(commands)


def _tokens(commands: Commands) -> None:
    tokens = commands.add_parser("tokens", help="who may do what over HTTP: make, list and revoke tokens")
    verbs = tokens.add_subparsers(required=True, metavar="new|list|revoke")
    new = verbs.add_parser("new", help="make a token and print it, once")
    new.add_argument("--role", required=True, choices=ROLES)
    new.add_argument(
        "--name",
        required=True,
        help="whose it is, such as alice@example.com; the record says so of all they do",
    )
    new.add_argument("--expires", metavar="90d", help="for how long; s, m, h or d (default: until revoked)")
    listed = verbs.add_parser("list", help="all tokens, those that open nothing any more too")
    revoke = verbs.add_parser("revoke", help="let a token open nothing any more, and end its sessions")
    revoke.add_argument("id", metavar="ID", help="as `tokens list` shows it")
    for name, verb in (("new", new), ("list", listed), ("revoke", revoke)):
        state(verb)
        as_json(verb)
        verb.set_defaults(run=lazy("tokens", name if name != "list" else "show"))
    for verb in (new, revoke):
        verb.add_argument("--by", default=operator(), help="who (default: user@host)")


def _audit(commands: Commands) -> None:
    audit = commands.add_parser("audit", help="who did what, newest first")
    audit.add_argument(
        "--last", default="24h", metavar="24h", help="how far back; s, m, h or d (default: 24h)"
    )
    daemon(audit)
    as_json(audit)
    audit.set_defaults(run=lazy("audit"))
