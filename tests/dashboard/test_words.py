"""Figures become words, and confirmations add up: the page's pure modules, run where they will run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.dashboard.pages import LOOKS, open_page
from tests.monitor.daemons import RunningDaemon

pytestmark = pytest.mark.browser
POINT = {"host": "h", "live": True}


@pytest.fixture(scope="module")
def modules(browser: Browser, daemon: RunningDaemon) -> Iterator[Page]:
    """A page that nobody is signed in to: its modules can be imported."""
    with open_page(browser, LOOKS[0], []) as page:
        page.goto(daemon.url)
        yield page


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("probability(1.2e-7)", "1.2\u00a0×\u00a010⁻⁷"),
        ("probability(1e-12)", "10⁻¹²"),
        ("probability(0.0021)", "0.0021"),
        ("probability(null)", "–"),
        ("odds(1e-7)", "1 in 10 million"),
        ("odds(0.25)", "1 in 4"),
        ("odds(1e-40)", "under 1 in 1000 trillion"),
        ("ms(3.14)", "3.1\u00a0ms"),
        ("ms(2000)", "2.0\u00a0s"),
        ("count(1234567)", "1\u202f234\u202f567"),
        ("ago(100, 160500)", "1 min"),
        ("ago('2026-01-05T09:00:00Z', Date.parse('2026-01-05T11:30:00Z'))", "2 h"),
        ("plain('a\\u202eb\\nc\\u0000')", "a⟨U+202E⟩b⟨U+000A⟩c⟨U+0000⟩"),
        ("plain('x'.repeat(500), 3)", "xxx…"),
        ("names(['a', 'b', 'c'], 2)", "a, b and 1 more"),
    ],
)
def test_values_become_words(modules: Page, call: str, words: str) -> None:
    name = call.partition("(")[0]
    assert modules.evaluate(f"import('/static/format.js').then(({{{name}}}) => {call})") == words


def containment(page: Page, acks: dict[str, float], **response: Any) -> dict[str, Any]:
    """What the panel makes of two points of epoch 7, the daemon's answer and what the feed brought."""
    first, second = (POINT | {"id": f"p{n}", "name": name, "pid": n} for n, name in response.pop("names"))
    given = {"epoch": 7, "response": {"epoch": 7, **response}, "expected": [first, second]}
    script = (
        "([given, acks]) => import('/static/containment.js').then(({containment}) =>"
        " containment({...given, acks: new Map([[7, new Map(Object.entries(acks))]])}))"
    )
    return page.evaluate(script, [json.loads(json.dumps(given)), acks])  # type: ignore[no-any-return]


@pytest.mark.parametrize(("heard", "missing"), [("proxy", 1), ("p1", 1), ("p2", 0)])
def test_one_replicas_word_does_not_stand_for_another(modules: Page, heard: str, missing: int) -> None:
    names = ((1, "proxy"), (2, "proxy"))
    found = containment(modules, {heard: 1}, names=names, enforced=1, points=2, missing=["proxy (h, pid 2)"])
    assert found["missing"] == ["proxy (h, pid 2)"][:missing]


def test_a_point_whose_own_check_says_otherwise_has_not_confirmed(modules: Page) -> None:
    found = containment(
        modules,
        {"p1": 1, "p2": 1},
        names=((1, "good"), (2, "bad")),
        enforced=1,
        points=2,
        missing=[],
        contrary=["bad (h, pid 2)"],
    )
    assert (found["confirmed"], found["total"], found["isContained"]) == (1, 2, False)
    assert found["missing"] == ["bad (h, pid 2)"]
