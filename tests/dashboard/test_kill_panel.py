"""Killing and restoring from the page, with real enforcement points that confirm, or do not."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from killswitch import Keyring, PublicKey, Revoked, Signer
from monitor.kill.keys import keep_keyring, open_keys
from monitor.state_dir import StateDir
from tests.dashboard import fleets
from tests.dashboard.conftest import SignIn
from tests.dashboard.pages import LOOKS, Look, assert_no_markup, assert_well_made
from tests.monitor.daemons import RunningDaemon

pytestmark = pytest.mark.browser
REASON = "posts data to a stranger"


@pytest.fixture(autouse=True)
def nothing_is_cut_off_afterwards(daemon: RunningDaemon) -> Iterator[None]:
    yield
    for target in fleets.revoked(daemon):
        fleets.restore(daemon, target)


def open_panel(page: Page, agent: str, mode: str = "kill") -> None:
    page.locator(f'#agents tr[data-agent="{agent}"] [data-mode={mode}]').click()
    expect(page.locator("#panel")).to_be_visible()


def points_live(page: Page, count: int) -> None:
    """The panel may count on so many points."""
    expect(page.locator("#panel [data-tile=points] dd")).to_have_text(f"{count}/{count}")


def carry_out(page: Page, name: str, reason: str = REASON) -> None:
    page.fill("#panel-reason", reason)
    if name:
        page.fill("#panel-typed", name)
    page.click("#panel-submit")


def test_a_kill_is_enforced_and_each_point_confirms_by_name(daemon: RunningDaemon, sign_in: SignIn) -> None:
    fleets.act(daemon, "thief")
    with fleets.guards(daemon, "proxy-1", "proxy-2") as guards:
        page = sign_in(daemon, hash_="#/agents")
        open_panel(page, "thief")
        points_live(page, 2)
        carry_out(page, "thief")
        expect(page.locator("#panel-verdict")).to_have_text(re.compile(r"Enforced 2/2 in [\d.]+\sm?s"))
        for name in ("proxy-1", "proxy-2"):
            chip = page.locator("#panel-points [data-state=confirmed]", has_text=name)
            expect(chip.locator(".point-time")).to_have_text(re.compile(r"^[\d.]+\sm?s$"))
        for guard in guards:
            with pytest.raises(Revoked):
                guard.check(agent="thief")
        record = fleets.revoked(daemon)["agent:thief"]
        assert (record["level"], record["reason"], record["by"]) == ("revoke", REASON, "the-on-call")


def test_the_way_back_stands_beside(daemon: RunningDaemon, sign_in: SignIn) -> None:
    fleets.act(daemon, "wronged")
    with fleets.guards(daemon, "proxy-1") as (guard,):
        page = sign_in(daemon, hash_="#/agents")
        open_panel(page, "wronged")
        points_live(page, 1)
        carry_out(page, "wronged")
        page.click("#panel-beside [data-mode=restore]")
        expect(page.locator("#panel-title")).to_have_text("Restore")
        expect(page.locator("#panel .target-history")).to_contain_text(REASON)
        carry_out(page, "", "the wrong one")
        expect(page.locator("#panel-verdict")).to_have_text(re.compile(r"Restored: 1/1 in"))
        guard.check(agent="wronged")
        expect(page.locator("#panel .target-history .before li").first).to_contain_text("the wrong one")
    assert fleets.revoked(daemon) == {}


def test_a_point_that_stays_silent_is_named_with_when_it_was_last_heard(
    daemon: RunningDaemon, sign_in: SignIn
) -> None:
    fleets.act(daemon, "runaway")
    with fleets.stoppable_point(daemon, 30) as point, fleets.guards(daemon, "well"):
        page = sign_in(daemon, hash_="#/agents")
        open_panel(page, "runaway")
        points_live(page, 2)
        point.send_signal(signal.SIGSTOP)  # alive for the store until its lease is over, deaf to everything
        carry_out(page, "runaway")
        expect(page.locator("#panel-verdict")).to_contain_text("Not contained: 1/2 after")
        expect(page.locator("#panel-notes")).to_contain_text("Not confirmed by stuck")
        chip = page.locator("#panel-points [data-state=missing]", has_text="stuck")
        expect(chip.locator(".point-time")).to_have_text(re.compile(r"last heard \d+ s ago"))
        point.send_signal(signal.SIGCONT)
        expect(page.locator("#panel-verdict")).to_contain_text("Enforced 2/2, the last ones late")


def test_a_point_that_was_dead_before_is_named_too(tmp_path: Path, sign_in: SignIn) -> None:
    # Not the daemon of the other tests: what is not heard any more stays listed for a while.
    with RunningDaemon(tmp_path / "state", fleets.CONFIG) as daemon:
        fleets.act(daemon, "runaway")
        with fleets.guards(daemon, "well"), fleets.stoppable_point(daemon, 0.5) as point:
            point.kill()
            daemon.wait_for(lambda: fleets.points(daemon)["stuck"] is False, "the end of its lease")
            page = sign_in(daemon, hash_="#/agents")
            open_panel(page, "runaway")
            expect(page.locator("#panel [data-tile=points] dd")).to_have_text("1/2")
            expect(page.locator("#panel-effects")).to_contain_text("1 point cannot be heard")
            carry_out(page, "runaway")
            expect(page.locator("#panel-verdict")).to_contain_text("Enforced 1/1")
            expect(page.locator("#panel-notes")).to_contain_text("Silent since before it was sent: stuck")
            expect(page.locator("#panel-points [data-state=silent]")).to_contain_text("stuck")
            page.goto("about:blank")


@pytest.mark.parametrize(
    ("reason", "typed"),
    [("", "innocent"), (" \n ", "innocent"), (REASON, ""), (REASON, "innocen"), (REASON, "innocent-2")],
)
def test_without_a_reason_and_the_name_the_button_stays_shut(
    daemon: RunningDaemon, sign_in: SignIn, reason: str, typed: str
) -> None:
    fleets.act(daemon, "innocent")
    page = sign_in(daemon, hash_="#/agents")
    open_panel(page, "innocent")
    page.fill("#panel-reason", reason)
    page.fill("#panel-typed", typed)
    expect(page.locator("#panel-submit")).to_be_disabled()
    expect(page.locator("#panel-hint")).to_contain_text("Still needed: ")
    page.evaluate("document.querySelector('#panel form').requestSubmit()")  # past the button
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    assert fleets.revoked(daemon) == {}


def test_the_name_and_a_reason_open_it(daemon: RunningDaemon, sign_in: SignIn) -> None:
    fleets.act(daemon, "innocent")
    page = sign_in(daemon, hash_="#/agents")
    open_panel(page, "innocent")
    page.fill("#panel-reason", REASON)
    page.fill("#panel-typed", " innocent ")
    expect(page.locator("#panel-submit")).to_be_enabled()
    page.fill("#panel-typed", "innocent bystander")
    expect(page.locator("#panel-submit")).to_be_disabled()


def test_a_suspension_has_its_end(daemon: RunningDaemon, sign_in: SignIn) -> None:
    fleets.act(daemon, "hasty")
    page = sign_in(daemon, hash_="#/agents")
    open_panel(page, "hasty")
    expect(page.locator("#panel-duration")).to_be_hidden()
    page.check("#panel input[value=suspend]")
    page.select_option("#panel-duration", label="8 hours")
    expect(page.locator("#panel-effects")).to_contain_text("free again by itself after 8 hours")
    carry_out(page, "hasty")
    expect(page.locator("#panel-verdict")).to_be_visible()
    expect(page.locator("#panel-verdict")).to_contain_text("no enforcement point is connected")
    record = fleets.revoked(daemon)["agent:hasty"]
    assert record["level"] == "suspend"
    assert record["expires_at"] - record["at"] == pytest.approx(8 * 3600, abs=60)


def test_a_hold_lasts_until_somebody_restores(daemon: RunningDaemon, sign_in: SignIn) -> None:
    fleets.act(daemon, "odd")
    page = sign_in(daemon, hash_="#/agents")
    open_panel(page, "odd")
    page.check("#panel input[value=step_up]")
    carry_out(page, "odd")
    expect(page.locator("#panel-verdict")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#agents tr[data-agent=odd][data-cut=step_up]")).to_be_visible()
    record = fleets.revoked(daemon)["agent:odd"]
    assert (record["level"], record["expires_at"]) == ("step_up", None)


def test_the_blast_radius_is_shown_before_anything_is_sent(fleet: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(fleet, hash_="#/agents")
    open_panel(page, "agent-0")
    radius = page.locator("#panel .radius")
    expect(radius.locator("[data-tile=agents] dd")).to_have_text("1")
    expect(radius).to_contain_text("alice@example.com")
    expect(radius).to_contain_text("s-hijacked")


def test_the_whole_fleet_needs_its_word(daemon: RunningDaemon, sign_in: SignIn) -> None:
    fleets.act(daemon, "one-of-many")
    with fleets.guards(daemon, "proxy-1") as (guard,):
        page = sign_in(daemon, hash_="#/fleet")
        page.click("#kill-fleet")
        expect(page.locator("#panel-effects")).to_contain_text("every agent of every tenant")
        points_live(page, 1)
        page.fill("#panel-reason", REASON)
        page.fill("#panel-typed", "flee")
        expect(page.locator("#panel-submit")).to_be_disabled()
        carry_out(page, "fleet")
        expect(page.locator("#panel-verdict")).to_contain_text("Enforced 1/1")
        with pytest.raises(Revoked):
            guard.check(agent="one-of-many")


@pytest.mark.parametrize("role", ["analyst", "auditor"])
def test_who_may_not_kill_is_offered_no_button(fleet: RunningDaemon, sign_in: SignIn, role: str) -> None:
    fleets.kill(fleet, "agent:agent-5")
    try:
        page = sign_in(fleet, role, "#/agents")
        expect(page.locator("#agents tr[data-agent=agent-5][data-cut]")).to_be_visible()
        for hash_, shown in (
            ("#/agents/agent-0", "#agent-timeline .action"),
            ("#/fleet", "#cut-list .card"),
            ("#/alerts", "#alerts .alert"),
        ):
            page.goto(f"{fleet.url}/{hash_}")
            expect(page.locator(shown).first).to_be_visible()
            assert page.locator("[data-mode=kill], [data-mode=restore], #kill-fleet").count() == 0
    finally:
        fleets.restore(fleet, "agent:agent-5")


def test_no_single_key_kills(daemon: RunningDaemon, sign_in: SignIn) -> None:
    fleets.act(daemon, "bystander")
    page = sign_in(daemon, hash_="#/agents")
    button = page.locator("#agents tr[data-agent=bystander] [data-mode=kill]")
    button.focus()
    for key in [*"abcdefghijlmnopqrstuvwxyz", "Delete", "Backspace"]:
        page.keyboard.press(key)
        page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    button.focus()
    page.keyboard.press("Enter")  # opens the panel, and no more
    expect(page.locator("#panel")).to_be_visible()
    page.fill("#panel-reason", REASON)
    page.fill("#panel-typed", "bystander")
    for field in ("#panel-typed", "#panel-reason", "#panel input[value=revoke]"):
        page.focus(field)
        page.keyboard.press("Enter")
    expect(page.locator("#panel-ask")).to_be_visible()
    assert fleets.revoked(daemon) == {}


def test_what_is_cut_off_already_says_so_and_by_whom(daemon: RunningDaemon, sign_in: SignIn) -> None:
    fleets.kill(daemon, "human:mallory@example.com", "left the company")
    page = sign_in(daemon, hash_="#/fleet")
    page.select_option("#target-kind", "human")
    page.fill("#target-name", "mallory@example.com")
    page.keyboard.press("Enter")
    expect(page.locator("#panel-effects")).to_contain_text("cut off already. Revoked by the-on-call")
    expect(page.locator("#panel-effects")).to_contain_text("left the company")
    expect(page.locator("#panel-beside [data-mode=restore]")).to_be_visible()
    carry_out(page, "mallory@example.com")
    expect(page.locator("#panel-verdict")).to_have_text("No change: it was cut off already")


def test_a_refused_target_leaves_what_was_typed(daemon: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(daemon, hash_="#/fleet")
    page.select_option("#target-kind", "agent_version")
    page.fill("#target-name", "no-version-in-it")
    page.keyboard.press("Enter")
    page.locator("#panel-reason").wait_for()
    page.fill("#panel-reason", REASON)
    page.fill("#panel-typed", "no-version-in-it")
    with page.expect_response("**/v1/revocations"):
        page.click("#panel-submit")
    expect(page.locator("#panel-problem")).to_contain_text("Not done: ")
    assert page.input_value("#panel-reason") == REASON
    assert fleets.revoked(daemon) == {}


def test_a_restoration_that_others_have_to_agree_to_says_how_many(tmp_path: Path, sign_in: SignIn) -> None:
    state = StateDir(tmp_path / "state")
    keyring = open_keys(state).keyring
    assert keyring is not None
    operators = (PublicKey.of(Signer.generate(name), "operator") for name in ("alice", "bob"))
    keep_keyring(state, Keyring(1, (*keyring.keys, *operators), {"*": 2}))
    with RunningDaemon(state.path, fleets.CONFIG) as daemon:
        fleets.act(daemon, "thief")
        fleets.kill(daemon, "agent:thief")
        page = sign_in(daemon, hash_="#/agents")
        open_panel(page, "thief", "restore")
        carry_out(page, "", "it was a test")
        expect(page.locator("#panel-problem")).to_contain_text("needs 2 more approvals")
        assert page.input_value("#panel-reason") == "it was a test"
        assert set(fleets.revoked(daemon)) == {"agent:thief"}
        page.goto("about:blank")


def test_where_kills_are_answered_elsewhere_the_panel_leads_there(tmp_path: Path, sign_in: SignIn) -> None:
    config = fleets.CONFIG + '[server]\nkill_host = "127.0.0.1"\nkill_port = 0\n'
    with RunningDaemon(tmp_path / "state", config) as daemon:
        fleets.act(daemon, "thief")
        page = sign_in(daemon, hash_="#/agents")
        open_panel(page, "thief")
        expect(page.locator("#panel-submit")).to_be_hidden()
        address = str(page.locator("#panel-elsewhere a").get_attribute("href"))
        assert address.endswith("#/agents/thief")
        assert not address.startswith(daemon.url)
        page.keyboard.press("Escape")
        page.goto(f"{address.partition('#')[0]}#token={daemon.tokens['on-call']}")
        page.wait_for_selector("#who:visible")
        page.goto(address)
        page.click("#view-agent .agent-acts [data-mode=kill]")
        carry_out(page, "thief")
        expect(page.locator("#panel-verdict")).to_be_visible()
        daemon.wait_for(lambda: "agent:thief" in fleets.revoked(daemon), "the kill")
        page.goto("about:blank")


@pytest.mark.parametrize("name", [fleets.MARKUP, fleets.REVERSED, "a" * 300, 'quo"te', "späße/ü"])
def test_a_hostile_name_is_shown_as_text_and_can_be_killed(
    daemon: RunningDaemon, sign_in: SignIn, name: str
) -> None:
    fleets.act(daemon, name)
    page = sign_in(daemon, hash_="#/agents")
    row = page.locator("#agents tr").filter(
        has=page.locator(f"[data-mode=kill][aria-label*={_quoted(name[:12])}]")
    )
    row.first.locator("[data-mode=kill]").click()
    typed = page.locator("#panel .typed-name").inner_text()
    assert "\u202e" not in page.locator("#panel").inner_text()
    carry_out(page, typed)
    expect(page.locator("#panel-verdict")).to_contain_text("no enforcement point is connected")
    assert_no_markup(page)
    assert f"agent:{name}" in fleets.revoked(daemon)


def _quoted(text: str) -> str:
    shown = text.replace("\u202e", "⟨U+202E⟩").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{shown}"'


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_panel_is_well_made(fleet: RunningDaemon, sign_in: SignIn, look: Look) -> None:
    with fleets.guards(fleet, "proxy-1"):
        page = sign_in(fleet, hash_="#/agents/agent-2", look=look)
        page.click("#view-agent .agent-acts [data-mode=kill]")
        points_live(page, 1)
        assert_well_made(page, look)
        carry_out(page, "agent-2")
        expect(page.locator("#panel-verdict")).to_contain_text("Enforced 1/1")
        assert_well_made(page, look)
        page.click("#panel-beside [data-mode=restore]")
        assert_well_made(page, look)
        carry_out(page, "", "it was a test")
        expect(page.locator("#panel-verdict")).to_contain_text("Restored: 1/1")
