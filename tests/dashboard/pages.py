"""How pages are opened and looked at: sizes, colour schemes, and what must hold of any view."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
DEADLINE_MS = 20_000
# What the browser says of an answer that is a refusal, and of a daemon that is gone; what the page makes of it is
# tested where it happens.
REFUSED = re.compile(
    r"Failed to load resource: the server responded with a status of (401|404|409|422) "
    r"|Failed to load resource: net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE|INTERNET_DISCONNECTED)"
    r"|WebSocket connection to '\S+' failed: Error in connection establishment: net::ERR_CONNECTION_REFUSED"
)


class Look(NamedTuple):
    """A window: its size in CSS pixels and the preferred colour scheme."""

    width: int
    height: int
    scheme: str

    @property
    def is_phone(self) -> bool:
        return self.width < 600

    def __str__(self) -> str:
        return f"{self.scheme}-{self.width}"


LOOKS = (
    Look(1440, 900, "dark"),
    Look(1440, 900, "light"),
    Look(390, 844, "dark"),
    Look(390, 844, "light"),
)


@contextmanager
def open_page(browser: Browser, look: Look, errors: list[str]) -> Iterator[Page]:
    """Open a tab with storage of its own; what it throws or logs as an error is added to `errors`."""
    context = browser.new_context(
        viewport={"width": look.width, "height": look.height},
        color_scheme="dark" if look.scheme == "dark" else "light",
        has_touch=look.is_phone,
        is_mobile=look.is_phone,
    )
    try:
        page = context.new_page()
        page.set_default_timeout(DEADLINE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: _note(message, errors))
        yield page
    finally:
        context.close()


def _note(message: ConsoleMessage, errors: list[str]) -> None:
    if message.type == "error" and not REFUSED.match(message.text):
        errors.append(f"{message.text} ({message.location['url']})")


def assert_well_made(page: Page, look: Look) -> None:
    """Nothing that axe finds against WCAG 2.2 AA, nothing wider than the window, and on a phone big targets."""
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": WCAG}})
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate(TOO_WIDE) == []
    if look.is_phone:
        assert page.evaluate(TOO_SMALL) == []


def assert_no_markup(page: Page) -> None:
    """What agents chose is shown as text, and only as text."""
    assert page.evaluate("window.pwned") is None
    assert (
        page.evaluate("document.querySelectorAll('main img, main script, dialog img, dialog script').length")
        == 0
    )


_IN_FRONT = (
    "(document.querySelector('dialog[open]') ?? document.querySelector('.view:not([hidden])')"
    " ?? document.querySelector('main:not([hidden])'))"
)

# What scrolls by itself inside the window may be wider within; the window itself may not.
TOO_WIDE = f"""() => {{
  const root = document.documentElement;
  const wide = root.scrollWidth > innerWidth ? ['the page'] : [];
  const isOut = (node) => node.getBoundingClientRect().right > innerWidth + 1;
  return wide.concat([...{_IN_FRONT}.querySelectorAll('*')].filter(isOut).map((node) => node.outerHTML.slice(0, 120)));
}}"""

# 44 CSS pixels, as WCAG 2.5.5 asks; a choice and a switch are pressed on their whole label.
TOO_SMALL = f"""() => [...{_IN_FRONT}.querySelectorAll('a, button, select, summary, textarea, input, label:has(input)')]
  .filter((node) => !(node.matches('[type=checkbox], [type=radio]') && node.closest('label')))
  .filter((node) => node.getClientRects().length > 0)
  .filter((node) => node.getBoundingClientRect().height < 43.5)
  .map((node) => node.outerHTML.slice(0, 120))"""
