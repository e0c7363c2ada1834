"""What people do with alerts: acknowledge, assign, comment, close, reopen, one or many, and who did it when."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.dashboard import alerting, fleets
from tests.dashboard.conftest import SignIn
from tests.dashboard.pages import LOOKS, Look, assert_no_markup, assert_well_made
from tests.monitor.daemons import RunningDaemon

pytestmark = pytest.mark.browser
REASONS = {
    "false_positive": "False positive",
    "benign": "Benign",
    "duplicate": "Duplicate",
    "confirmed": "Confirmed",
}
TIME = r"\d\d:\d\d:\d\d"


def in_history(drawer: Locator, words: str) -> None:
    """The newest entry says who did what, and when."""
    expect(drawer.locator(".history > li").last).to_have_text(re.compile(rf"^{TIME}{re.escape(words)}"))


def press(page: Page, change: str) -> None:
    page.locator(f"#drawer [data-change={change}]").click()


def select(page: Page, ids: list[str]) -> None:
    for group_id in ids:
        alerting.row(page, group_id).locator("input").check()


def test_acknowledged_by_a_key_or_a_button(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet, "analyst")
    drawer = alerting.drawer_of(page, fleet, found["id"])
    page.keyboard.press("a")
    expect(page.locator("#notice")).to_have_text("1 alert acknowledged.")
    in_history(drawer, "the-analyst acknowledged it")
    expect(alerting.row(page, found["id"]).locator(".state").first).to_have_text("Acknowledged")
    now = alerting.group(fleet, found["id"])
    assert (now["state"], now["changed_by"]) == ("acknowledged", "the-analyst")
    expect(drawer.locator("[data-change=acknowledge]")).to_have_count(0)


def test_the_focus_is_not_lost_with_the_button(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet)
    alerting.drawer_of(page, fleet, found["id"])
    page.focus("#drawer [data-change=acknowledge]")
    page.keyboard.press("Enter")
    expect(page.locator("#drawer [data-change=acknowledge]")).to_have_count(0)
    expect(page.locator("#drawer h2")).to_be_focused()


@pytest.mark.parametrize("reason", REASONS)
def test_closed_with_each_reason_and_reopened(fleet: RunningDaemon, sign_in: SignIn, reason: str) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet, "analyst")
    drawer = alerting.drawer_of(page, fleet, found["id"])
    press(page, "close")
    page.get_by_role("radio", name=re.compile(REASONS[reason])).check()
    page.fill("#change-comment", f"it was {reason}")
    page.click("#change [type=submit]")
    expect(page.locator("#change")).to_be_hidden()
    in_history(drawer, f"the-analyst closed it: {REASONS[reason]}it was {reason}")
    expect(drawer.locator(".drawer-about")).to_contain_text(f"Closed: {REASONS[reason]}")
    now = alerting.group(fleet, found["id"])
    assert (now["state"], now["reason"], now["changed_by"]) == ("closed", reason, "the-analyst")
    assert now["history"][-1]["comment"] == f"it was {reason}"
    press(page, "reopen")
    in_history(drawer, "the-analyst reopened it")
    now = alerting.group(fleet, found["id"])
    assert (now["state"], now["reason"]) == ("open", None)


def test_closing_needs_a_reason(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet)
    alerting.drawer_of(page, fleet, found["id"])
    press(page, "close")
    page.click("#change [type=submit]")
    expect(page.locator("#change-problem")).to_have_text("Say what it was. Nothing was sent.")
    page.keyboard.press("Escape")
    expect(page.locator("#change")).to_be_hidden()
    assert alerting.group(fleet, found["id"])["state"] == "open"


def test_assigned_to_somebody_to_oneself_and_to_nobody(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet, "analyst")
    drawer = alerting.drawer_of(page, fleet, found["id"])
    whose = alerting.row(page, found["id"]).locator(".assignee")
    press(page, "assign")
    page.fill("#change-assignee", "bob@example.com")
    page.click("#change [type=submit]")
    in_history(drawer, "the-analyst assigned it to bob@example.com")
    expect(whose).to_have_text("→ bob@example.com")
    press(page, "assign")
    expect(page.locator("#change-assignee")).to_have_value("bob@example.com")
    page.get_by_role("button", name="Me (the-analyst)").click()
    page.keyboard.press("Enter")
    in_history(drawer, "the-analyst assigned it to the-analyst")
    assert alerting.group(fleet, found["id"])["assignee"] == "the-analyst"
    press(page, "assign")
    page.get_by_role("button", name="Nobody").click()
    page.click("#change [type=submit]")
    in_history(drawer, "the-analyst took it from its assignee")
    expect(whose).to_be_hidden()
    assert alerting.group(fleet, found["id"])["assignee"] is None


def test_a_comment_is_kept_as_it_was_written(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet)
    drawer = alerting.drawer_of(page, fleet, found["id"])
    press(page, "comment")
    page.click("#change [type=submit]")
    expect(page.locator("#change-problem")).to_have_text("Write something. Nothing was sent.")
    page.fill("#change-comment", f"two\nlines, and {fleets.MARKUP}")
    page.click("#change [type=submit]")
    expect(drawer.locator(".history blockquote")).to_contain_text(fleets.MARKUP)
    in_history(drawer, "the-on-call commented")
    assert_no_markup(page)
    expect(alerting.row(page, found["id"])).to_contain_text("1 comment")
    assert alerting.group(fleet, found["id"])["history"][-1]["comment"] == f"two\nlines, and {fleets.MARKUP}"


def test_many_at_once(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = [alerting.raised(fleet) for _ in range(4)]
    ids = [one["id"] for one in found]
    here = alerting.of_agents(*(one["alert"]["agent_id"] for one in found))
    page = sign_in(fleet, "analyst", here)
    select(page, ids[:2])
    expect(page.locator(".bulk-words")).to_have_text("2 selected")
    page.get_by_role("button", name="Select all shown").click()
    expect(page.locator(".bulk-words")).to_have_text("4 selected")
    alerting.row(page, ids[3]).locator("input").uncheck()
    page.click("#bulk [data-change=acknowledge]")
    expect(page.locator("#notice")).to_have_text("3 alerts acknowledged.")
    page.click("#bulk [data-change=assign]")
    expect(page.locator("#change header")).to_contain_text("3 alerts")
    page.fill("#change-assignee", "bob@example.com")
    page.click("#change [type=submit]")
    for group_id in ids[:3]:
        expect(alerting.row(page, group_id).locator(".assignee")).to_have_text("→ bob@example.com")
    page.click("#bulk [data-change=close]")
    page.check("#change [value=duplicate]")
    page.click("#change [type=submit]")
    page.hover("#alerts-find")
    expect(page.locator("#alerts .alert")).to_have_count(1)
    expect(page.locator("#bulk")).to_be_hidden()
    states = [alerting.group(fleet, group_id)["state"] for group_id in ids]
    assert states == ["closed", "closed", "closed", "open"]


def test_of_many_those_that_were_refused_are_said(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = [alerting.raised(fleet) for _ in range(2)]
    names = [one["alert"]["agent_id"] for one in found]
    alerting.change(fleet, [found[0]["id"]], "acknowledge", role="admin")
    page = sign_in(fleet, "analyst", alerting.of_agents(*names))
    select(page, [one["id"] for one in found])
    page.click("#bulk [data-change=acknowledge]")
    notice = page.locator("#notice")
    expect(notice).to_contain_text("1 alert acknowledged. 1 alert not acknowledged: ")
    expect(notice).to_contain_text("the-admin")
    expect(notice).to_have_attribute("data-tone", "bad")


def test_who_was_there_first_is_said_and_what_was_typed_stays(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet, "analyst")
    alerting.drawer_of(page, fleet, found["id"])
    press(page, "close")
    page.check("#change [value=benign]")
    page.fill("#change-comment", "the quarter's end")
    alerting.change(fleet, [found["id"]], "close", role="admin", reason="confirmed")
    page.click("#change [type=submit]")
    problem = page.locator("#change-problem")
    expect(problem).to_contain_text("1 alert not closed: it is closed (last changed by the-admin)")
    expect(page.locator("#change-comment")).to_have_value("the quarter's end")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer .drawer-about")).to_contain_text("Closed: Confirmed")
    assert alerting.group(fleet, found["id"])["reason"] == "confirmed"


def test_an_auditor_sees_everything_and_is_offered_nothing(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    mute = alerting.mute(fleet, alerting.raised(fleet))
    page = sign_in(fleet, "auditor")
    expect(alerting.row(page, found["id"])).to_be_visible()
    assert page.locator("#alerts input").count() == 0
    drawer = alerting.drawer_of(page, fleet, found["id"])
    expect(drawer.locator(".signal").first).to_be_visible()
    assert drawer.locator("[data-change], [data-mode]").count() == 0
    for key in "amx":
        page.keyboard.press(key)
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.goto(f"{fleet.url}/#/mutes")
    expect(page.locator(f"[data-mute={mute}]")).to_be_visible()
    assert page.locator("[data-lift]").count() == 0
    assert alerting.group(fleet, found["id"])["history"] == []
    alerting.lift(fleet, mute)


def test_an_analyst_triages_and_does_not_kill(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet, "analyst")
    drawer = alerting.drawer_of(page, fleet, found["id"])
    offered = [button.get_attribute("data-change") for button in drawer.locator("[data-change]").all()]
    assert offered == ["acknowledge", "assign", "comment", "close", "mute"]
    assert page.locator("[data-mode]").count() == 0


def test_what_could_not_be_sent_is_said_and_stays(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet, "analyst")
    alerting.drawer_of(page, fleet, found["id"])
    press(page, "comment")
    page.fill("#change-comment", "words that must not be lost")
    page.context.set_offline(True)
    page.click("#change [type=submit]")
    expect(page.locator("#change-problem")).to_contain_text("It may or may not have been written")
    expect(page.locator("#change-comment")).to_have_value("words that must not be lost")
    page.context.set_offline(False)
    page.click("#change [type=submit]")
    expect(page.locator("#change")).to_be_hidden()
    assert alerting.group(fleet, found["id"])["history"][-1]["comment"] == "words that must not be lost"


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_it_is_well_made(fleet: RunningDaemon, sign_in: SignIn, look: Look) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet, look=look)
    alerting.drawer_of(page, fleet, found["id"])
    for change in ("assign", "comment", "close"):
        press(page, change)
        expect(page.locator("#change")).to_be_visible()
        assert_well_made(page, look)
        if change != "assign":
            page.click("#change [type=submit]")
            expect(page.locator("#change-problem")).to_be_visible()
            assert_well_made(page, look)
        page.keyboard.press("Escape")
        expect(page.locator("#change")).to_be_hidden()
