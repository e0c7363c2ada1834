"""A drill's report as one HTML page that needs nothing else: light, dark, and on paper.

Nothing in it is markup but what is written here: every name comes from an agent's host and is escaped. The page's own
policy forbids scripts and anything from elsewhere.
"""

from __future__ import annotations

from html import escape

from killswitch.drills.drill_record import Drill, PointResult
from monitor.kill.drill_report import NOT_COVERED, QUESTION, VERIFY, Report, at, ms, said

_STEP, _HEIGHT = 32, 72  # of the trend's bars, in the units of the drawing
_TONE = {"Yes": "good", "No": "bad", "Not shown": "unknown"}

_STYLE = """
:root{color-scheme:light dark;--ink:#16202b;--dim:#586675;--paper:#fff;--line:#d7dee6;--good:#12703f;--bad:#b3261e;
--unknown:#7a5600;--tint:#f4f7fa}
@media(prefers-color-scheme:dark){:root{--ink:#e7edf3;--dim:#9fb0c0;--paper:#10161d;--line:#2c3844;--good:#5fd08f;
--bad:#ff8a80;--unknown:#f0c05a;--tint:#18212b}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:2rem 1.5rem 3rem;background:var(--paper);color:var(--ink);
font:.94rem/1.5 system-ui,sans-serif}
h1{font-size:1.1rem;font-weight:600;color:var(--dim);margin:0}
h2{font-size:1rem;margin:1.8rem 0 .5rem}
.answer{border-left:.4rem solid var(--tone);padding:.1rem 0 .1rem 1rem;margin:.6rem 0 1.4rem}
.answer b{display:block;font-size:2.6rem;line-height:1.15;color:var(--tone)}
.good{--tone:var(--good)}.bad{--tone:var(--bad)}.unknown{--tone:var(--unknown)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.2rem;margin:0}
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.88rem}
th,td{text-align:left;vertical-align:top;padding:.25rem .9rem .25rem 0;border-bottom:1px solid var(--line);
white-space:nowrap}
td:nth-child(-n+2){white-space:normal;overflow-wrap:anywhere;min-width:11rem}
th{color:var(--dim);font-weight:600}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
tr.bad td:first-child,td.bad{color:var(--bad);font-weight:600}
tr.open td{border-bottom:0}
small{font-weight:400}
small,.dim{color:var(--dim)}
svg{max-width:100%;height:4.5rem;display:block}
ul{padding-left:1.2rem;margin:.3rem 0}
code,pre{font:.8rem/1.5 ui-monospace,monospace}
pre{background:var(--tint);padding:.7rem;white-space:pre-wrap;overflow-wrap:anywhere;margin:.4rem 0}
@media print{@page{margin:12mm}:root{font-size:10.5px;--ink:#000;--dim:#444;--paper:#fff;--line:#bbb;--good:#12703f;
--bad:#b3261e;--unknown:#7a5600;--tint:#f4f4f4}body{padding:0;max-width:none;line-height:1.35}p{margin:.4rem 0}
details{display:none}tr,.answer,svg{break-inside:avoid}h2{margin-top:1rem;break-after:avoid}*{print-color-adjust:exact}}
"""


def page(report: Report) -> str:
    """Return the whole page."""
    drill = report.drill
    parts = [
        f"<h1>{escape(QUESTION)}</h1>",
        f'<p class="answer {_TONE[report.answer]}"><b>{report.answer}.</b>{escape(report.sentence)}</p>',
        _facts(report),
        "<h2>Enforcement points</h2>",
        _points(report),
        "<h2>The last drills</h2>",
        _trend(report),
        "<h2>Not covered</h2>",
        f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in NOT_COVERED)}</ul>",
        "<h2>Proof</h2>",
        _proof(report),
    ]
    title = f"Kill drill {at(drill.at_s)}: {drill.verdict}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _facts(report: Report) -> str:
    lines = (f"<dt>{escape(fact.name)}</dt><dd>{escape(fact.value)}</dd>" for fact in report.facts)
    return f"<dl>{''.join(lines)}</dl>"


def _points(report: Report) -> str:
    if not report.rows:
        return "<p>There was none.</p>"
    head = _cells(
        "th",
        ("Point", ""), ("Serves", ""), ("Refused", ""), ("writer's clock", "n"), ("own clock", "n"),
        ("Allowed again", ""), ("after", "n"),
    )  # fmt: skip
    rows = "".join(_point(point) for point in report.rows)
    rest = f'<p class="dim">{escape(report.rest)}.</p>' if report.rest else ""
    note = "" if all(p.refused_own_ms is None for p in report.rows) else _CLOCKS
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{rest}{note}'


_CLOCKS = (
    "<p class=\"dim\">The writer's clock counts the way back too. A point's own clock counts from the writer's stamp,"
    " and is off by as much as the two hosts' clocks differ.</p>"
)


def _point(point: PointResult) -> str:
    who = f"{escape(point.name)} <small>{escape(f'{point.host}, pid {point.pid}')}</small>"
    problem = f'<tr class="bad"><td colspan="7">{escape(point.problem)}</td></tr>' if point.problem else ""
    cells = _raw_cells(
        "td",
        (who, ""),
        (escape(", ".join(point.serves) or "–"), ""),
        (escape(said(point.refused)), "" if point.refused else "bad"),
        (ms(point.refused_writer_ms), "n"),
        (ms(point.refused_own_ms), "n"),
        (escape(said(point.allowed_again)), "" if point.allowed_again else "bad"),
        (ms(point.allowed_writer_ms), "n"),
    )
    row = '<tr class="bad open">' if point.problem else "<tr>"
    return f"{row}{cells}</tr>{problem}"


def _cells(tag: str, *cells: tuple[str, str]) -> str:
    return _raw_cells(tag, *((escape(text), kind) for text, kind in cells))


def _raw_cells(tag: str, *cells: tuple[str, str]) -> str:
    return "".join(
        f'<{tag} class="{kind}">{text}</{tag}>' if kind else f"<{tag}>{text}</{tag}>" for text, kind in cells
    )


def _trend(report: Report) -> str:
    words = f"<p>{escape(report.trend_sentence)}</p>"
    return words + _bars(list(reversed(report.trend))) if len(report.trend) > 1 else words


def _bars(drills: list[Drill]) -> str:
    """Draw each drill's p99 as a bar, oldest first, on a scale from 0 to the slowest."""
    slowest_ms = max((drill.latency_ms(0.99) or 0.0 for drill in drills), default=0.0) or 1.0
    bars = "".join(_bar(drill, number * _STEP, slowest_ms) for number, drill in enumerate(drills))
    label = escape(
        f"p99 of each drill, oldest first; the tallest bar is {ms(slowest_ms)}; a cross marks one that did not pass"
    )
    width, end = _STEP * len(drills), _HEIGHT + 1
    return (
        f'<svg viewBox="0 0 {width} {end}" width="{width}" role="img" aria-label="{label}"><title>{label}</title>'
        f'<line x1="0" x2="{width}" y1="{_HEIGHT}" y2="{_HEIGHT}" stroke="var(--line)"/>{bars}</svg>'
        f'<p class="dim">{label}.</p>'
    )


def _bar(drill: Drill, x: int, slowest_ms: float) -> str:
    p99_ms = drill.latency_ms(0.99)
    tall = max(2.0, (p99_ms or 0.0) / slowest_ms * (_HEIGHT - 18))
    passed = drill.verdict == "passed"
    fill = "var(--good)" if passed else "var(--bad)"
    words = escape(f"{at(drill.at_s)}: {drill.verdict}, {len(drill.points)} points, p99 {ms(p99_ms)}")
    cross = (
        f'<text x="{x + _STEP // 2}" y="{_HEIGHT - tall - 4:.1f}" text-anchor="middle" font-size="14" fill="{fill}">'
        "✕</text>"
    )
    return (
        f'<g><title>{words}</title><rect x="{x + 4}" y="{_HEIGHT - tall:.1f}" width="{_STEP - 8}" height="{tall:.1f}"'
        f' rx="2" fill="{fill}"/>{"" if passed else cross}</g>'
    )


def _proof(report: Report) -> str:
    return (
        f"<p>{escape(report.signature)}</p>"
        f"<p>Put the evidence into a file and run <code>{escape(VERIFY)}</code>; that needs neither daemon, store nor"
        " network. keyring.json is in the daemon's state directory.</p>"
        f"<details><summary>Evidence</summary><pre>{escape(report.evidence)}</pre></details>"
    )
