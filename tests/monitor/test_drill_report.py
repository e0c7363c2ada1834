"""The report of a drill: one answer, everything escaped, and proof that can be taken out of it."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest

from killswitch.drills.drill_record import Drill, evidence, read_evidence
from monitor.kill.drill_log import KeptDrill
from monitor.kill.drill_report import MAX_ROWS, QUESTION, Report, make_report, ms
from monitor.kill.drill_report_html import page
from monitor.kill.drill_report_text import markdown, table
from tests.killswitch.test_drill_record import DRILL, GOOD, KEYRING, SIGNER, bad

EVIL = "<script>alert(1)</script>\"'&|`*[x](javascript:alert(1))"


def kept(drill: Drill) -> KeptDrill:
    return KeptDrill(drill, evidence(drill, SIGNER), "daemon (daemon)")


def report(drill: Drill, *earlier: Drill) -> Report:
    return make_report(kept(drill), [kept(each) for each in (drill, *earlier)])


class Tags(HTMLParser):
    """The tags of a page, and whether they are closed."""

    VOID = ("meta", "br", "line", "rect")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("drill", "answer", "words"),
    [
        (DRILL, "Yes", "The one enforcement point refused a revoked canary within 1.8 ms"),
        (replace(DRILL, points=(GOOD, replace(GOOD, id="2"))), "Yes", "All 2 enforcement points refused"),
        (replace(DRILL, only="billing"), "Yes", "The one enforcement point of the name billing refused"),
        (replace(DRILL, points=(GOOD, bad())), "No", "1 of 2 enforcement points failed the drill"),
        (replace(DRILL, points=(replace(GOOD, lease_s=60.0),)), "No", "only after its lease, 60 s"),
        (replace(DRILL, points=(replace(GOOD, refused_writer_ms=60_000.0),)), "No", "within 60 s"),
        (replace(DRILL, points=()), "Not shown", "No live enforcement point"),
        (
            replace(DRILL, points=(), inconclusive="the fleet is stopped"),
            "Not shown",
            "The fleet is stopped.",
        ),
        (replace(DRILL, points=(), problem="no store"), "No", "The drill failed: no store."),
    ],
)
def test_the_question_is_answered_in_one_sentence(drill: Drill, answer: str, words: str) -> None:
    made = report(drill)
    assert (made.answer, words in made.sentence) == (answer, True)
    for text in (unescape(page(made)), markdown(made)):
        assert QUESTION in text
        assert f"{answer}." in text
    assert words in unescape(page(made))


def test_the_page_needs_nothing_else_and_runs_nothing() -> None:
    text = page(report(DRILL, DRILL, replace(DRILL, points=(bad(),))))
    tags = Tags(text)
    assert tags.seen.isdisjoint({"script", "link", "img", "iframe", "object", "form", "base"})
    assert not any(name.startswith("on") for name in tags.attributes)
    assert tags.attributes.isdisjoint({"src", "href"})
    assert "http:" not in text
    assert "https:" not in text
    assert "default-src 'none'" in text


def test_names_from_agents_hosts_are_text_and_nothing_else() -> None:
    evil = replace(GOOD, name=EVIL, host=EVIL, serves=(EVIL,), problem=EVIL)
    made = report(replace(DRILL, points=(evil,), by=EVIL, only=EVIL, problem=EVIL))
    tags = Tags(page(made))
    assert "script" not in tags.seen
    assert EVIL in unescape(page(made))
    written = markdown(made).partition("## Proof")[0]
    assert "<script" not in written
    assert not re.search(r"(?<!\\)\[x\]", written)
    row = next(line for line in written.splitlines() if line.startswith("| &lt;script"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 9


def test_the_proof_can_be_taken_out_of_the_page_and_verified() -> None:
    made = report(DRILL)
    (inside,) = re.findall("<pre>(.*?)</pre>", page(made), re.DOTALL)
    assert read_evidence(unescape(inside).encode(), KEYRING) == (DRILL, KEYRING.keys[0])
    quoted = markdown(made).partition("## Proof")[2]
    lines = [line[4:] for line in quoted.splitlines() if line.startswith("    ")]
    assert read_evidence("\n".join(lines).encode(), KEYRING)[1] is not None
    assert SIGNER.key_id in made.signature


def test_without_a_signature_the_page_says_so() -> None:
    made = make_report(KeptDrill(DRILL, evidence(DRILL, SIGNER), ""), [])
    assert "Not signed by any key" in page(made)


def test_a_large_fleet_fits_on_the_page_with_the_failing_first() -> None:
    points = tuple(
        replace(GOOD, id=str(n), name=f"point-{n}", refused_writer_ms=float(n)) for n in range(1000)
    )
    made = report(replace(DRILL, points=(*points, bad())))
    assert len(made.rows) == MAX_ROWS
    assert [point.name for point in made.rows[:3]] == ["bad", "point-999", "point-998"]
    assert made.rest.startswith("and 981 more points, all passed, within 980 ms")
    assert made.rest in page(made)
    assert made.rest in markdown(made)


def test_the_trend_is_of_drills_of_the_same_points() -> None:
    failed = replace(DRILL, points=(bad(refused_writer_ms=9.0),), at_s=5e8)
    made = report(DRILL, failed, replace(DRILL, only="billing"), *[DRILL] * 40)
    assert len(made.trend) == 24
    assert made.trend_sentence.startswith("Of the last 24 drills, since ")
    assert "23 passed; p99 between 1.8 ms and 9.0 ms" in made.trend_sentence
    assert page(made).count("✕") == 1
    assert make_report(kept(DRILL), []).trend_sentence == "This is the first drill on record."


def test_what_is_not_covered_is_said() -> None:
    for text in (unescape(page(report(DRILL))), markdown(report(DRILL))):
        assert "Agents that act without an enforcement point" in text


def test_a_terminal_gets_a_table() -> None:
    lines = table(replace(DRILL, points=(GOOD, bad(refused=None, refused_writer_ms=None)))).splitlines()
    assert lines[0].split() == ["point", "refused", "writer", "own", "clock", "again", "problem"]
    assert lines[1].split() == ["billing", "(host,", "pid", "7)", "yes", "1.8", "ms", "0.9", "ms", "yes"]
    assert "not heard" in lines[2]
    assert lines[2].endswith("still allows it")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.04, "0.0 ms"), (3.14, "3.1 ms"), (314.0, "314 ms"), (3140.0, "3.1 s"), (31_400.0, "31 s"),
     (-3.0, "-3.0 ms")],
)  # fmt: skip
def test_times_are_short(value: float | None, text: str) -> None:
    assert ms(value) == text


def test_an_absurd_time_is_told_as_it_is() -> None:
    assert "1e+300 s since 1970" in page(report(replace(DRILL, at_s=1e300)))
