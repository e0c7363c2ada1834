"""Who may do what."""

from __future__ import annotations

import pytest

from monitor.access import Access, bearer, bearer_of_subprotocols, is_allowed_origin

ACCESS = Access({"ingest": "in", "feed": "look", "kill": "stop"})


@pytest.mark.parametrize(
    ("token", "roles"),
    [
        ("in", {"ingest"}),
        ("look", {"feed"}),
        ("stop", {"kill", "feed"}),
        ("", set()),
        (None, set()),
        ("stopp", set()),
        ("sto", set()),
        ("In", set()),
        ("naïve", set()),
    ],
)
def test_a_token_grants_its_role_and_nothing_else_does(token: str | None, roles: set[str]) -> None:
    assert ACCESS.roles(token) == roles


def test_an_empty_token_in_the_file_opens_nothing() -> None:
    assert Access({"ingest": "", "feed": "look", "kill": ""}).roles("") == frozenset()


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", None),
        ("abc", None),
        ("", None),
        (None, None),
        ("Bearer", ""),
    ],
)
def test_the_header_is_read_as_the_standard_says(header: str | None, token: str | None) -> None:
    assert bearer(header) == token


def test_a_browser_sends_its_token_as_a_subprotocol() -> None:
    assert bearer_of_subprotocols(["killcord.v1", "bearer.abc.def"]) == "abc.def"
    assert bearer_of_subprotocols(["killcord.v1"]) is None


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        (None, True),
        ("http://127.0.0.1:8787", True),
        ("https://127.0.0.1:8787", True),
        ("https://soc.example", True),
        ("http://soc.example", False),
        ("http://127.0.0.1:9999", False),
        ("http://127.0.0.1:8787.evil.example", False),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_only_our_own_and_configured_pages_may_open_the_feed(origin: str | None, is_allowed: bool) -> None:
    assert is_allowed_origin(origin, "127.0.0.1:8787", ("https://soc.example",)) is is_allowed
