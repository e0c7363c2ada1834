"""`killcord guard -- CMD`: run any program under supervision, and stop it, all of it, when its agent is stopped."""

from __future__ import annotations

import argparse
import os
import queue
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from killswitch import Guard, InvalidRequest
from killswitch.registry.points import MAX_SERVED_CHARS
from killswitch.supervise.cgroups import Cgroup
from killswitch.supervise.keeper import Keeper
from killswitch.supervise.processes import can_walk
from killswitch.supervise.stop_report import StopReport, save
from killswitch.supervise.supervision import Ending, Supervision
from killswitch.supervise.supervisor import Supervisor
from killswitch.supervise.terminals import Terminal
from killswitch.trust.keyring import Keyring
from monitor.cli.outcome import is_the_daemons_store, point_url
from monitor.kill.keys import KEYRING_FILE

MAX_TELL_S: Final = 10.0


def run(options: argparse.Namespace) -> int:
    """Run the program; the exit status is its own, 1 if it was refused or killed, 3 if the store cannot be heard."""
    supervision = Supervision(
        argv=_argv(options.command),
        names=_names(options),
        lease_s=options.lease,
        grace_s=_seconds("--grace", options.grace),
        kill_on_lease_loss=options.on_lease == "kill",
    )
    url = point_url(options)
    keeper = Keeper.start(silence_s=options.lease)  # before the guard's threads: it is a copy of this process
    try:
        keyring = _keyring(options)
        guard = Guard.connect(
            url,
            name=_point_name(supervision.argv[0]),
            lease_s=options.lease,
            keyring=keyring,
            sentinel=options.sentinel,
            serves=_serves(supervision),
        )
    except BaseException:
        keeper.end()
        raise
    with guard:
        return _supervise(guard, keeper, supervision, options.evidence, use_cgroup=not options.no_cgroup)


def _supervise(
    guard: Guard, keeper: Keeper, supervision: Supervision, evidence: Path | None, *, use_cgroup: bool
) -> int:
    report = StopReport(supervision.argv, supervision.names, guard.status().name)
    cgroup = Cgroup.create() if use_cgroup and can_walk() else None
    teller = _Teller(evidence)

    def tell() -> None:
        teller.tell(f"killcord guard: {report.line()}" if report.stops else "", report.text())

    try:
        supervisor = Supervisor(
            guard, keeper, supervision, report, cgroup=cgroup, terminal=Terminal.held(), on_stop=tell
        )
        ending = supervisor.run()
    finally:
        if cgroup is not None:
            cgroup.remove()
    teller.tell(_explanation(ending, report, supervision.argv[0]), report.text())
    teller.end()
    return ending.status


class _Teller:
    """Says and saves in a thread of its own: a slow disk or a reader that does not read must not hold up a kill."""

    def __init__(self, evidence: Path | None) -> None:
        self._evidence = evidence
        self._waiting: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="killcord-guard-teller", daemon=True)
        self._thread.start()

    def tell(self, line: str, report: str) -> None:
        """Have the report saved and the line, if any, said."""
        self._waiting.put((line, report))

    def end(self) -> None:
        """Wait until all is said and saved, or for ten seconds."""
        self._waiting.put(None)
        self._thread.join(MAX_TELL_S)

    def _run(self) -> None:
        while (word := self._waiting.get()) is not None:
            line, report = word
            if self._evidence is not None:
                try:
                    save(report, self._evidence)
                except OSError as error:
                    self._say(f"killcord guard: --evidence: {error}; what happened is not on record")
            if line:
                self._say(line)

    def _say(self, line: str) -> None:
        with suppress(OSError):  # nobody reads any more
            print(line, file=sys.stderr, flush=True)


def _explanation(ending: Ending, report: StopReport, program: str) -> str:
    if report.failed_errno is not None:
        return f"killcord guard: {program}: {os.strerror(report.failed_errno)}"
    if ending.refused is not None and not ending.ran:
        return f"killcord guard: nothing was run: {ending.refused}"
    if ending.refused is not None:
        return f"killcord guard: killed: {ending.refused}"
    if report.keeper_lost:
        return "killcord guard: somebody killed the process that keeps the program, so all of it was killed"
    return ""


def _keyring(options: argparse.Namespace) -> Keyring | None:
    """Return the keyring that was named, else that of the daemon whose store it is."""
    if options.keyring is not None:
        return Keyring.load(options.keyring)
    file = options.state / KEYRING_FILE
    return Keyring.load(file) if is_the_daemons_store(options) and file.exists() else None


def _serves(supervision: Supervision) -> list[str]:
    """Return what people will read that this point serves; a name too long for that is left out."""
    served = [f"{kind}:{name}" for kind, name in supervision.names.items() if isinstance(name, str)]
    return [line for line in served if len(line) <= MAX_SERVED_CHARS]


def _argv(command: list[str]) -> tuple[str, ...]:
    argv = tuple(command[1:] if command[:1] == ["--"] else command)
    if not argv:
        raise InvalidRequest("CMD", "say what to run: killcord guard --agent NAME -- CMD ...")
    return argv


def _names(options: argparse.Namespace) -> dict[str, Any]:
    given = {
        "agent": options.agent,
        "agent_version": options.agent_version,
        "session": options.session,
        "human": options.human,
        "credential": options.credential,
        "tool": options.tool,
        "tenant": options.tenant,
    }
    names = {kind: value for kind, value in given.items() if value}
    if not names:
        raise InvalidRequest("--agent", "say who acts, or nobody could stop it: --agent NAME")
    return names


def _seconds(field: str, value: float) -> float:
    if not 0 <= value <= 3600:
        raise InvalidRequest(field, f"{value} is not between 0 and 3600 seconds")
    return value


def _point_name(program: str) -> str:
    name = f"guard:{os.path.basename(program)}@{socket.gethostname()}:{os.getpid()}"
    return "".join(character if character.isprintable() else "?" for character in name)[-200:]
