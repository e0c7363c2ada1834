"""Mutes: set for an agent's signal with an end and a reason, listed, lifted; what they hide, and what they never do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard import alerting, fleets
from tests.dashboard.conftest import SignIn
from tests.dashboard.pages import LOOKS, Look, assert_no_markup, assert_well_made
from tests.monitor.daemons import FAST_CONFIG, RunningDaemon
from tests.monitor.test_daemon import WARM, habits, hijacked

pytestmark = pytest.mark.browser
REASON = "a migration that billing knows of"


def mutes(daemon: RunningDaemon, agent: str) -> list[dict[str, object]]:
    return [mute for mute in daemon.get("/v1/mutes")["mutes"] if mute["agent_id"] == agent]


def mute_by_key(page: Page, group_id: str) -> None:
    alerting.row(page, group_id).locator(".alert-title").focus()
    page.keyboard.press("m")
    expect(page.locator("#mute")).to_be_visible()


def test_muted_by_a_key_for_a_time_and_a_reason(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    agent, signal = found["alert"]["agent_id"], found["alert"]["reasons"][0]["signal"]
    page = sign_in(fleet, "analyst", alerting.of_agents(agent))
    mute_by_key(page, found["id"])
    expect(page.locator(".mute-what")).to_have_text(f"Alerts of {agent} led by the signal {signal}.")
    page.click("#mute [type=submit]")
    expect(page.locator("#mute .problem")).to_have_text("Say why. Nothing was sent.")
    assert mutes(fleet, agent) == []
    page.fill("#mute-reason", REASON)
    page.select_option("#mute-for", label="1 day")
    page.click("#mute [type=submit]")
    expect(page.locator("#notice")).to_have_text(f"Muted: {agent}, {signal}.")
    (mute,) = mutes(fleet, agent)
    assert (mute["signal"], mute["reason"], mute["by"]) == (signal, REASON, "the-analyst")
    assert float(str(mute["until"])) - float(str(mute["at"])) == pytest.approx(24 * 3600, abs=60)
    page.hover("#alerts-find")
    expect(alerting.row(page, found["id"])).to_have_count(0)
    page.get_by_role("button", name="Muted", exact=True).click()
    expect(alerting.row(page, found["id"]).locator(".muted-mark")).to_be_visible()


def test_it_hides_what_comes_later_and_nothing_else(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    agent = found["alert"]["agent_id"]
    alerting.mute(fleet, found)
    alerting.change(fleet, [found["id"]], "close", reason="duplicate")
    other = alerting.newcomer()
    page = sign_in(fleet, hash_=alerting.of_agents(agent, other))
    expect(page.locator("#alerts-empty")).to_be_visible()
    fleets.act(fleet, agent, "another_tool")
    alerting.misbehave(fleet, agent)
    alerting.raised(fleet, other)
    expect(page.locator(f"#alerts .alert[data-agent={other}]")).to_have_count(1)
    hidden = [one for one in alerting.groups(fleet, agent) if one["muted_by"]]
    for one in hidden:
        expect(alerting.row(page, one["id"])).to_have_count(0)
        assert one["alert"]["reasons"][0]["signal"] == found["alert"]["reasons"][0]["signal"]
    assert found["id"] in [one["id"] for one in hidden]


def test_listed_with_who_why_and_until_when_and_lifted(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    agent, signal = found["alert"]["agent_id"], found["alert"]["reasons"][0]["signal"]
    mute = alerting.mute(fleet, found, REASON)
    page = sign_in(fleet, "analyst", "#/mutes")
    card = page.locator(f"[data-mute={mute}]")
    for words in (agent, signal, REASON, "by the-on-call"):
        expect(card).to_contain_text(words)
    expect(card).to_contain_text(re.compile(r"at (\S+ )?\d\d:\d\d:\d\d, until (\S+ )?\d\d:\d\d:\d\d"))
    card.get_by_role("link", name="Show what it hides").click()
    expect(alerting.row(page, found["id"])).to_be_visible()
    page.go_back()
    card.get_by_role("button", name=f"Lift the mute of {agent}, {signal}").click()
    expect(card).to_have_count(0)
    assert mutes(fleet, agent) == []
    page.goto(f"{fleet.url}/{alerting.of_agents(agent)}")
    expect(alerting.row(page, found["id"])).to_be_visible()


def test_set_and_lifted_by_another_it_comes_and_goes_at_once(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet, hash_=alerting.of_agents(found["alert"]["agent_id"]))
    other = sign_in(fleet, hash_="#/mutes")
    row = alerting.row(page, found["id"])
    expect(row).to_be_visible()
    mute = alerting.mute(fleet, found)
    expect(row).to_have_count(0)
    expect(other.locator(f"[data-mute={mute}]")).to_be_visible()
    alerting.lift(fleet, mute)
    expect(row).to_be_visible()
    expect(other.locator(f"[data-mute={mute}]")).to_have_count(0)


def test_one_that_ends_by_itself_shows_again_what_it_hid(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet, hash_=alerting.of_agents(found["alert"]["agent_id"]))
    row = alerting.row(page, found["id"])
    expect(row).to_be_visible()
    alerting.mute(fleet, found, for_s=3)
    expect(row).to_have_count(0)
    expect(row).to_be_visible(timeout=15_000)


def test_what_is_muted_already_is_said(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet, "analyst", alerting.of_agents(found["alert"]["agent_id"]))
    mute_by_key(page, found["id"])
    page.fill("#mute-reason", REASON)
    alerting.mute(fleet, found)
    page.click("#mute [type=submit]")
    expect(page.locator("#mute .problem")).to_contain_text("of the-on-call mutes this already")
    expect(page.locator("#mute-reason")).to_have_value(REASON)


def test_a_mute_keeps_no_kill_back(tmp_path: Path, sign_in: SignIn) -> None:
    with RunningDaemon(tmp_path / "state", FAST_CONFIG) as daemon:
        daemon.send(habits(WARM))
        daemon.wait_until_scored(WARM)
        alerting.mute(daemon, {"alert": {"agent_id": "agent-0", "reasons": [{"signal": "transition"}]}})
        page = sign_in(daemon, hash_=alerting.of_agents("agent-0"))
        expect(page.locator("#alerts-empty")).to_be_visible()
        daemon.send([hijacked(0)])
        daemon.wait_for(lambda: "agent:agent-0" in fleets.revoked(daemon), "the automatic kill")
        daemon.wait_for(lambda: alerting.groups(daemon, "agent-0"), "its alert")
        (found,) = alerting.groups(daemon, "agent-0")
        assert found["muted_by"]
        expect(page.locator("[data-stat=cut] dd")).to_have_text("1")
        expect(page.locator("#alerts-empty")).to_be_visible()
        assert page.locator("#alerts .alert").count() == 0
        page.goto(f"{daemon.url}/#/agents")
        expect(page.locator("#agents tr[data-agent=agent-0][data-cut=suspend]")).to_be_visible()
        page.goto(f"{daemon.url}/{alerting.of_agents('agent-0', states='muted')}")
        expect(alerting.row(page, found["id"])).to_contain_text("Suspended automatically")
        page.goto("about:blank")


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_it_is_well_made(fleet: RunningDaemon, sign_in: SignIn, look: Look) -> None:
    name = f"{fleets.MARKUP}{fleets.REVERSED}{alerting.newcomer()}"
    mute = alerting.mute(fleet, alerting.raised(fleet, name), fleets.MARKUP)
    found = alerting.raised(fleet, f"{fleets.MARKUP}{alerting.newcomer()}")
    page = sign_in(fleet, hash_="#/mutes", look=look)
    card = page.locator(f"[data-mute={mute}]")
    expect(card.locator(".card-reason")).to_have_text(fleets.MARKUP)
    assert "\u202e" not in page.locator("#view-mutes").inner_text()
    assert_no_markup(page)
    assert_well_made(page, look)
    alerting.drawer_of(page, fleet, found["id"])
    page.click("#drawer [data-change=mute]")
    page.click("#mute [type=submit]")
    expect(page.locator("#mute .problem")).to_be_visible()
    assert_no_markup(page)
    assert_well_made(page, look)
    alerting.lift(fleet, mute)
