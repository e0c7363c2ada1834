"""Signing in with a token or at a provider, who may do what then, and how a session ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard import fleets
from tests.dashboard.conftest import SignIn
from tests.dashboard.pages import LOOKS, Look, assert_well_made, open_page
from tests.monitor.daemons import RunningDaemon
from tests.monitor.providers import provider_of, serve

# The provider runs in a thread of this process, and its libraries speak of their own future.
pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def stranger(browser: Browser, daemon: RunningDaemon) -> Iterator[Page]:
    """A page of the daemon that nobody is signed in to."""
    with _stranger(browser, daemon) as page:
        yield page


@contextmanager
def _stranger(browser: Browser, daemon: RunningDaemon, look: Look = LOOKS[0]) -> Iterator[Page]:
    errors: list[str] = []
    with open_page(browser, look, errors) as page:
        page.goto(daemon.url)
        page.wait_for_selector("#token:visible")
        yield page
    assert errors == []


def test_a_token_becomes_a_session_and_is_kept_nowhere(daemon: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(daemon)
    token = daemon.tokens["on-call"]
    assert token not in page.url
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
    cookies = page.context.cookies()
    assert [(one["httpOnly"], one["sameSite"]) for one in cookies] == [(True, "Strict")]
    assert token not in cookies[0]["value"]
    page.reload()
    expect(page.locator("#who-name")).to_have_text("the-on-call")


def test_the_form_takes_a_token_and_says_when_it_is_none(stranger: Page, daemon: RunningDaemon) -> None:
    expect(stranger.locator("#token")).to_be_focused()
    assert stranger.locator("#main").is_hidden()
    stranger.keyboard.type("has spaces in it")
    stranger.keyboard.press("Enter")
    expect(stranger.locator("#sign-in-problem")).to_contain_text("This is not a token")
    stranger.keyboard.type("not-a-token-of-this-daemon")
    stranger.keyboard.press("Enter")
    expect(stranger.locator("#sign-in-problem")).to_contain_text("does not know this token")
    stranger.keyboard.type(daemon.tokens["analyst"])
    stranger.keyboard.press("Enter")
    expect(stranger.locator("#who-role")).to_have_text("analyst")
    expect(stranger.locator("#connection")).to_have_text("Live")


def test_who_may_not_read_is_told_so(stranger: Page, daemon: RunningDaemon) -> None:
    stranger.fill("#token", daemon.tokens["sensor"])
    stranger.click("#sign-in-submit")
    expect(stranger.locator("#sign-in-problem")).to_contain_text("the-sensor has the role sensor")
    assert stranger.locator("#main").is_hidden()


def test_the_form_shuts_when_too_many_tokens_were_tried(browser: Browser, tmp_path: Path) -> None:
    with RunningDaemon(tmp_path / "state", fleets.CONFIG) as daemon, _tries(browser, daemon) as page:
        for number in range(30):
            page.fill("#token", f"guess-number-{number}")
            with page.expect_response("**/v1/session"):
                page.click("#sign-in-submit")
            if "too many" in (page.locator("#sign-in-problem").text_content() or "").lower():
                return
        pytest.fail("thirty guesses in a row, and nobody minded")


@contextmanager
def _tries(browser: Browser, daemon: RunningDaemon) -> Iterator[Page]:
    with open_page(browser, LOOKS[0], []) as page:  # the browser's own word on 429 is what this is about
        page.goto(daemon.url)
        page.wait_for_selector("#token:visible")
        yield page


def test_signing_out_ends_the_session_everywhere(daemon: RunningDaemon, sign_in: SignIn) -> None:
    page = sign_in(daemon)
    other = page.context.new_page()
    other.goto(f"{daemon.url}/#/fleet")
    expect(other.locator("#who-name")).to_have_text("the-on-call")
    other.close()
    page.click("#leave")
    expect(page.locator("#token")).to_be_visible()
    assert page.context.cookies() == []


def test_a_revoked_token_ends_its_session_and_says_so(browser: Browser, tmp_path: Path) -> None:
    with RunningDaemon(tmp_path / "state", fleets.CONFIG) as daemon, open_page(browser, LOOKS[0], []) as page:
        page.goto(f"{daemon.url}/#token={daemon.tokens['analyst']}")
        page.wait_for_selector("body[data-connection=live]")
        page.goto(f"{daemon.url}/#/fleet")
        fleets.revoke_token(daemon, "analyst")
        expect(page.locator("#sign-in-problem")).to_contain_text("Your session has ended")
        page.fill("#token", daemon.tokens["on-call"])
        page.click("#sign-in-submit")
        expect(page.locator("#who-name")).to_have_text("the-on-call")
        assert page.url.endswith("#/fleet")  # back where they were


def test_a_tab_whose_browser_is_signed_in_as_somebody_else_says_who(
    daemon: RunningDaemon, sign_in: SignIn
) -> None:
    page = sign_in(daemon)
    other = page.context.new_page()
    other.goto(f"{daemon.url}/#token={daemon.tokens['analyst']}")
    expect(other.locator("#who-name")).to_have_text("the-analyst")
    other.close()
    page.reload()
    expect(page.locator("#who-name")).to_have_text("the-analyst")


def test_people_sign_in_at_their_provider(browser: Browser, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    errors: list[str] = []
    with ExitStack() as stack:
        issuer = stack.enter_context(serve(provider_of({"ana": ["soc"], "nobody": ["sales"]})))
        oidc = f'[oidc]\nissuer = "{issuer}"\nclient_id = "killcord"\nclient_secret_file = "{secret}"\n'
        config = fleets.CONFIG + oidc + 'roles = { soc = "analyst" }\n'
        daemon = stack.enter_context(RunningDaemon(tmp_path / "state", config))
        page = stack.enter_context(open_page(browser, LOOKS[0], errors))
        page.goto(daemon.url)
        expect(page.locator("#token")).to_be_visible()  # a token works beside it
        _sign_in_there(page, "ana")
        expect(page.locator("#who-name")).to_have_text("ana@example.com")
        expect(page.locator("#connection")).to_have_text("Live")
        page.click("#leave")
        _sign_in_there(page, "nobody")
        expect(page.locator("body")).to_contain_text("is known, but has no role here")
    # What the provider's own page cannot load is its affair.
    assert [error for error in errors if daemon.url in error and "403" not in error] == []


def _sign_in_there(page: Page, name: str) -> None:
    page.click("#sign-in-provider")
    page.fill("input[name=sub]", name)
    page.locator("input[name=sub]").press("Enter")


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_it_is_well_made(browser: Browser, daemon: RunningDaemon, look: Look) -> None:
    with _stranger(browser, daemon, look) as page:
        page.fill("#token", "not-a-token-of-this-daemon")
        page.click("#sign-in-submit")
        expect(page.locator("#sign-in-problem")).to_be_visible()
        assert_well_made(page, look)
