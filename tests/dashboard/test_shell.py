"""What is around every view: the header, the way to the content, and what is said when nothing is heard."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.dashboard import fleets
from tests.dashboard.conftest import SignIn
from tests.dashboard.pages import LOOKS, Look, assert_well_made, open_page
from tests.monitor.daemons import RunningDaemon

pytestmark = pytest.mark.browser


def test_the_header_says_how_the_fleet_is(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet)
    stat = "#stats [data-stat={}] dd"
    expect(page.locator(stat.format("mode"))).to_have_text("Alert only")
    expect(page.locator(stat.format("calibrated"))).to_have_text("6/8")
    expect(page.locator(stat.format("cut"))).to_have_text("0")
    with fleets.guards(fleet, "proxy-1", "proxy-2"):
        expect(page.locator(stat.format("points"))).to_have_text("2/2")
    fleets.kill(fleet, "agent:agent-4")
    expect(page.locator(stat.format("cut"))).to_have_text("1")
    fleets.restore(fleet, "agent:agent-4")
    expect(page.locator(stat.format("cut"))).to_have_text("0")


def test_every_view_has_an_address_and_the_back_button_works(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet)
    for view in ("agents", "fleet", "mutes", "history"):
        page.click(f"#tabs a[data-view={view}]")
        expect(page.locator(f"#view-{view}")).to_be_visible()
        expect(page.locator("#tabs [aria-current=page]")).to_have_attribute("data-view", view)
        assert page.url.endswith(f"#/{view}")
    page.go_back()
    expect(page.locator("#view-mutes")).to_be_visible()
    page.goto(f"{fleet.url}/#/nonsense")
    expect(page.locator("#view-alerts")).to_be_visible()


def test_the_first_key_leads_past_the_header(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/fleet")
    page.reload()
    page.wait_for_selector("body[data-connection=live]")
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#view-fleet")).to_be_focused()
    assert page.url.endswith("#/fleet")


def test_a_lost_daemon_is_said_plainly_and_found_again(browser: Browser, tmp_path: Path) -> None:
    daemon = RunningDaemon(tmp_path / "state", fleets.CONFIG)
    errors: list[str] = []
    daemon.start()
    try:
        with open_page(browser, LOOKS[0], errors) as page:
            fleets.act(daemon, "survivor")
            page.goto(f"{daemon.url}/#token={daemon.tokens['on-call']}")
            page.wait_for_selector("body[data-connection=live]")
            page.goto(f"{daemon.url}/#/agents")
            expect(page.locator("#agents tr[data-agent=survivor]")).to_be_visible()
            daemon.kill()
            expect(page.locator("[data-banner=lost]")).to_contain_text("Not connected since")
            expect(page.locator("#connection")).to_contain_text("Reconnecting in")
            expect(page).to_have_title("(not connected) Killcord")
            daemon.start(int(daemon.url.rpartition(":")[2]))
            fleets.kill(daemon, "agent:survivor", "while you were away")
            expect(page.locator("#agents tr[data-agent=survivor][data-cut]")).to_be_visible()
            expect(page.locator("[data-banner=lost]")).to_be_hidden()
            expect(page).to_have_title("Killcord")
    finally:
        daemon.stop()
    # The browser logs each attempt that is refused; nothing else may be wrong.
    assert [error for error in errors if "ERR_CONNECTION" not in error and "WebSocket" not in error] == []


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_help_is_well_made(fleet: RunningDaemon, sign_in: SignIn, look: Look) -> None:
    page = sign_in(fleet, hash_="#/fleet", look=look)
    page.click("#help-open")
    expect(page.locator("dialog[open]")).to_be_visible()
    assert_well_made(page, look)
