"""The filter language."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import FilterError
from monitor.live.filters import EVERYTHING, MAX_CHARS, MAX_TERMS, SEVERITIES, parse_filter

ALERT = {
    "type": "alert",
    "alert": {
        "id": "al-2",
        "agent_id": "billing-bot",
        "session_id": "run 7",
        "tool": "send_money",
        "verdict": "anomalous",
        "severity": "high",
        "title": "billing-bot never called send_money",
        "reasons": [{"sentence": "recipient first appeared in the output of Read_Inbox"}],
        "on_behalf_of": ["alice@example.com", "planner"],
    },
    "group": {"id": "al-1", "count": 2, "state": "acknowledged", "muted_by": "mu-1"},
}
KILL = {
    "type": "transition",
    "transition": {"target": "agent:billing-bot", "kind": "revoke", "reason": "drill"},
}
HUMAN = {"type": "transition", "transition": {"target": "human:alice@example.com", "reason": "left"}}
STATUS = {"type": "status", "status": {}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "agent:billing-bot",
        "agent:billing-*",
        "agent:*",
        "agent:x,billing-bot",
        "agent:*-b*t",
        "human:alice@example.com",
        "human:planner",
        "tool:send_money severity:high",
        "severity:>=medium",
        "state:acknowledged",
        "state:muted",
        "state:open,muted",
        "verdict:anomalous",
        "type:alert",
        "id:al-1",
        "id:al-2",
        'session:"run 7"',
        "READ_inbox",
        '"never called"',
        "-agent:other",
        "-severity:low,medium",
        "-drill",
    ],
)
def test_an_alert_passes_what_it_matches(text: str) -> None:
    assert parse_filter(text).matches(ALERT)


@pytest.mark.parametrize(
    "text",
    [
        "agent:billing",
        "agent:Billing-bot",
        "agent:*x",
        "agent:billing-bot-*-bot",
        "human:alice",
        "severity:>=critical",
        "state:open",
        "-state:muted",
        "agent:billing-bot tool:read",
        "nothing-of-this",
        "type:transition",
        'session:"run"',
    ],
)
def test_an_alert_does_not_pass_what_it_does_not_match(text: str) -> None:
    assert not parse_filter(text).matches(ALERT)


def test_a_change_of_the_revocations_has_the_kind_of_its_target() -> None:
    assert parse_filter("agent:billing-bot").matches(KILL)
    assert parse_filter("human:alice@example.com").matches(HUMAN)
    assert not parse_filter("human:billing-bot").matches(KILL)
    assert not parse_filter("severity:>=low").matches(KILL), "it has no severity"
    assert parse_filter("-severity:>=low").matches(KILL)
    assert parse_filter("drill").matches(KILL)


def test_the_heartbeat_passes_every_filter() -> None:
    assert parse_filter("agent:nobody severity:critical").matches(STATUS)


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("colour:red", "colour:red"),
        ("severity:worst", "severity:worst"),
        ("severity:>=worst", "severity:>=worst"),
        ("severity:hi*", "severity:hi*"),
        ("state:resolved", "state:resolved"),
        ('agent:"x', '"x'),
        ('a "b', '"b'),
        ("http://evil.example", "http://evil.example"),
        ("agent:,", "agent:,"),
        ("x " * (MAX_TERMS + 1), "x"),
        ("x" * (MAX_CHARS + 1), "x" * 20),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused_with_the_term(text: str, term: str) -> None:
    with pytest.raises(FilterError, match=re.escape(term)) as refused:
        parse_filter(text)
    assert refused.value.term.endswith(term)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        found = parse_filter(text)
    except FilterError:
        return
    assert found.matches(ALERT) in (True, False)
    assert parse_filter(found.text).text == found.text


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_a_star_stands_for_any_characters(pattern: str, name: str) -> None:
    message: dict[str, Any] = {"type": "alert", "alert": {"agent_id": name}}
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None
    assert parse_filter(f'agent:"{pattern}"').matches(message) is expected


@given(st.sampled_from(SEVERITIES), st.sampled_from(SEVERITIES))
def test_severities_have_an_order(floor: str, severity: str) -> None:
    message = {"type": "alert", "alert": {"severity": severity}}
    at_least = SEVERITIES.index(severity) >= SEVERITIES.index(floor)
    assert parse_filter(f"severity:>={floor}").matches(message) is at_least


@given(st.sampled_from(["agent:a*", "severity:>=high", "state:open", "word", "human:x"]))
def test_a_term_and_its_negation_share_nothing(term: str) -> None:
    for message in (ALERT, KILL, HUMAN):
        assert parse_filter(term).matches(message) is not parse_filter(f"-{term}").matches(message)


def test_an_empty_filter_is_everything() -> None:
    assert parse_filter(" ") is EVERYTHING
