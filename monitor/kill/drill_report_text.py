"""A drill's report as Markdown, and as a table for a terminal."""

from __future__ import annotations

from killswitch.drills.drill_record import Drill, PointResult
from monitor.kill.drill_report import NOT_COVERED, QUESTION, VERIFY, Report, at, ms, said

_ESCAPED = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\`*_{}[]#|~!"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
_HEAD = (
    "Point",
    "Host",
    "Serves",
    "Refused",
    "after (writer)",
    "after (own clock)",
    "Allowed again",
    "Problem",
)


def markdown(report: Report) -> str:
    """Return the report as one Markdown page; names are escaped, so none can become markup."""
    lines = [f"# {QUESTION}", "", f"**{report.answer}.** {_cell(report.sentence)}", ""]
    lines += [f"- {fact.name}: {_cell(fact.value)}" for fact in report.facts]
    if report.rows:
        lines += ["", "## Enforcement points", "", _row(_HEAD), _row(["---"] * len(_HEAD))]
        lines += [_row([_cell(text) for text in _cells(point)]) for point in report.rows]
    if report.rest:
        lines += ["", report.rest]
    lines += ["", "## The last drills", "", report.trend_sentence]
    if report.trend:
        lines += ["", _row(("When", "Verdict", "Points", "p50", "p99", "max")), _row(["---"] * 6)]
        lines += [_row(_trend(drill)) for drill in report.trend]
    lines += ["", "## Not covered", "", *(f"- {item}" for item in NOT_COVERED)]
    lines += ["", "## Proof", "", _cell(report.signature), ""]
    lines += [f"Put these lines into a file and run `{VERIFY}`:", ""]
    lines += [f"    {line}" for line in report.evidence.splitlines()]
    return "\n".join(lines) + "\n"


def table(drill: Drill) -> str:
    """Return the points as a table for a terminal, aligned."""
    head = ("point", "refused", "writer", "own clock", "again", "problem")
    rows = [
        (str(point), said(point.refused), ms(point.refused_writer_ms), ms(point.refused_own_ms),
         said(point.allowed_again), point.problem)
        for point in drill.points
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )


def _cells(point: PointResult) -> tuple[str, ...]:
    return (
        point.name,
        f"{point.host}, pid {point.pid}",
        ", ".join(point.serves) or "–",
        said(point.refused),
        ms(point.refused_writer_ms),
        ms(point.refused_own_ms),
        said(point.allowed_again),
        point.problem or "–",
    )


def _trend(drill: Drill) -> tuple[str, ...]:
    times = [ms(drill.latency_ms(fraction)) for fraction in (0.5, 0.99, 1)]
    return (at(drill.at_s), drill.verdict, str(len(drill.points)), *times)


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Escape whatever Markdown, or HTML in it, would take for markup."""
    return " ".join(text.translate(_ESCAPED).split())
