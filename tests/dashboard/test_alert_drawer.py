"""The drawer of one alert: why, what around it, on whose behalf, what became of it, and what the daemon said."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from tests.dashboard import alerting, fleets
from tests.dashboard.conftest import SignIn
from tests.dashboard.pages import LOOKS, Look, assert_no_markup, assert_well_made
from tests.monitor.daemons import RunningDaemon

pytestmark = pytest.mark.browser


def test_it_opens_from_the_list_and_says_why(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    alert = found["alert"]
    page = sign_in(fleet)
    alerting.row(page, found["id"]).locator(".alert-title").click()
    drawer = page.locator("#drawer")
    expect(drawer.locator("h2")).to_have_text(alert["title"])
    assert f"#/alerts/{found['id']}" in page.url
    signals = drawer.locator(".signal")
    expect(signals).to_have_count(len(alert["reasons"]))
    assert alert["reasons"]
    for shown, reason in zip(signals.all(), alert["reasons"], strict=True):
        for words in (reason["signal"], reason["sentence"], reason["observed"], reason["expected"]):
            expect(shown).to_contain_text(words)
    expect(signals.first).to_contain_text(re.compile(r"1 in [\d.]+"))
    for words in ("likelihood", "alert below", "http_post", alert["session_id"], alert["id"]):
        expect(drawer.locator(".part-facts")).to_contain_text(words)
    expect(drawer.locator(".part-response")).to_contain_text("Not stopped; would have been suspended")
    expect(drawer.locator(".part-response")).to_contain_text(alert["response"]["why"])
    expect(drawer.locator(".drawer-about")).to_contain_text("Open · assigned to nobody")
    expect(alerting.row(page, found["id"])).to_have_attribute("aria-current", "true")


def test_what_the_agent_did_around_it_is_shown_with_the_action_marked(
    fleet: RunningDaemon, sign_in: SignIn
) -> None:
    (found, *_) = alerting.groups(fleet, "agent-0")
    page = sign_in(fleet)
    drawer = alerting.drawer_of(page, fleet, found["id"])
    actions = fleet.get("/v1/actions?agent=agent-0&limit=100")["actions"]
    at = [action["id"] for action in actions].index(found["alert"]["action_id"])
    around = [action["tool"] for action in actions[max(0, at - 4) : at + 9]][::-1]
    assert len(around) >= 9
    expect(drawer.locator(".part-evidence .action code")).to_have_text(around)
    marked = drawer.locator(".part-evidence .action[aria-current=true]")
    expect(marked).to_have_count(1)
    expect(marked).to_contain_text("http_post")
    expect(marked).to_contain_text("this one")
    expect(marked).to_contain_text("body from tool:read_customer")


def test_the_chain_leads_from_the_human_to_the_call(fleet: RunningDaemon, sign_in: SignIn) -> None:
    human = f"{alerting.newcomer('human')}@example.com"
    found = alerting.raised(fleet, on_behalf_of=[human, "orchestrator"], credential="cred-9")
    page = sign_in(fleet)
    drawer = alerting.drawer_of(page, fleet, found["id"])
    agent = found["alert"]["agent_id"]
    expect(drawer.locator(".chain li")).to_have_text(
        [
            f"on behalf of{human}",
            "on behalf oforchestrator",
            f"agent{agent}",
            "with the credentialcred-9",
            "callshttp_post",
        ]
    )
    drawer.get_by_role("button", name=human).click()
    expect(page.locator("#alerts .alert")).to_have_count(1)
    expect(page.locator(".chips .chip")).to_have_text([f"human:{human}"])


def test_the_json_is_the_daemons_and_is_copied_whole(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    drawer = alerting.drawer_of(page, fleet, found["id"])
    drawer.get_by_text("Raw JSON").click()
    expect(drawer.locator(".raw")).to_contain_text(f'"id": "{found["id"]}"')
    drawer.get_by_role("button", name="Copy").click()
    expect(page.locator("#notice")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert json.loads(copied) == alerting.group(fleet, found["id"])
    assert json.loads(str(drawer.locator(".raw").text_content())) == json.loads(copied)


def test_what_people_thought_of_earlier_ones_is_a_click_away(fleet: RunningDaemon, sign_in: SignIn) -> None:
    agent = alerting.newcomer()
    before = alerting.raised(fleet, agent)
    alerting.change(fleet, [before["id"]], "close", reason="confirmed", comment="the attacker of last week")
    signal = before["alert"]["reasons"][0]["signal"]
    other = alerting.raised(fleet)
    assert other["alert"]["reasons"][0]["signal"] == signal
    page = sign_in(fleet)
    drawer = alerting.drawer_of(page, fleet, other["id"])
    known = alerting.group(fleet, other["id"])["precedents"]
    assert before["id"] in [one["id"] for one in known]
    shown = drawer.locator(".precedents li").filter(has_text=agent)
    for words in ("Confirmed", before["alert"]["title"], "by the-analyst", "the attacker of last week"):
        expect(shown).to_contain_text(words)
    shown.locator("a").click()
    expect(drawer.locator(".drawer-about")).to_contain_text(agent)
    expect(drawer.locator(".drawer-about")).to_contain_text("Closed: Confirmed")
    page.go_back()
    expect(drawer.locator(".drawer-about")).to_contain_text(other["alert"]["agent_id"])


def test_each_alert_of_a_group_can_be_looked_at(fleet: RunningDaemon, sign_in: SignIn) -> None:
    agent = alerting.newcomer()
    alerting.raised(fleet, agent)
    for _ in range(4):
        alerting.misbehave(fleet, agent)
    fleet.wait_for(lambda: sum(one["count"] for one in alerting.groups(fleet, agent)) >= 5, "repeats")
    found = max(alerting.groups(fleet, agent), key=lambda one: one["count"])
    assert found["count"] > 1
    page = sign_in(fleet)
    drawer = alerting.drawer_of(page, fleet, found["id"])
    count = found["count"]
    expect(drawer.locator(".drawer-steps")).to_contain_text(f"alert {count} of {count}")
    newest, oldest = (
        alert["session_id"] for alert in alerting.group(fleet, found["id"])["alerts"][:: count - 1]
    )
    facts = drawer.locator(".part-facts")
    expect(facts).to_contain_text(newest)
    for number in range(count - 1, 0, -1):
        drawer.get_by_role("button", name="Older").click()
        expect(drawer.locator(".drawer-steps")).to_contain_text(f"alert {number} of {count}")
    expect(facts).to_contain_text(oldest)
    expect(drawer.get_by_role("button", name="Older")).to_be_disabled()


def test_its_address_leads_there_directly_even_past_the_filter(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    alerting.change(fleet, [found["id"]], "close", reason="duplicate")
    page = sign_in(fleet, hash_=f"#/alerts/{found['id']}?filter=severity:low")
    drawer = page.locator("#drawer")
    expect(drawer.locator("h2")).to_have_text(found["alert"]["title"])
    page.reload()
    expect(drawer.locator("h2")).to_have_text(found["alert"]["title"])
    expect(drawer.locator(".drawer-about")).to_contain_text("Closed: Duplicate")
    expect(page.locator(".chips .chip")).to_have_text(["severity:low"])
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    assert page.url.endswith("#/alerts?filter=severity%3Alow")


def test_what_is_not_there_is_said(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/alerts/al-nowhere")
    expect(page.locator("#drawer h2")).to_have_text("Not here any more")
    expect(page.locator("#drawer .problem")).to_be_visible()
    page.click("#drawer-close")
    expect(page.locator("#drawer")).to_be_hidden()


def test_escape_closes_it_and_the_focus_is_back_in_its_row(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet)
    title = alerting.row(page, found["id"]).locator(".alert-title")
    title.click()
    expect(page.locator("#drawer h2")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    expect(title).to_be_focused()


def test_j_and_k_go_on_with_the_drawer_open(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = [alerting.raised(fleet) for _ in range(3)][::-1]  # as in the list: the newest first
    names = [one["alert"]["agent_id"] for one in found]
    page = sign_in(fleet, hash_=alerting.of_agents(*names))
    about = page.locator("#drawer .drawer-about")
    alerting.row(page, found[0]["id"]).locator(".alert-title").click()
    for key, at in (("j", 1), ("j", 2), ("j", 2), ("k", 1), ("k", 0), ("k", 0)):
        page.keyboard.press(key)
        expect(about).to_contain_text(names[at])
        expect(alerting.row(page, found[at]["id"])).to_have_attribute("aria-current", "true")


def test_after_closing_one_j_goes_on_with_the_next(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = [alerting.raised(fleet) for _ in range(3)][::-1]
    names = [one["alert"]["agent_id"] for one in found]
    page = sign_in(fleet, hash_=alerting.of_agents(*names))
    alerting.row(page, found[1]["id"]).locator(".alert-title").click()
    page.click("#drawer [data-change=close]")
    page.check("#change [value=duplicate]")
    page.click("#change [type=submit]")
    expect(alerting.row(page, found[1]["id"])).to_have_count(0)
    page.keyboard.press("j")
    expect(page.locator("#drawer .drawer-about")).to_contain_text(names[2])


def test_it_follows_what_happens_meanwhile(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet)
    drawer = alerting.drawer_of(page, fleet, found["id"])
    alerting.change(fleet, [found["id"]], "acknowledge")
    alerting.change(fleet, [found["id"]], "comment", comment="somebody else is at it")
    expect(drawer.locator(".drawer-about")).to_contain_text("Acknowledged")
    expect(drawer.locator(".history")).to_contain_text("the-analyst acknowledged it")
    expect(drawer.locator(".history blockquote")).to_have_text("somebody else is at it")


@pytest.mark.parametrize("look", LOOKS, ids=str)
@pytest.mark.parametrize("is_hostile", [False, True], ids=["usual", "hostile"])
def test_it_is_well_made(fleet: RunningDaemon, sign_in: SignIn, is_hostile: bool, look: Look) -> None:
    name = f"{fleets.MARKUP}{fleets.REVERSED}{alerting.newcomer()}" if is_hostile else alerting.newcomer()
    fields = (
        {"session_id": fleets.MARKUP, "on_behalf_of": [fleets.MARKUP, fleets.REVERSED], "credential": "<b>"}
        if is_hostile
        else {}
    )
    found = alerting.raised(fleet, name, **fields)
    comment = fleets.MARKUP if is_hostile else "look at this"
    alerting.change(fleet, [found["id"]], "assign", assignee="bob@example.com", comment=comment)
    page = sign_in(fleet, look=look)
    drawer = alerting.drawer_of(page, fleet, found["id"])
    expect(drawer.locator(".part-evidence .action").first).to_be_visible()
    drawer.get_by_text("Raw JSON").click()
    assert "\u202e" not in drawer.locator(".drawer-content > section").first.inner_text()
    assert_no_markup(page)
    assert_well_made(page, look)
