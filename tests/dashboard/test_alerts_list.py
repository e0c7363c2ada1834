"""The list of alerts: live, filtered by the daemon, still under somebody's hand, and complete whatever happens."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard import alerting, fleets, seeding
from tests.dashboard.conftest import SignIn
from tests.dashboard.pages import LOOKS, Look, assert_no_markup, assert_well_made
from tests.monitor.daemons import RunningDaemon
from tests.monitor.test_daemon import hijacked

pytestmark = pytest.mark.browser
ROWS = "#alerts .alert"
ROWS_MAX = 500  # store.js


def filter_of(page: Page) -> str:
    """The filter in the address."""
    return "".join(parse_qs(urlsplit(page.url).fragment.partition("?")[2]).get("filter", [""]))


def ids(page: Page) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('#alerts .alert')].map((row) => row.dataset.alert)")  # type: ignore[no-any-return]


# -- what is there, and what comes ----------------------------------------------------------------------------------


def test_an_alert_appears_by_itself_on_top(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet)
    expect(page.locator(ROWS).first).to_be_visible()
    found = alerting.raised(fleet)
    row = page.locator(ROWS).first
    expect(row).to_have_attribute("data-alert", found["id"])
    alert = found["alert"]
    for words in (alert["title"], alert["agent_id"], "http_post", "Critical", "Open", "Not stopped"):
        expect(row).to_contain_text(words)
    expect(row.locator("time")).to_have_text(re.compile(r"^(now|\d+ s)$"))


def test_repeats_are_one_row_with_a_count(fleet: RunningDaemon, sign_in: SignIn) -> None:
    agent = alerting.newcomer()
    page = sign_in(fleet, hash_=alerting.of_agents(agent))
    for _ in range(5):
        alerting.misbehave(fleet, agent)
    fleet.wait_for(lambda: sum(one["count"] for one in alerting.groups(fleet, agent)) >= 5, "repeats")
    for found in alerting.groups(fleet, agent):
        times = f"×{found['count']}" if found["count"] > 1 else ""
        expect(alerting.row(page, found["id"]).locator(".alert-count")).to_have_text(times)
    expect(page.locator(ROWS)).to_have_count(len(alerting.groups(fleet, agent)))
    assert max(found["count"] for found in alerting.groups(fleet, agent)) > 1


# -- filters ----------------------------------------------------------------------------------------------------------


def test_a_value_that_is_clicked_limits_the_list_and_stays_in_the_address(
    fleet: RunningDaemon, sign_in: SignIn
) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet)
    row = alerting.row(page, found["id"])
    row.locator(".value.agent").click()
    expect(page.locator(ROWS)).to_have_count(1)
    row.locator(".value.tool").click()
    row.locator(".value.severity").click()
    agent = found["alert"]["agent_id"]
    terms = [f"agent:{agent}", "tool:http_post", "severity:critical"]
    expect(page.locator(".chips .chip")).to_have_text(terms)
    assert filter_of(page).split() == terms
    page.reload()
    expect(page.locator(".chips .chip")).to_have_text(terms)
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator("#alerts-find")).to_have_value(" ".join(terms))
    page.get_by_role("button", name=f"Remove the filter agent:{agent}").click()
    expect(page.locator(".chips .chip")).to_have_text(terms[1:])
    expect(page.locator(f"{ROWS}[data-agent=agent-0]")).to_be_visible()
    page.go_back()
    expect(page.locator(".chips .chip")).to_have_text(terms)
    for term in terms:
        page.get_by_role("button", name=f"Remove the filter {term}").click()
    expect(page.locator(".chips .chip")).to_have_count(0)
    assert page.url.endswith("#/alerts")


def test_words_are_looked_for_by_the_daemon(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found, other = alerting.raised(fleet, alerting.newcomer("wordy")), alerting.raised(fleet)
    page = sign_in(fleet)
    expect(alerting.row(page, other["id"])).to_be_visible()
    page.fill("#alerts-find", found["alert"]["agent_id"].upper())
    expect(page.locator(ROWS)).to_have_count(1)
    expect(alerting.row(page, found["id"])).to_be_visible()
    page.fill("#alerts-find", "nobody-is-called-so")
    expect(page).to_have_url(re.compile("#/alerts.filter=nobody-is-called-so$"))
    expect(page.locator("#alerts-empty")).to_be_visible()
    expect(page.locator("#alerts-empty")).to_have_text("No alert matches this filter.")
    alerting.misbehave(fleet, alerting.newcomer("nobody-is-called-so"))
    expect(page.locator(ROWS)).to_have_count(1)


def test_what_does_not_match_does_not_come(fleet: RunningDaemon, sign_in: SignIn) -> None:
    mine, other = alerting.newcomer(), alerting.newcomer()
    page = sign_in(fleet, hash_=alerting.of_agents(mine))
    expect(page.locator("#alerts-empty")).to_have_text("No alert matches this filter.")
    alerting.raised(fleet, other)
    alerting.raised(fleet, mine)
    expect(page.locator(f"{ROWS}[data-agent={mine}]")).to_be_visible()
    expect(page.locator(ROWS)).to_have_count(1)


def test_a_filter_that_cannot_be_read_is_said_and_the_list_stays(
    fleet: RunningDaemon, sign_in: SignIn
) -> None:
    page = sign_in(fleet)
    expect(page.locator(ROWS).first).to_be_visible()
    page.fill("#alerts-find", "colour:blue")
    expect(page.locator("#alerts-problem")).to_contain_text("colour")
    expect(page.locator("#alerts-find")).to_have_attribute("aria-invalid", "true")
    expect(page.locator(ROWS).first).to_be_visible()
    page.fill("#alerts-find", "")
    expect(page.locator("#alerts-problem")).to_be_hidden()


def test_states_are_a_press_away(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = {state: alerting.raised(fleet) for state in ("open", "acknowledged", "closed", "muted")}
    alerting.change(fleet, [found["acknowledged"]["id"]], "acknowledge")
    alerting.change(fleet, [found["closed"]["id"]], "close", reason="benign")
    mute = alerting.mute(fleet, found["muted"])
    names = [one["alert"]["agent_id"] for one in found.values()]
    page = sign_in(fleet, hash_=alerting.of_agents(*names))
    choices = page.get_by_role("group", name="States")
    for choice, states in (
        ("Open", {"open", "muted"}),
        ("Acknowledged", {"acknowledged"}),
        ("Closed", {"closed"}),
        ("Muted", {"muted"}),
        ("All", set(found)),
        ("To do", {"open", "acknowledged"}),
    ):
        choices.get_by_role("button", name=choice, exact=True).click()
        wanted = states - {"muted"} if choice == "Open" else states
        expect(choices.locator("[aria-pressed=true]")).to_have_text(choice)
        for state in wanted:
            expect(alerting.row(page, found[state]["id"])).to_be_visible()
        expect(page.locator(ROWS)).to_have_count(len(wanted))
    alerting.lift(fleet, mute)


# -- standing still ---------------------------------------------------------------------------------------------------


def test_a_paused_list_counts_what_comes_and_shows_it_afterwards(
    fleet: RunningDaemon, sign_in: SignIn
) -> None:
    page = sign_in(fleet)
    expect(page.locator(ROWS).first).to_be_visible()
    page.click("#alerts-pause")
    before = ids(page)
    expect(page.locator("#alerts-pause")).to_have_text("Paused: 0 new")
    new = [alerting.raised(fleet)["id"] for _ in range(3)]
    expect(page.locator("#alerts-pause")).to_have_text("Paused: 3 new")
    expect(page.locator("#alerts-pause")).to_have_attribute("aria-pressed", "true")
    assert ids(page) == before
    page.click("#alerts-pause")
    expect(page.locator("#alerts-pause")).to_have_text("Pause")
    expect(page.locator(ROWS).first).to_have_attribute("data-alert", new[-1])
    assert set(new) <= set(ids(page))


def test_a_list_in_use_stands_still(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet)
    first = page.locator(ROWS).first
    expect(first).to_be_visible()
    first.hover()
    before = ids(page)
    found = alerting.raised(fleet)
    expect(page.locator("#alerts-held")).to_have_text("1 new alert: show")
    assert ids(page) == before
    page.click("#alerts-held")
    expect(first).to_have_attribute("data-alert", found["id"])
    expect(page.locator("#alerts-held")).to_be_hidden()


def test_what_is_closed_elsewhere_stays_under_the_pointer_and_says_so(
    fleet: RunningDaemon, sign_in: SignIn
) -> None:
    found = alerting.raised(fleet)
    page = sign_in(fleet, hash_=alerting.of_agents(found["alert"]["agent_id"]))
    row = alerting.row(page, found["id"])
    row.hover()
    page.click("#alerts-pause")
    alerting.change(fleet, [found["id"]], "close", reason="duplicate")
    expect(row.locator(".state").first).to_have_text("Closed: Duplicate")
    page.click("#alerts-pause")
    expect(row).to_have_count(0)


# -- much -----------------------------------------------------------------------------------------------------------


def test_the_rows_are_bounded_and_older_ones_are_fetched_on_demand(tmp_path: Path, sign_in: SignIn) -> None:
    state = tmp_path / "state"
    with RunningDaemon(state, fleets.CONFIG) as daemon:
        daemon.stop()
        seeding.keep(state, seeding.fleet(ROWS_MAX + 150, agents=ROWS_MAX + 150))
        daemon.start()
        page = sign_in(daemon)
        expect(page.locator(ROWS)).to_have_count(200)
        expect(page.locator(ROWS).first).to_have_attribute("data-alert", f"al-{ROWS_MAX + 149}")
        for rows in (300, 400, ROWS_MAX):
            page.click("#alerts-more")
            expect(page.locator(ROWS)).to_have_count(rows)
        expect(page.locator("#alerts-more")).to_be_hidden()
        expect(page.locator("#alerts-count")).to_have_text("The newest 500. Filter to see others.")
        page.fill("#alerts-find", "agent:agent-0")
        expect(page.locator(ROWS)).to_have_count(1)
        expect(alerting.row(page, "al-0")).to_be_visible()
        page.goto("about:blank")


# -- others, and the connection -----------------------------------------------------------------------------------


def test_what_one_analyst_does_the_others_see_at_once(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    here = alerting.of_agents(found["alert"]["agent_id"], states="open,acknowledged,closed")
    one, other = sign_in(fleet, "analyst", here), sign_in(fleet, "on-call", here)
    mine, theirs = alerting.row(one, found["id"]), alerting.row(other, found["id"])
    expect(theirs.locator(".state").first).to_have_text("Open")
    mine.locator("input").check()
    one.click("#bulk [data-change=acknowledge]")
    expect(theirs.locator(".state").first).to_have_text("Acknowledged")
    one.click("#bulk [data-change=assign]")
    one.get_by_role("button", name="Me (the-analyst)").click()
    one.fill("#change-comment", "mine")
    one.click("#change [type=submit]")
    expect(theirs.locator(".assignee")).to_have_text("→ the-analyst")
    expect(theirs).to_contain_text("1 comment")
    other.goto(f"{fleet.url}/#/alerts/{found['id']}")
    other.click("#drawer [data-change=close]")
    other.check("#change [value=confirmed]")
    other.click("#change [type=submit]")
    expect(mine.locator(".state").first).to_have_text("Closed: Confirmed")


def test_what_is_reopened_elsewhere_comes_back(fleet: RunningDaemon, sign_in: SignIn) -> None:
    found = alerting.raised(fleet)
    alerting.change(fleet, [found["id"]], "close", reason="benign")
    page = sign_in(fleet, hash_=alerting.of_agents(found["alert"]["agent_id"]))
    expect(page.locator("#alerts-empty")).to_have_text("No alert matches this filter.")
    alerting.change(fleet, [found["id"]], "reopen")
    expect(alerting.row(page, found["id"]).locator(".state").first).to_have_text("Open")


def test_after_the_daemons_restart_the_list_is_complete(tmp_path: Path, sign_in: SignIn) -> None:
    state = tmp_path / "state"
    with RunningDaemon(state, fleets.CONFIG) as daemon:
        daemon.stop()
        seeding.keep(state, seeding.fleet(5, agents=5))
        daemon.start()
        port = urlsplit(daemon.url).port
        assert port is not None
        page = sign_in(daemon)
        expect(page.locator(ROWS)).to_have_count(5)
        daemon.stop()
        expect(page.locator("#connection")).to_contain_text("Reconnecting in")
        expect(page.locator("[data-banner=lost]")).to_contain_text("Not connected since")
        # While nobody listened: another alert, a repeat, and somebody's change.
        seeding.keep(state, [seeding.seeded(5, "agent-5"), seeding.repeat(6, 2, 2, "agent-2")])
        daemon.start(port)
        expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)
        expect(page.locator(ROWS)).to_have_count(6)
        expect(alerting.row(page, "al-2").locator(".alert-count")).to_have_text("×2")
        alerting.change(daemon, ["al-0"], "acknowledge")
        expect(alerting.row(page, "al-0").locator(".state").first).to_have_text("Acknowledged")
        assert set(ids(page)) == {one["id"] for one in daemon.get("/v1/alerts?limit=100")["alerts"]}
        page.goto("about:blank")


def test_a_page_that_was_too_slow_says_what_it_missed_and_is_complete_all_the_same(
    tmp_path: Path, sign_in: SignIn
) -> None:
    # A daemon that keeps one message for a reader: of what comes at once, the rest is missed.
    state = tmp_path / "state"
    config = fleets.CONFIG + "[feed]\nclient_buffer = 1\n"
    with RunningDaemon(state, config) as daemon:
        fleets.live_through(daemon)
        page = sign_in(daemon)
        expect(page.locator(ROWS).first).to_be_visible()
        agents = [alerting.newcomer() for _ in range(40)]
        daemon.send([hijacked(100 + number, agent) for number, agent in enumerate(agents)])
        banner = page.locator("[data-banner=missed]")
        expect(banner).to_contain_text("This page was too slow: you missed up to ")
        daemon.wait_for(lambda: len(daemon.get("/v1/alerts?limit=200")["alerts"]) >= 40, "the alerts")
        expect(page.locator(ROWS)).to_have_count(len(daemon.get("/v1/alerts?limit=200")["alerts"]))
        banner.get_by_role("button", name="Fetch them").click()
        expect(page.locator("#notice")).to_contain_text("fetched")
        expect(banner).to_be_hidden()
        page.goto("about:blank")


# -- how it looks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_it_is_well_made(fleet: RunningDaemon, sign_in: SignIn, look: Look) -> None:
    one, two = alerting.raised(fleet), alerting.raised(fleet, fleets.REVERSED + alerting.newcomer())
    alerting.change(fleet, [one["id"]], "assign", assignee="bob@example.com", comment="look at this")
    page = sign_in(fleet, hash_="#/alerts?filter=state:open,acknowledged,closed,muted", look=look)
    expect(page.locator(ROWS).filter(has_text="<img src=x").first).to_be_visible()
    alerting.row(page, two["id"]).locator("input").check()
    expect(page.locator("#bulk")).to_be_visible()
    assert "\u202e" not in page.locator("#view-alerts").inner_text()
    assert_no_markup(page)
    assert_well_made(page, look)
    page.fill("#alerts-find", "colour:blue")
    expect(page.locator("#alerts-problem")).to_be_visible()
    assert_well_made(page, look)
