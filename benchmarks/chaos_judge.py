"""What the record of a chaos round proves or disproves. Pure: kills and runs go in, violations come out.

The rules
---------
A kill binds from the moment it was *asked* (before the call) until a restoration of its target is asked. It counts if
it was confirmed to the caller (on disk, or journaled by the daemon), or if it is found in the store although the caller
was told of a failure. Then

* no point may begin a check that allows the target later than one lease after the kill was *written* (``late``): the
  writer's own stamp just before its write, which leaves out how long a command line takes to start;
* no point that had refused the target as revoked may allow it again (``wrong restore``), and neither may a point that
  was started after the confirmation;
* when everything is healed and quiet, every point refuses it (``lost``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.chaos_record import ALLOWED, REVOKED, Run

Violation = Literal["late", "wrong restore", "lost"]


@dataclass(frozen=True, slots=True)
class Kill:
    """A kill that counts. Times in nanoseconds on CLOCK_MONOTONIC.

    ``written_ns`` is the writer's stamp just before its write; if the store no longer tells it, when it was confirmed.

    ``how`` says who asked whom and what was answered; ``until_ns`` is when a restoration was asked, infinite if none
    was; ``is_first`` tells that the target was never restored before, so that any refusal as revoked is this kill's.
    """

    target: int
    asked_ns: int
    written_ns: int
    confirmed_ns: float
    until_ns: float
    how: str
    is_first: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """One point that did not keep the promise of one kill. ``allowed_ms``: how long after the kill it still allowed."""

    violation: Violation
    kill: Kill
    point: str
    instance: int
    allowed_ms: float
    runs: tuple[Run, ...] = ()

    def story(self) -> str:
        """Return the point's answers around the kill: begin and end of each run, in ms after the kill was asked."""
        words = ("", "allowed", "revoked", "barred")
        return ", ".join(
            f"{words[run.answer]} {(run.first_ns - self.kill.asked_ns) / 1e6:.0f} to"
            f" {(run.last_ns - self.kill.asked_ns) / 1e6:.0f}"
            for run in self.runs
        )


def longest_allow_ns(kill: Kill, runs: Iterable[Run], *, since_ns: int) -> float:
    """Return how long after `since_ns` a check began that still allowed the target, 0 if none did."""
    return max(0.0, max((_last_allow_ns(kill, run) for run in runs), default=0.0) - since_ns)


def judge(
    kill: Kill, runs: Sequence[Run], started_ns: Mapping[int, int], *, lease_ns: float, slack_ns: float
) -> Finding | None:
    """Return the worst that the `runs` of one point and of the kill's target show, None if all is well.

    Parameters
    ----------
    runs : sequence of Run
        In order of time, of all processes that were this point one after the other.
    started_ns : mapping
        For each of these processes, when it was started.
    lease_ns, slack_ns : float
        The point's lease, and what is allowed for scheduling.
    """
    enforced_ns = math.inf
    late: Finding | None = None
    for run in runs:
        if run.answer == REVOKED and kill.is_first and kill.asked_ns <= run.first_ns < kill.until_ns:
            enforced_ns = min(enforced_ns, run.first_ns)
        allowed_ns = _last_allow_ns(kill, run)
        if allowed_ns <= kill.asked_ns:
            continue
        took_ms = (allowed_ns - kill.asked_ns) / 1e6
        if allowed_ns > enforced_ns or started_ns[run.instance] > kill.confirmed_ns:
            return Finding("wrong restore", kill, run.point, run.instance, took_ms, tuple(runs))
        if allowed_ns - kill.written_ns > lease_ns + slack_ns:
            late = Finding("late", kill, run.point, run.instance, took_ms, tuple(runs))
    return late


def _last_allow_ns(kill: Kill, run: Run) -> float:
    """Return when the last allowing check of the run began while the kill was binding; its asking if none did."""
    if run.answer != ALLOWED or run.target != kill.target or run.first_done_ns >= kill.until_ns:
        return kill.asked_ns
    return max(float(kill.asked_ns), min(run.last_ns, kill.until_ns))
