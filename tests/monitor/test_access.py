"""Who may do what."""

from __future__ import annotations

import pytest

from monitor.access.browsers import (
    bearer,
    bearer_of_subprotocols,
    is_allowed_origin,
    is_foreign_page,
    is_own_page,
)
from monitor.access.roles import PERMISSIONS, Permission, Role, owner, principal


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


HOST = "127.0.0.1:8787"


@pytest.mark.parametrize(
    ("origin", "fetch_site", "is_own", "is_foreign"),
    [
        ("http://127.0.0.1:8787", "same-origin", True, False),
        ("http://127.0.0.1:8787", None, True, False),
        ("https://soc.example", "cross-site", True, False),
        ("https://evil.example", "cross-site", False, True),
        ("https://evil.example", "same-origin", False, True),
        ("null", "cross-site", False, True),
        ("http://127.0.0.1:9999", "same-site", False, True),
        (None, "same-origin", True, False),
        (None, "same-site", False, True),
        (None, "cross-site", False, True),
        (None, "none", False, False),
        (None, None, False, False),
    ],
)
def test_a_cookie_counts_for_our_pages_and_a_sign_in_against_others(
    origin: str | None, fetch_site: str | None, is_own: bool, is_foreign: bool
) -> None:
    allowed = ("https://soc.example",)
    assert is_own_page(origin, fetch_site, HOST, allowed) is is_own
    assert is_foreign_page(origin, fetch_site, HOST, allowed) is is_foreign


def test_the_owner_of_the_state_directory_may_do_everything() -> None:
    assert all(owner("root@host").may(permission) for permission in PERMISSIONS)
