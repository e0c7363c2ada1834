"""The running daemon: whether it lives, answers, and is ready."""

from __future__ import annotations

import json
import socket

from monitor.doctor.finding import Finding, fail, ok, skipped, warn
from monitor.doctor.installation import Installation, command_line
from monitor.errors import DaemonError

_DOWN = "no daemon runs here"


def daemon(installation: Installation) -> Finding:
    """Say whether the daemon of this state directory runs."""
    try:
        address = installation.address
    except DaemonError as error:
        return fail(
            str(error), f"stop the daemon, delete {installation.state / 'daemon.json'}, and start it again"
        )
    start = f"start it: killcord up --state {installation.state}"
    if address is None:
        return fail(_DOWN, start)
    if not installation.is_running:
        return fail(f"the daemon (process {address.pid}) is gone without having been stopped", start)
    words = command_line(address.pid) if installation.pid else []
    if words and not any("killcord" in word or "monitor" in word for word in words):
        return fail(f"process {address.pid}, which daemon.json names, is another program by now", start)
    return ok(f"process {address.pid} serves {address.url}")


def port(installation: Installation) -> Finding:
    """Say whether the port is free for a daemon that is down, or taken by somebody else."""
    if installation.is_running:
        return skipped("the daemon runs; whether it answers is the next question")
    server = installation.config.server
    if not server.port:
        return ok("any free port will do")
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as error:
            return fail(
                f"port {server.port} of {server.host} cannot be had: {error.strerror}",
                "stop the program that has it (ss -ltnp names it), or choose another with --port",
            )
    return ok(f"port {server.port} of {server.host} is free")


def answers(installation: Installation) -> Finding:
    """Say whether the daemon answers over HTTP."""
    if not installation.is_running:
        return skipped(_DOWN)
    try:
        status, text = installation.fetch("/healthz")
    except DaemonError as error:
        return fail(
            f"the daemon runs and does not answer: {error}",
            "look at its log; if it is stuck, killcord kill works without it, and a restart loses nothing",
        )
    if status != 200 or text != "ok\n":
        return fail(
            f"/healthz answers {status}, and not as Killcord does", "another program has taken its port"
        )
    return ok("it answers")


def ready(installation: Installation) -> Finding:
    """Say whether actions are taken in and a kill would be written."""
    if not installation.is_running:
        return skipped(_DOWN)
    try:
        status, text = installation.fetch("/readyz")
        problems = json.loads(text)["problems"] if status != 200 else []
    except (DaemonError, ValueError, KeyError, TypeError) as error:
        return skipped(f"it does not say ({error})")
    if problems:
        return fail(
            f"the daemon is not ready: {'; '.join(map(str, problems))}",
            "see the store's checks below, or send actions more slowly while it catches up",
        )
    return ok("actions are taken in, and a kill would be written")


def blind_spots(installation: Installation) -> Finding:
    """Say whether the daemon has counted what should never happen."""
    if not installation.is_running:
        return skipped(_DOWN)
    try:
        _, text = installation.fetch("/metrics")
    except DaemonError as error:
        return skipped(f"it does not say ({error})")
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    if float(values.get("killcord_changes_unrecorded_total", 0)):
        return fail(
            "changes are in force that the daemon could not record", "see the disk, then restart the daemon"
        )
    if float(values.get("killcord_store_mended_total", 0)):
        return warn(
            "somebody changed the store, and it was put right", "find out who can write to it, and from where"
        )
    if float(values.get("killcord_kills_paused", 0)):
        return warn(
            "automatic kills are held back: too many in a short time", "look at the alerts, and kill by hand"
        )
    return ok("nothing happened that should not")
