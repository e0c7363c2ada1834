"""What a drill's report says: one answer, what was done, how each point did, and what was not shown. Pure.

The words are here; ``drill_report_html`` and ``drill_report_text`` only lay them out. Every name in them comes from an
agent's host and is escaped there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from killswitch.drills.drill_record import Drill, PointResult
from monitor.kill.drill_log import KeptDrill

QUESTION: Final = "Can you kill an agent's access in under 60 seconds?"
LIMIT_S: Final = 60.0
MAX_ROWS: Final = 20  # what fits on a page; those that failed come first, then the slowest
MAX_TREND: Final = 24
MAX_NAMED: Final = 3  # failing points that the one sentence names

NOT_COVERED: Final = (
    "Agents that act without an enforcement point in front of what they touch: nothing stops those.",
    "Whether each program asks its point before every action. The drill shows what the point answers when asked.",
    "Calls that are under way when the kill comes, unless the program runs inside a watch or under killcord guard.",
    "Tokens and keys that others have issued (cloud, SaaS, databases): they stay valid where no point stands.",
    "Any other moment than this one. Drills on a schedule, and the age of the last one, say how old the answer is.",
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of what was done."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Report:
    """A drill with its proof and the drills before it."""

    drill: Drill
    evidence: str
    signed_by: str
    key_id: str
    trend: tuple[Drill, ...]

    @property
    def answer(self) -> Literal["Yes", "No", "Not shown"]:
        """The answer to :data:`QUESTION`, as far as this drill goes."""
        drill = self.drill
        if drill.verdict in ("no_points", "inconclusive"):
            return "Not shown"
        is_fast = (drill.latency_ms(1) or 0.0) / 1e3 < LIMIT_S and drill.lease_s < LIMIT_S
        return "Yes" if drill.verdict == "passed" and is_fast else "No"

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        drill = self.drill
        if drill.verdict != "passed":
            return _capital(f"{drill}{_named(drill.failing)}.")
        which = f"of the name {drill.only} " if drill.only else ""
        count = len(drill.points)
        who = f"All {count} enforcement points {which}" if count > 1 else f"The one enforcement point {which}"
        words = (
            f"{who.rstrip()} refused a revoked canary within {ms(drill.latency_ms(1))},"
            f" and allowed it again when it was restored. "
        )
        lease = f"{drill.lease_s:g} s"
        if drill.lease_s >= LIMIT_S:
            return f"{words}But a point that is cut off from the store refuses by itself only after its lease, {lease}."
        return f"{words}A point that is cut off from the store refuses by itself after its lease, at most {lease}."

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What was done, when, by whom, and how it went in numbers."""
        drill = self.drill
        done = (
            "was revoked and restored through the same path as a real kill"
            if drill.epoch
            else "was not revoked"
        )
        disk = {
            True: "on disk",
            False: "NOT on disk in time",
            None: "the server cannot say whether it is on disk",
        }
        only = f" (only points named {drill.only})" if drill.only else ""
        return (
            Fact("Done", f"{drill.target} {done}{only}"),
            Fact("When", at(drill.at_s)),
            Fact("By", drill.by),
            Fact("Promise", f"every point refuses within {ms(drill.promise_ms)} of the write"),
            Fact("Points", f"{len(drill.points)} live, {len(drill.failing)} failed"),
            Fact(
                "Write", f"answered after {ms(drill.written_ms)}; change {drill.epoch}; {disk[drill.durable]}"
            ),
            Fact(
                "Latency",
                f"p50 {ms(drill.latency_ms(0.5))} · p99 {ms(drill.latency_ms(0.99))} · max {ms(drill.latency_ms(1))}"
                " (from before the write until the point's word was back, all on the writer's clock)",
            ),
        )

    @property
    def rows(self) -> tuple[PointResult, ...]:
        """The points that are shown: those that failed first, then the slowest."""
        return tuple(sorted(self.drill.points, key=_rank)[:MAX_ROWS])

    @property
    def rest(self) -> str:
        """What is said of the points that are not shown."""
        hidden = sorted(self.drill.points, key=_rank)[MAX_ROWS:]
        if not hidden:
            return ""
        failed = sum(bool(point.problem) for point in hidden)
        slowest = max((point.refused_writer_ms or 0.0 for point in hidden), default=0.0)
        how = f"{failed} of them failed" if failed else f"all passed, within {ms(slowest)}"
        return f"and {len(hidden)} more points, {how}; the evidence lists every one"

    @property
    def trend_sentence(self) -> str:
        """The last drills in one sentence."""
        if not self.trend:
            return "This is the first drill on record."
        passed = sum(drill.verdict == "passed" for drill in self.trend)
        slowest = [found for drill in self.trend if (found := drill.latency_ms(0.99)) is not None]
        span = f"; p99 between {ms(min(slowest))} and {ms(max(slowest))}" if slowest else ""
        since = at(self.trend[-1].at_s)
        return f"Of the last {len(self.trend)} drills, since {since}, {passed} passed{span}."

    @property
    def signature(self) -> str:
        """Who vouches for this."""
        if not self.signed_by:
            return "Not signed by any key of the keyring: nothing vouches for what is written here."
        return f"Signed (Ed25519) by the key {self.key_id}, {self.signed_by}."


VERIFY: Final = "killcord drill --verify EVIDENCE --keyring keyring.json"
"""How to verify the evidence; it needs no daemon, no store and no network."""


def make_report(kept: KeptDrill, earlier: Sequence[KeptDrill]) -> Report:
    """Return the report of a drill.

    Parameters
    ----------
    earlier : sequence
        The drills on record, newest first; this one may be among them.
    """
    _, _, trailer = kept.evidence.partition(b"\n")
    same = [each.drill for each in earlier if each.drill.only == kept.drill.only]
    return Report(
        drill=kept.drill,
        evidence=kept.evidence.decode(),
        signed_by=kept.signed_by,
        key_id=trailer.partition(b" ")[0].decode(),
        trend=tuple(same[:MAX_TREND]),
    )


def ms(value: float | None) -> str:
    """Return a time for people: three digits at most, in ms or s."""
    if value is None:
        return "–"
    if abs(value) >= 10_000:
        return f"{value / 1e3:.0f} s"
    if abs(value) >= 1_000:
        return f"{value / 1e3:.1f} s"
    return f"{value:.0f} ms" if abs(value) >= 100 else f"{value:.1f} ms"


def at(seconds: float) -> str:
    """Return a time since 1970 as people write it, in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s since 1970"


def said(claim: bool | None) -> str:
    """Return a claim as a word."""
    return {True: "yes", False: "no", None: "not heard"}[claim]


def _named(failing: Sequence[PointResult]) -> str:
    """Return the first failing points by name, with what each did."""
    if not failing:
        return ""
    names = "; ".join(f"{point} {point.problem}" for point in failing[:MAX_NAMED])
    more = f"; and {len(failing) - MAX_NAMED} more" if len(failing) > MAX_NAMED else ""
    return f": {names}{more}"


def _rank(point: PointResult) -> tuple[bool, float, str]:
    return (not point.problem, -(point.refused_writer_ms or 0.0), point.name)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
