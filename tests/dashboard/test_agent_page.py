"""One agent's page: its facts, its scores, what it did, whose errand it runs, and the ways to stop any of that."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.dashboard import fleets
from tests.dashboard.conftest import SignIn
from tests.dashboard.pages import LOOKS, Look, assert_no_markup, assert_well_made
from tests.monitor.daemons import RunningDaemon

pytestmark = pytest.mark.browser


def test_it_says_what_is_known(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/agents/agent-0")
    expect(page.locator(".agent-title")).to_have_text("agent-0")
    facts = page.locator("#agent-facts")
    for fact in ("Calibrated", "701", "http_post", "all 1"):
        expect(facts).to_contain_text(fact)
    expect(page.locator("#agent-cut")).to_be_hidden()
    for key, shown in (
        ("sessions", "s-hijacked"),
        ("humans", "alice@example.com"),
        ("tools", "read_customer"),
    ):
        expect(page.locator(f"[data-list={key}]")).to_contain_text(shown)


def test_its_scores_are_a_picture_with_words(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/agents/agent-0")
    picture = page.get_by_role("img", name="The newest 500 scored actions")
    expect(picture).to_be_visible()
    assert "; 1 beyond the alert limit (dashed)." in str(picture.get_attribute("aria-label"))
    scores = fleet.get("/v1/agents/agent-0")["scores"]
    drawn = [
        str(picture.locator(f".{name}").get_attribute("d")).count("M")
        for name in ("chart-bars", "chart-strange")
    ]
    assert drawn == [len(scores) - 1, 1]
    assert picture.locator(".chart-limit").get_attribute("d")


def test_its_signals_say_what_was_seen_and_what_is_usual(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/agents/agent-0")
    signals = fleet.get("/v1/agents/agent-0")["signals"]
    assert signals
    shown = page.locator("#agent-signals .signal")
    expect(shown).to_have_count(len(signals))
    for item, signal in zip(shown.all(), signals, strict=True):
        for word in (signal["signal"], signal["sentence"], signal["observed"], signal["expected"]):
            expect(item).to_contain_text(word)
    shown.first.locator("a").click()
    expect(page.locator("#drawer")).to_contain_text(signals[0]["sentence"])


def test_its_time_line_marks_what_was_flagged(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/agents/agent-0")
    actions = page.locator("#agent-timeline .action")
    expect(actions.first).to_contain_text("http_post")
    expect(actions.first).to_contain_text("flagged, 1 in ")
    expect(actions.nth(1)).to_contain_text("reply")
    expect(page.locator("#agent-timeline [data-flagged]")).to_have_count(1)


def test_its_chain_leads_from_the_human_to_the_agent(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_=f"#/agents/{fleets.DELEGATED}")
    steps = page.locator("#agent-chains .step")
    expect(steps.locator(".step-name")).to_have_text([*fleets.CHAIN, fleets.DELEGATED])
    kinds = [step.get_attribute("data-step") for step in steps.all()]
    assert kinds == ["human", "delegate", "delegate", "agent"]
    steps.nth(1).locator("[data-mode=kill]").click()
    expect(page.locator("#panel-target")).to_have_text("delegation:orchestrator")
    page.fill("#panel-reason", "it passes secrets on")
    page.fill("#panel-typed", "orchestrator")
    page.click("#panel-submit")
    try:
        expect(page.locator("#panel-verdict")).to_be_visible()
        page.keyboard.press("Escape")
        expect(steps.nth(1)).to_contain_text("cut off")
        expect(steps.nth(1).locator("[data-mode=restore]")).to_be_visible()
    finally:
        fleets.restore(fleet, "delegation:orchestrator")
    expect(steps.nth(1).locator("[data-mode=kill]")).to_be_visible()


def test_a_kill_shows_at_once_who_did_it_and_why(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, "analyst", "#/agents/agent-3")
    expect(page.locator("#agent-facts")).to_contain_text("Calibrated")
    fleets.kill(fleet, "agent:agent-3", "it spends too much")
    try:
        for words in ("Revoked", "it spends too much", "by the-on-call"):
            expect(page.locator("#agent-cut")).to_contain_text(words)
    finally:
        fleets.restore(fleet, "agent:agent-3")
    expect(page.locator("#agent-cut")).to_be_hidden()


def test_its_open_alerts_are_a_click_away(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/agents/agent-1")
    page.get_by_role("link", name="to do").click()
    expect(page.locator("#alerts .alert")).to_have_count(1)
    expect(page.locator("#alerts .alert")).to_contain_text("agent-1")


def test_an_agent_that_was_never_seen_can_be_killed_all_the_same(
    fleet: RunningDaemon, sign_in: SignIn
) -> None:
    page = sign_in(fleet, hash_="#/agents/ghost")
    expect(page.locator("#view-agent .problem")).to_have_text(
        "No action of an agent with this name was seen."
    )
    expect(page.locator("#view-agent .agent-acts [data-mode=kill]")).to_be_visible()


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize(
    "agent", ["agent-0", fleets.DELEGATED, fleets.MARKUP], ids=["hijacked", "delegated", "hostile"]
)
def test_it_is_well_made(fleet: RunningDaemon, sign_in: SignIn, agent: str, look: Look) -> None:
    page = sign_in(fleet, hash_=f"#/agents/{quote(agent, safe='')}", look=look)
    expect(page.locator("#agent-timeline .action").first).to_be_visible()
    assert "\u202e" not in page.locator("#view-agent").inner_text()
    assert_no_markup(page)
    assert_well_made(page, look)
