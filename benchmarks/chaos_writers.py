"""Who kills and restores in a chaos round: a program with a Switch, the daemon's API, and the command line.

Each target has one writer, who repeats a kill until somebody confirms it, as people do, and who restores only what was
confirmed. A restoration that nobody confirmed may still happen later, so nothing more is asked of that target.
"""

from __future__ import annotations

import http.client
import json
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol

from benchmarks.chaos_judge import Kill
from benchmarks.chaos_keys import Keys
from benchmarks.chaos_world import ROOT, World
from killswitch import KillswitchError, Outcome, Switch, Target
from killswitch.trust.approvals import Approval

How = Literal["switch", "http", "cli"]
Answer = Literal["confirmed", "pending", "unknown"]

REPEAT_PAUSE_S: Final = 0.1
REPEAT_FOR_S: Final = 12.0
KIND_OF: Final = ("agent", "session", "human", "credential", "tool", "tenant", "delegation")


@dataclass(frozen=True, slots=True)
class Script:
    """What is asked for one target: when the kill is, how, and the pause after which it is restored, if at all."""

    number: int
    target: str
    how: How
    kill_at_s: float
    restore_after_s: float | None
    kill_again: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """One kill or restoration as its writer saw it. ``id`` is part of its reason, to be found by."""

    id: str
    number: int
    kind: Literal["kill", "restore"]
    how: How
    asked_ns: int
    answered_ns: int
    answer: Answer
    changed: bool


@dataclass
class Ledger:
    """Everything that was asked, in the order of asking for each target."""

    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, asked: Asked) -> None:
        """Add an entry."""
        with self.lock:
            self.asked.append(asked)

    def of(self, number: int) -> list[Asked]:
        """Return what was asked for a target."""
        with self.lock:
            return sorted(
                (each for each in self.asked if each.number == number), key=lambda each: each.asked_ns
            )

    def kills(self, number: int, written_ns: Callable[[str], int | None]) -> list[Kill]:
        """Return the kills of a target that count; `written_ns` tells when an id was written, if the store knows it."""
        kills: list[Kill] = []
        was_restored = False
        for asked in self.of(number):
            if asked.kind == "restore":
                was_restored = True
                kills = [
                    kill if kill.until_ns < math.inf else replace(kill, until_ns=asked.asked_ns)
                    for kill in kills
                ]
                continue
            found_ns = written_ns(asked.id)
            if asked.answer == "unknown" and found_ns is None:
                continue
            kills.append(
                Kill(
                    target=number,
                    asked_ns=asked.asked_ns,
                    written_ns=found_ns or (asked.answered_ns if asked.changed else asked.asked_ns),
                    confirmed_ns=math.inf if asked.answer == "unknown" else asked.answered_ns,
                    until_ns=math.inf,
                    how=f"{asked.how}, {'found' if asked.answer == 'unknown' else asked.answer}",
                    is_first=not was_restored,
                )
            )
        return kills

    def must_allow(self, number: int) -> bool:
        """Whether the last thing asked was a restoration that took effect for sure."""
        asked = self.of(number)
        return (
            bool(asked)
            and (asked[-1].kind, asked[-1].answer) == ("restore", "confirmed")
            and asked[-1].changed
        )


class Writer(Protocol):
    """A way to ask; returns the answer and whether anything was changed."""

    def kill(self, target: str, reason: str) -> tuple[Answer, bool]:
        """Ask for a kill."""

    def restore(self, target: str, reason: str) -> tuple[Answer, bool]:
        """Ask for a restoration."""


class BySwitch:
    """A program with a Switch of its own; with keys, it has the operators' votes for what it restores."""

    def __init__(self, switch: Switch, keys: Keys | None) -> None:
        self._switch = switch
        self._keys = keys

    def kill(self, target: str, reason: str) -> tuple[Answer, bool]:
        """Ask for a kill."""
        return self._ask(lambda: self._switch.revoke(Target.parse(target), reason=reason, by="chaos"))

    def restore(self, target: str, reason: str) -> tuple[Answer, bool]:
        """Ask for a restoration."""
        return self._ask(lambda: self._restore(Target.parse(target), reason))

    def _restore(self, target: Target, reason: str) -> Outcome:
        approvals: tuple[Approval, ...] = ()
        if self._keys is not None:
            record = self._switch.snapshot().revocations.get(target)
            approvals = () if record is None else self._keys.votes(target, record.change_id)
        return self._switch.restore(target, reason=reason, by="chaos", approvals=approvals)

    def _ask(self, ask: Callable[[], Outcome]) -> tuple[Answer, bool]:
        try:
            outcome = ask()
        except KillswitchError:
            return "unknown", False
        return ("confirmed" if outcome.durable else "unknown"), outcome.changed


class ByHttp:
    """The daemon's API."""

    def __init__(self, world: World) -> None:
        self._world = world

    def kill(self, target: str, reason: str) -> tuple[Answer, bool]:
        """Ask for a kill."""
        return self._post("/v1/revocations", {"target": target, "reason": reason})

    def restore(self, target: str, reason: str) -> tuple[Answer, bool]:
        """Ask for a restoration."""
        return self._post("/v1/restorations", {"target": target, "reason": reason})

    def _post(self, path: str, body: dict[str, Any]) -> tuple[Answer, bool]:
        try:
            status, answer = self._world.daemon.post(path, body, 6.0)
        except (OSError, ValueError, http.client.HTTPException):
            return "unknown", False
        return read_answer(answer) if status in (200, 202) else ("unknown", False)


class ByCommand:
    """The command line, in a process of its own."""

    def __init__(self, world: World) -> None:
        self._options = [
            "--redis",
            world.server.url,
            "--state",
            str(world.daemon.state),
            "--timeout",
            "0.3",
            "--json",
        ]

    def kill(self, target: str, reason: str) -> tuple[Answer, bool]:
        """Ask for a kill."""
        return self._run("kill", target, reason)

    def restore(self, target: str, reason: str) -> tuple[Answer, bool]:
        """Ask for a restoration."""
        return self._run("restore", target, reason)

    def _run(self, command: str, target: str, reason: str) -> tuple[Answer, bool]:
        done = subprocess.run(
            [sys.executable, "-m", "monitor.cli", command, target, "--reason", reason, *self._options],
            capture_output=True, cwd=ROOT, timeout=60, check=False,
        )  # fmt: skip
        return (
            read_answer(json.loads(done.stdout))
            if done.returncode in (0, 1) and done.stdout
            else ("unknown", False)
        )


def read_answer(answer: dict[str, Any]) -> tuple[Answer, bool]:
    """Return what the API or the command line said."""
    if answer.get("pending"):
        return "pending", True
    return ("confirmed" if answer["durable"] else "unknown"), bool(answer["applied"])


def plan(random_: random.Random, round_: int, first_number: int, ways: list[How]) -> list[Script]:
    """Return what is asked in one round."""
    scripts = []
    more: list[list[How]] = [["http"], ["cli"], []]
    hows: list[How] = ["switch", "switch", "switch", "http", *random_.choices(more, (2, 1, 2))[0]]
    for offset, how in enumerate(how if how in ways else ways[0] for how in hows):
        kind = random_.choice(KIND_OF)
        scripts.append(
            Script(
                number=first_number + offset,
                target=f"{kind}:chaos-{round_}-{offset}",
                how=how,
                kill_at_s=random_.uniform(0, 0.8),
                restore_after_s=random_.uniform(0, 0.6) if random_.random() < 0.4 else None,
                kill_again=random_.random() < 0.3,
            )
        )
    return scripts


def follow(script: Script, writer: Writer, restorer: Writer, ledger: Ledger, started_s: float) -> None:
    """Do what the script says; returns when the last of it was answered, or cannot be had."""
    time.sleep(max(0.0, started_s + script.kill_at_s - time.monotonic()))
    if _kill(script, writer, ledger) != "confirmed" or script.restore_after_s is None:
        return
    time.sleep(script.restore_after_s)
    answer = _ask(script, "restore", restorer.restore, ledger)
    if answer == "confirmed" and script.kill_again:
        _kill(script, writer, ledger)


def _kill(script: Script, writer: Writer, ledger: Ledger) -> Answer:
    end_s = time.monotonic() + REPEAT_FOR_S
    while True:
        answer = _ask(script, "kill", writer.kill, ledger)
        if answer != "unknown" or time.monotonic() > end_s:
            return answer
        time.sleep(REPEAT_PAUSE_S)


def _ask(
    script: Script,
    kind: Literal["kill", "restore"],
    ask: Callable[[str, str], tuple[Answer, bool]],
    ledger: Ledger,
) -> Answer:
    with ledger.lock:
        id_ = f"{script.number}.{len(ledger.asked)}.{time.monotonic_ns()}"
    asked_ns = time.monotonic_ns()
    answer, changed = ask(script.target, f"chaos {id_}")
    ledger.note(Asked(id_, script.number, kind, script.how, asked_ns, time.monotonic_ns(), answer, changed))
    return answer
