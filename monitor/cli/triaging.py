"""The commands with which people work on alerts, with their options."""

from __future__ import annotations

from monitor.alerts.life import CLOSE_REASONS
from monitor.cli.arguments import Commands, as_json, daemon, lazy


def add(commands: Commands) -> None:
    """Add them all."""
    _alerts(commands)
    _mute(commands)
    _mutes(commands)
    _unmute(commands)


def _alerts(commands: Commands) -> None:
    alerts = commands.add_parser(
        "alerts",
        help="list alerts, or ack, close, assign, comment, reopen them",
        description="killcord alerts [FILTER...] lists groups of alerts, by default those that are neither closed nor "
        "muted; killcord alerts ack|close|assign|comment|reopen ID... changes them. Put a filter that begins with a "
        "minus sign after --, and a word that is also the name of a change into quotation marks.",
    )
    alerts.add_argument(
        "words",
        nargs="*",
        metavar="FILTER | ack|close|assign|comment|reopen ID",
        help="such as agent:billing-* severity:>=high, or a change and the ids it is for",
    )
    alerts.add_argument("--reason", choices=CLOSE_REASONS, help="of closing: what it was")
    alerts.add_argument("--comment", metavar="TEXT", help="kept in the alert's history")
    to = alerts.add_mutually_exclusive_group()
    to.add_argument("--to", metavar="NAME", help="of assigning: who looks at it")
    to.add_argument("--to-nobody", action="store_true", help="of assigning: take the assignee away")
    alerts.add_argument("--limit", type=int, default=50, metavar="N", help="list at most N (default: 50)")
    daemon(alerts)
    as_json(alerts)
    alerts.set_defaults(run=lazy("alerts"))


def _mute(commands: Commands) -> None:
    mute = commands.add_parser("mute", help="hide alerts of exactly one agent and signal for a while")
    mute.add_argument("agent", metavar="AGENT")
    mute.add_argument("signal", metavar="SIGNAL", help="an alert's leading signal, as the list shows it")
    mute.add_argument("--for", dest="for_time", required=True, metavar="8h", help="s, m, h or d; at most 30d")
    mute.add_argument("--reason", required=True, help="why; kept in the record and shown with the mute")
    daemon(mute)
    as_json(mute)
    mute.set_defaults(run=lazy("mutes", "mute"))


def _mutes(commands: Commands) -> None:
    mutes = commands.add_parser("mutes", help="what is muted, by whom, why and until when")
    daemon(mutes)
    as_json(mutes)
    mutes.set_defaults(run=lazy("mutes", "show"))


def _unmute(commands: Commands) -> None:
    unmute = commands.add_parser("unmute", help="lift a mute")
    unmute.add_argument("id", metavar="ID")
    daemon(unmute)
    unmute.set_defaults(run=lazy("mutes", "unmute"))
