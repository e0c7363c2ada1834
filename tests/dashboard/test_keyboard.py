"""The keys: what each does, and that none does anything where somebody types or a dialog is open."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard import alerting
from tests.dashboard.conftest import SignIn
from tests.dashboard.pages import LOOKS, Look, assert_well_made
from tests.monitor.daemons import RunningDaemon

pytestmark = pytest.mark.browser
ALL = "?/jkxamp"


@pytest.fixture
def three(fleet: RunningDaemon) -> list[dict[str, Any]]:
    """Three groups of alerts, the newest first as in the list."""
    return [alerting.raised(fleet) for _ in range(3)][::-1]


@pytest.fixture
def page(fleet: RunningDaemon, sign_in: SignIn, three: list[dict[str, Any]]) -> Page:
    """An analyst's list of just these three."""
    found = sign_in(fleet, "analyst", alerting.of_agents(*(one["alert"]["agent_id"] for one in three)))
    expect(found.locator("#alerts .alert")).to_have_count(3)
    return found


def is_focused(page: Page, found: dict[str, Any]) -> None:
    expect(alerting.row(page, found["id"]).locator(".alert-title")).to_be_focused()


def untouched(daemon: RunningDaemon, three: list[dict[str, Any]]) -> None:
    """Nobody did anything with them."""
    for found in three:
        now = alerting.group(daemon, found["id"])
        assert (now["state"], now["history"], now["muted_by"]) == ("open", [], None)


@pytest.mark.parametrize("view", ["alerts", "agents", "fleet", "mutes", "history"])
def test_help_in_any_view(page: Page, fleet: RunningDaemon, view: str) -> None:
    page.goto(f"{fleet.url}/#/{view}")
    expect(page.locator(f"#view-{view}")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    for key in ("?", "/", "j", "k", "Enter", "x", "a", "m", "p", "Esc"):
        expect(page.locator("#help kbd").get_by_text(key, exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()


def test_the_filter_is_a_slash_away_and_escape_leads_back(page: Page) -> None:
    page.keyboard.press("/")
    expect(page.locator("#alerts-find")).to_be_focused()
    before = page.locator("#alerts-find").input_value()
    page.keyboard.press("Escape")
    expect(page.locator("#alerts-find")).not_to_be_focused()
    expect(page.locator("#alerts-find")).to_have_value(before)
    page.keyboard.press("p")
    expect(page.locator("#alerts-pause")).to_have_attribute("aria-pressed", "true")


def test_up_and_down_and_in_and_out(page: Page, three: list[dict[str, Any]]) -> None:
    for key, at in (("j", 0), ("j", 1), ("j", 2), ("j", 2), ("k", 1)):
        page.keyboard.press(key)
        is_focused(page, three[at])
    page.keyboard.press("Enter")
    expect(page.locator("#drawer .drawer-about")).to_contain_text(three[1]["alert"]["agent_id"])
    page.keyboard.press("k")
    expect(page.locator("#drawer .drawer-about")).to_contain_text(three[0]["alert"]["agent_id"])
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    is_focused(page, three[0])


def test_acknowledge_the_one_under_the_hand(
    page: Page, fleet: RunningDaemon, three: list[dict[str, Any]]
) -> None:
    page.keyboard.press("a")  # nothing is under the hand yet
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect(page.locator("#notice")).to_have_text("1 alert acknowledged.")
    states = [alerting.group(fleet, found["id"])["state"] for found in three]
    assert states == ["open", "acknowledged", "open"]


def test_acknowledge_those_that_are_selected(
    page: Page, fleet: RunningDaemon, three: list[dict[str, Any]]
) -> None:
    for key in "jxjx":
        page.keyboard.press(key)
    expect(page.locator(".bulk-words")).to_have_text("2 selected")
    page.keyboard.press("a")
    expect(page.locator("#notice")).to_have_text("2 alerts acknowledged.")
    states = [alerting.group(fleet, found["id"])["state"] for found in three]
    assert states == ["acknowledged", "acknowledged", "open"]
    page.keyboard.press("Escape")
    expect(page.locator("#bulk")).to_be_hidden()


def test_mute_asks_first(page: Page, fleet: RunningDaemon, three: list[dict[str, Any]]) -> None:
    page.keyboard.press("j")
    page.keyboard.press("m")
    expect(page.locator("#mute")).to_contain_text(three[0]["alert"]["agent_id"])
    expect(page.locator("#mute-reason")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#mute")).to_be_hidden()
    is_focused(page, three[0])
    untouched(fleet, three)


def test_pause_and_go_on(page: Page) -> None:
    page.keyboard.press("p")
    expect(page.locator("#alerts-pause")).to_have_text("Paused: 0 new")
    page.keyboard.press("p")
    expect(page.locator("#alerts-pause")).to_have_text("Pause")


def test_typing_is_typing(page: Page, fleet: RunningDaemon, three: list[dict[str, Any]]) -> None:
    page.keyboard.press("j")
    page.fill("#alerts-find", "")
    page.focus("#alerts-find")
    page.keyboard.type(ALL)
    expect(page.locator("#alerts-find")).to_have_value(ALL)
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator("#alerts-pause")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#bulk")).to_be_hidden()
    untouched(fleet, three)


def test_a_dialog_has_the_keys_for_itself(
    page: Page, fleet: RunningDaemon, three: list[dict[str, Any]]
) -> None:
    alerting.row(page, three[0]["id"]).locator(".alert-title").click()
    expect(page.locator("#drawer .history")).to_be_visible()
    page.click("#drawer [data-change=close]")
    for key in ALL:  # the focus is on a choice, where keys would be heard but for the dialog
        page.keyboard.press(key)
    expect(page.locator("dialog[open]")).to_have_attribute("id", "change")
    page.focus("#change-comment")
    page.keyboard.type(ALL)
    expect(page.locator("#change-comment")).to_have_value(ALL)
    page.keyboard.press("Escape")
    expect(page.locator("#change")).to_be_hidden()
    expect(page.locator("#drawer")).to_be_visible()  # one Escape, one step back
    expect(page.locator("#alerts-pause")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    untouched(fleet, three)


@pytest.mark.parametrize("modifier", ["Control", "Alt", "Meta"])
def test_the_browsers_own_keys_stay_the_browsers(
    page: Page, fleet: RunningDaemon, three: list[dict[str, Any]], modifier: str
) -> None:
    page.keyboard.press("j")
    for key in "akxm":
        page.keyboard.press(f"{modifier}+{key}")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator("#bulk")).to_be_hidden()
    untouched(fleet, three)


def test_a_key_that_is_held_down_acts_once_and_moves_on(page: Page, three: list[dict[str, Any]]) -> None:
    for _ in range(2):
        page.keyboard.down("j")
    is_focused(page, three[1])
    page.keyboard.up("j")
    for _ in range(3):  # 1 press and its repetitions
        page.keyboard.down("p")
    expect(page.locator("#alerts-pause")).to_have_attribute("aria-pressed", "true")
    page.keyboard.up("p")


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_it_is_well_made(fleet: RunningDaemon, sign_in: SignIn, look: Look) -> None:
    page = sign_in(fleet, look=look)
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    assert_well_made(page, look)
