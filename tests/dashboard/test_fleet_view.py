"""The fleet's page: how the daemon is, what is cut off, points, drills, deliveries, and kills by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from killswitch import Revoked
from tests.dashboard import fleets
from tests.dashboard.conftest import SignIn
from tests.dashboard.pages import LOOKS, Look, assert_no_markup, assert_well_made
from tests.monitor.daemons import RunningDaemon

pytestmark = pytest.mark.browser


def test_it_says_how_the_daemon_is(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/fleet")
    fact = "#fleet-status [data-fact={}] dd"
    expect(page.locator(fact.format("mode"))).to_have_text("alerts only")
    expect(page.locator(fact.format("agents"))).to_have_text("6 of 8")
    expect(page.locator(fact.format("store"))).to_have_text("connected")
    expect(page.locator(fact.format("pending"))).to_have_text("0")


def test_points_come_and_go(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/fleet")
    with fleets.guards(fleet, "proxy-1", "proxy-2"):
        for name in ("proxy-1", "proxy-2"):
            point = page.locator(f"#points [data-point={name}]")
            expect(point).to_have_attribute("data-state", "confirmed")
            expect(point).to_contain_text("pid ")
    expect(page.locator("#points [data-point=proxy-1][data-state=confirmed]")).to_have_count(0)


def test_a_drill_shows_that_a_kill_works(tmp_path: Path, sign_in: SignIn) -> None:
    config = fleets.CONFIG.replace("interval_s = 0.0", "interval_s = 3600.0")
    with RunningDaemon(tmp_path / "state", config) as daemon:
        page = sign_in(daemon, hash_="#/fleet")
        expect(page.locator("#fleet-ready")).to_contain_text("A kill is not shown to work")
        with fleets.guards(daemon, "proxy-1"):
            fleets.drill(daemon)
            card = page.locator("#drills [data-drill=passed]", has_text="by tester")
            expect(card).to_contain_text("1 point", timeout=20_000)
            expect(card).to_contain_text(re.compile(r"slowest [\d.]+\sm?s"))
            expect(page.locator("#fleet-ready")).to_be_hidden(timeout=20_000)
            expect(page.locator("#stats [data-stat=ready] dd")).to_have_text(re.compile(r"^[\d.]+ ms$"))
        page.goto("about:blank")


def test_a_delivery_that_works_and_one_that_does_not(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/fleet")
    good, bad = (page.locator(f"#deliveries [data-route={name}]") for name in ("siem", "collector"))
    expect(good).to_contain_text("Up to date")
    expect(good).to_contain_text(re.compile(r"[1-9]\d* sent"))
    expect(bad).to_contain_text("Retrying")
    expect(bad.locator(".card-reason")).not_to_be_empty()
    good.locator("button").click()
    expect(page.locator("#notice")).to_contain_text("siem: the test was delivered.")
    bad.locator("button").click()
    expect(page.locator("#notice")).to_contain_text("collector: not delivered")


def test_anything_can_be_killed_by_its_name(daemon: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(daemon, hash_="#/fleet")
    with fleets.guards(daemon, "proxy-1") as (guard,):
        page.select_option("#target-kind", "credential")
        page.fill("#target-name", "cred-stolen")
        page.locator(".target-form button").click()
        page.fill("#panel-reason", "found in a paste")
        page.fill("#panel-typed", "cred-stolen")
        page.click("#panel-submit")
        expect(page.locator("#panel-verdict")).to_contain_text("Enforced 1/1")
        with pytest.raises(Revoked):
            guard.check(agent="anybody", credential="cred-stolen")
        page.keyboard.press("Escape")
        card = page.locator("#cut-list [data-target='credential:cred-stolen']")
        expect(card).to_contain_text("found in a paste")
        card.locator("[data-mode=restore]").click()
        page.fill("#panel-reason", "it was rotated")
        page.click("#panel-submit")
        expect(page.locator("#panel-verdict")).to_contain_text("Restored")
        guard.check(agent="anybody", credential="cred-stolen")


def test_who_may_only_look_is_offered_no_act(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, "auditor", "#/fleet")
    expect(page.locator("#deliveries [data-route=siem]")).to_be_visible()
    assert page.locator("#view-fleet button:visible").count() == 0


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_it_is_well_made(fleet: RunningDaemon, sign_in: SignIn, look: Look) -> None:
    fleets.kill(fleet, f"agent:{fleets.MARKUP}", fleets.MARKUP)
    try:
        with fleets.guards(fleet, fleets.MARKUP):
            page = sign_in(fleet, hash_="#/fleet", look=look)
            expect(page.locator("#deliveries [data-route=siem]")).to_be_visible()
            expect(page.locator("#cut-list .card")).to_have_count(1)
            expect(page.locator("#points li").first).to_be_visible()
            assert_well_made(page, look)
            assert_no_markup(page)
    finally:
        fleets.restore(fleet, f"agent:{fleets.MARKUP}")
