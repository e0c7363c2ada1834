"""The agents' list: what each row says, finding and ordering, and that it stands still under somebody's hand."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard import fleets
from tests.dashboard.conftest import SignIn
from tests.dashboard.pages import LOOKS, Look, assert_no_markup, assert_well_made
from tests.monitor.daemons import RunningDaemon

pytestmark = pytest.mark.browser


def names(page: Page) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('#agents tr')].map((row) => row.dataset.agent)")  # type: ignore[no-any-return]


def test_a_row_says_what_is_known_of_an_agent(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/agents")
    row = page.locator("#agents tr[data-agent=agent-0]")
    expect(row.locator(".c-model")).to_have_text("Calibrated")
    expect(row.locator(".risk-figure")).to_have_text(re.compile(r"\d\.\d"))
    expect(row.locator(".c-last .tool")).to_have_text("http_post")
    expect(row.locator(".c-alerts")).to_have_text("1")
    assert row.locator(".spark-strange").get_attribute("d")  # the hijacking stands out in the picture
    learning = page.locator(f"#agents tr[data-agent={fleets.DELEGATED}]")
    expect(learning.locator(".c-model")).to_contain_text("Learning")


def test_the_riskiest_is_on_top_and_a_name_leads_to_its_page(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/agents")
    expect(page.locator("#agents tr")).to_have_count(8)
    risks = page.evaluate(
        "[...document.querySelectorAll('#agents .risk-figure')]"
        ".map((node) => Math.round(Number(node.textContent)) || 0)"
    )
    assert risks == sorted(risks, reverse=True)
    page.click("#agents tr[data-agent=agent-1] a.name")
    expect(page.locator(".agent-title")).to_have_text("agent-1")


def test_finding_and_ordering_are_in_the_address(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/agents")
    expect(page.locator("#agents tr")).to_have_count(8)
    page.keyboard.press("/")
    page.keyboard.type("AGENT-")
    expect(page.locator("#agents tr")).to_have_count(6)
    expect(page.locator("#agents-count")).to_have_text("6 of 8")
    page.select_option("#agents-order", "name")
    assert page.url.endswith("#/agents?find=AGENT-&order=name")
    page.reload()
    expect(page.locator("#agents tr")).to_have_count(6)
    assert names(page) == sorted(names(page))
    page.fill("#agents-find", "nobody is called so")
    expect(page.locator("#view-agents .empty")).to_have_text("No agent has this name.")


@pytest.mark.parametrize("order", ["", "?order=name", "?order=latest"])
def test_what_is_cut_off_is_on_top_in_any_order(fleet: RunningDaemon, sign_in: SignIn, order: str) -> None:
    page = sign_in(fleet, hash_=f"#/agents{order}")
    expect(page.locator("#agents tr")).to_have_count(8)
    fleets.kill(fleet, "agent:agent-4", "it spends too much")
    try:
        expect(page.locator("#agents tr").first).to_have_attribute("data-agent", "agent-4")
        row = page.locator("#agents tr[data-agent=agent-4]")
        expect(row.locator(".c-last")).to_contain_text("Revoked")
        expect(row.locator(".c-last")).to_contain_text("by the-on-call")
        expect(row.locator("[data-mode=restore]")).to_be_visible()
        assert row.locator("[data-mode=kill]").count() == 0
        expect(page.locator("#agents-cut")).to_be_hidden()  # it has a row of its own
    finally:
        fleets.restore(fleet, "agent:agent-4")
    expect(page.locator("#agents tr[data-agent=agent-4] [data-mode=kill]")).to_be_visible()


def test_what_is_cut_off_and_is_no_agent_stands_above_the_rows(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/agents")
    fleets.kill(fleet, "human:mallory@example.com", "left the company")
    try:
        card = page.locator("#agents-cut .card[data-target='human:mallory@example.com']")
        expect(card).to_contain_text("left the company")
        card.locator("[data-mode=restore]").click()
        page.fill("#panel-reason", "she is back")
        page.click("#panel-submit")
        expect(page.locator("#panel-verdict")).to_be_visible()
        expect(card).to_have_count(0)
    finally:
        fleets.restore(fleet, "human:mallory@example.com")


def test_the_rows_stand_still_under_a_hand(daemon: RunningDaemon, sign_in: SignIn) -> None:
    for name in ("bravo", "charlie"):
        fleets.act(daemon, name)
    page = sign_in(daemon, hash_="#/agents?order=name")
    expect(page.locator("#agents tr")).to_have_count(2)
    page.hover("#agents tr[data-agent=bravo]")
    fleets.act(daemon, "alpha")
    expect(page.locator("#agents tr")).to_have_count(3)
    assert names(page) == ["bravo", "charlie", "alpha"]
    page.hover("#agents-find")
    expect(page.locator("#agents tr").first).to_have_attribute("data-agent", "alpha")


def test_a_button_keeps_the_focus_while_rows_change(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/agents")
    page.focus("#agents tr[data-agent=agent-3] [data-mode=kill]")
    with page.expect_response("**/v1/agents"):
        fleets.kill(fleet, "agent:agent-4")
    try:
        expect(page.locator("#agents tr[data-agent=agent-4][data-cut]")).to_be_visible()
        assert page.evaluate("document.activeElement.closest('tr')?.dataset.agent") == "agent-3"
    finally:
        fleets.restore(fleet, "agent:agent-4")


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_it_is_well_made(fleet: RunningDaemon, sign_in: SignIn, look: Look) -> None:
    fleets.kill(fleet, "agent:agent-2", "it spends too much")
    fleets.kill(fleet, "agent:nobody-knows-it", fleets.MARKUP)
    try:
        page = sign_in(fleet, hash_="#/agents", look=look)
        expect(page.locator("#agents tr[data-agent=agent-2][data-cut]")).to_be_visible()
        expect(page.locator("#agents-cut .card")).to_have_count(1)
        assert_well_made(page, look)
        assert_no_markup(page)
    finally:
        fleets.restore(fleet, "agent:agent-2")
        fleets.restore(fleet, "agent:nobody-knows-it")
