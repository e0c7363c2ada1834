"""What was killed and restored: the newest first, live, with drills only when they are asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect

from tests.dashboard import fleets
from tests.dashboard.conftest import SignIn
from tests.dashboard.pages import LOOKS, Look, assert_no_markup, assert_well_made
from tests.monitor.daemons import RunningDaemon

pytestmark = pytest.mark.browser


def test_each_change_says_who_what_and_why_and_arrives_live(daemon: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(daemon, hash_="#/history")
    expect(page.locator("#view-history")).to_contain_text("Nothing was killed or restored yet.")
    fleets.kill(daemon, "agent:thief", "posts data to a stranger")
    newest = page.locator("#history .card").first
    expect(newest).to_contain_text("posts data to a stranger")
    expect(newest).to_contain_text("by the-on-call")
    expect(newest).to_have_attribute("data-kind", "revoke")
    fleets.restore(daemon, "agent:thief")
    expect(newest).to_have_attribute("data-kind", "restore")
    expect(page.locator("#history .card")).to_have_count(2)


def test_drills_are_shown_when_they_are_asked_for(daemon: RunningDaemon, sign_in: SignIn) -> None:
    with fleets.guards(daemon, "proxy-1"):
        fleets.drill(daemon)
    page = sign_in(daemon, hash_="#/history")
    expect(page.locator("#view-history .fine").first).to_be_visible()
    expect(page.locator("#history .card", has_text="drill")).to_have_count(0)
    page.locator("label[for=history-drills]").click()
    expect(page.locator("#history .card", has_text="drill").first).to_be_visible()
    assert page.url.endswith("#/history?drills=1")
    page.reload()
    expect(page.locator("#history .card", has_text="drill").first).to_be_visible()


def test_older_changes_are_a_click_away(fleet: RunningDaemon, sign_in: SignIn) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: _there_and_back(fleet, f"session:s-{number}"), range(60)))
    page = sign_in(fleet, hash_="#/history")
    expect(page.locator("#history .card")).to_have_count(100)
    page.click("#history-more")
    expect(page.locator("#history .card").nth(119)).to_be_visible()
    targets = page.locator("#history .target").all_inner_texts()
    assert {f"session:s-{number}" for number in range(60)} <= set(targets)


def _there_and_back(daemon: RunningDaemon, target: str) -> None:
    fleets.kill(daemon, target)
    fleets.restore(daemon, target)


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_it_is_well_made(fleet: RunningDaemon, sign_in: SignIn, look: Look) -> None:
    fleets.kill(fleet, f"agent:{fleets.MARKUP}", fleets.MARKUP)
    fleets.restore(fleet, f"agent:{fleets.MARKUP}")
    page = sign_in(fleet, hash_="#/history", look=look)
    expect(page.locator("#history .card").first).to_be_visible()
    assert_well_made(page, look)
    assert_no_markup(page)
