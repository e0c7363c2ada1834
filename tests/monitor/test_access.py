"""Who may do what."""

from __future__ import annotations

import pytest

from monitor.access.browsers import bearer, bearer_of_subprotocols, is_allowed_origin
from monitor.access.roles import PERMISSIONS, Permission, Role, principal
from monitor.access.tokens import Tokens

TOKENS = Tokens({"sensor": "in", "analyst": "look", "on-call": "stop"})


@pytest.mark.parametrize(
    ("token", "role"),
    [
        ("in", "sensor"),
        ("look", "analyst"),
        ("stop", "on-call"),
        ("", None),
        (None, None),
        ("stopp", None),
        ("sto", None),
        ("In", None),
        ("naïve", None),
    ],
)
def test_a_token_is_its_role_and_nothing_else_is(token: str | None, role: str | None) -> None:
    found = TOKENS.principal(token)
    assert (found and found.role) == role


def test_an_empty_token_in_the_file_opens_nothing() -> None:
    assert Tokens({"sensor": "", "analyst": "look", "on-call": ""}).principal("") is None


@pytest.mark.parametrize(
    ("role", "permissions"),
    [
        ("sensor", {"ingest"}),
        ("analyst", {"read", "triage"}),
        ("on-call", {"read", "triage", "kill"}),
        ("admin", {"read", "triage", "kill", "audit"}),
        ("auditor", {"read", "audit"}),
    ],
)
def test_a_role_may_do_its_part_and_no_more(role: Role, permissions: set[Permission]) -> None:
    assert {
        permission for permission in PERMISSIONS if principal("somebody", role).may(permission)
    } == permissions


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
