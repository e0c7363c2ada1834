"""A browser, a daemon with a fleet that has habits, and pages that somebody is signed in to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.dashboard import fleets
from tests.dashboard.pages import LOOKS, Look, open_page
from tests.monitor.daemons import RunningDaemon

SignIn = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One headless browser for a module's tests; each page has storage of its own."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium or Chrome on the PATH")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon that only alerts, with no agents yet."""
    with RunningDaemon(tmp_path_factory.mktemp("daemon") / "state", fleets.CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon with six agents that have habits; two of them were hijacked, and one has a hostile name."""
    state: Path = tmp_path_factory.mktemp("fleet") / "state"
    with RunningDaemon(state, fleets.CONFIG + fleets.routes(state.parent)) as running:
        fleets.live_through(running)
        yield running


@pytest.fixture
def sign_in(browser: Browser) -> Iterator[SignIn]:
    """Return a page of a daemon that somebody of a role is signed in to: ``sign_in(daemon, role, hash, look)``.

    Whatever such a page throws or logs as an error fails the test.
    """
    with ExitStack() as stack:
        errors: list[str] = []

        def opened(
            daemon: RunningDaemon, role: str = "on-call", hash_: str = "#/alerts", look: Look = LOOKS[0]
        ) -> Page:
            page = stack.enter_context(open_page(browser, look, errors))
            page.goto(f"{daemon.url}/#token={daemon.tokens[role]}")
            page.wait_for_selector("#who:visible")
            page.wait_for_selector("body[data-connection=live]")
            page.goto(f"{daemon.url}/{hash_}")
            return page

        yield opened
    assert errors == []
