"""The forms that alerts are sent in: what each says, their limits, and that no hostile text gets out of its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.delivery.apprise_sink import notice
from monitor.delivery.events import Event, event
from monitor.delivery.ocsf import detection_finding
from monitor.delivery.pagerduty import pagerduty_event
from monitor.delivery.slack import is_for_chat, slack_message
from monitor.delivery.syslog import BOM, MAX_DATAGRAM_BYTES, MAX_FRAME_BYTES, counted, syslog_message
from monitor.delivery.texts import cut_bytes, cut_escaped, defused, plain
from tests.monitor.delivery_feed import TS, alert, change
from tests.monitor.hostile import CORPUS, HOSTILE

DASHBOARD = "https://watch.example.com/"


def of(message: dict[str, Any], seq: int = 7) -> Event:
    return event(seq, message, msgspec.json.encode({"seq": seq, **message}).decode())


def hostile_alert(text: str) -> dict[str, Any]:
    """An alert in which everything that an agent, or a person, may choose is this text."""
    reason = {"signal": "novelty", "observed": text, "expected": text, "p": 0.1, "sentence": text}
    names = ("agent_id", "session_id", "tool", "action_id", "title", "credential", "policy")
    return alert(reasons=[reason] * 30, on_behalf_of=[text] * 30, **dict.fromkeys(names, text))


def hostile_change(text: str) -> dict[str, Any]:
    names = ("agent_id", "tool", "title", "by", "comment", "assignee", "session_id")
    return change("reopen", "open", on_behalf_of=[text], **dict.fromkeys(names, text))


HOSTILE_EVENTS = st.one_of(HOSTILE.map(hostile_alert), HOSTILE.map(hostile_change)).map(of)


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def assert_harmless(text: str) -> None:
    assert all(letter.isprintable() for letter in text.replace("\n", "")), repr(text)


# -- texts ----------------------------------------------------------------------------------------------------------


@given(HOSTILE, st.integers(2, 500))
def test_plain_text_is_one_printable_line_of_bounded_length(text: str, limit: int) -> None:
    shown = plain(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()


@given(HOSTILE, st.integers(2, 500))
def test_defused_text_begins_nothing(text: str, limit: int) -> None:
    shown = defused(text, limit)
    assert len(shown) <= limit
    assert not set(shown) & set("@#<>&*~`|[]{}\\$!")
    assert not re.search(r"(?i)https?:|\w\.[a-z]|:\w|(?<![^\W_])_\w", shown)


def test_what_is_harmless_stays_as_it_was() -> None:
    for text in (
        "billing_bot called http_post 41 times in 60 s; its usual rate is 0.4",
        "Zoë — “naïve” 日本",
    ):
        assert defused(text, 500) == plain(text, 500) == text


def test_an_escape_is_never_torn() -> None:
    for limit in range(1, 12):
        assert re.fullmatch(r"(&amp;|a)*…?", cut_escaped("a&amp;a&amp;", limit))


@given(st.text(max_size=50), st.integers(3, 60))
def test_bytes_are_cut_between_characters(text: str, limit: int) -> None:
    text = text.encode(errors="ignore").decode()
    assert len(cut_bytes(text, limit).encode()) <= limit


# -- PagerDuty ------------------------------------------------------------------------------------------------------


def test_the_same_incident_is_triggered_acknowledged_and_resolved() -> None:
    steps = [
        alert(1),
        alert(2, group={"id": "al-1", "count": 2}),
        change("acknowledge", "acknowledged"),
        change("close", "closed", reason="benign"),
        change("reopen", "open"),
    ]
    forms = [pagerduty_event(of(step), DASHBOARD) for step in steps]
    assert [form and form["event_action"] for form in forms] == [
        "trigger", "trigger", "acknowledge", "resolve", "trigger",
    ]  # fmt: skip
    assert {form and form["dedup_key"] for form in forms} == {"killcord:al-1"}


@pytest.mark.parametrize(("kind", "state"), [("comment", "open"), ("assign", "acknowledged")])
def test_what_changes_no_incident_is_not_sent(kind: str, state: str) -> None:
    assert pagerduty_event(of(change(kind, state)), DASHBOARD) is None


@pytest.mark.parametrize(
    ("ours", "theirs"), [("critical", "critical"), ("high", "error"), ("medium", "warning"), ("low", "info")]
)
def test_severities_are_those_of_pagerduty(ours: str, theirs: str) -> None:
    form = pagerduty_event(of(alert(severity=ours)), "")
    assert form
    assert form["payload"]["severity"] == theirs
    assert "links" not in form


def test_the_incident_leads_to_the_dashboard() -> None:
    form = pagerduty_event(of(alert()), DASHBOARD)
    assert form
    assert form["links"][0]["href"] == form["client_url"] == "https://watch.example.com/#/alerts/al-1"


@given(HOSTILE_EVENTS)
def test_pagerduty_events_keep_its_limits_whatever_is_said(hostile: Event) -> None:
    form = pagerduty_event(hostile, DASHBOARD)
    assert form
    assert form["payload"]["source"]
    assert 0 < len(form["payload"]["summary"]) <= 1024
    assert len(form["dedup_key"]) <= 255
    assert len(json.dumps(form)) < 512 * 1024
    for text in strings(form):
        assert_harmless(text)


def test_a_long_group_id_gives_a_short_key_of_its_own() -> None:
    keys = {pagerduty_event(of(alert(group={"id": "x" * 300 + end})), "")["dedup_key"] for end in "ab"}  # type: ignore[index]
    assert len(keys) == 2
    assert max(map(len, keys)) <= 255


# -- Slack and apprise ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "told"), [(1, True), (2, False), (10, True), (11, False), (100, True), (1000, True)]
)
def test_a_chat_hears_of_a_group_once_and_at_each_power_of_ten(count: int, told: bool) -> None:
    assert is_for_chat(of(alert(group={"count": count}))) is told


@pytest.mark.parametrize(
    ("kind", "told"),
    [("close", True), ("reopen", True), ("acknowledge", True), ("comment", False), ("assign", False)],
)
def test_a_chat_hears_of_changes_of_state(kind: str, told: bool) -> None:
    assert is_for_chat(of(change(kind, "open"))) is told


def test_a_slack_message_says_what_happened_and_links_to_it() -> None:
    form = slack_message(of(alert()), DASHBOARD)
    header, why, about, actions = form["blocks"]
    assert (
        header["text"]["text"] == "CRITICAL billing-bot revoked: sends what it read to a host it never used"
    )
    assert why["text"]["text"] == "• a new host"
    assert {"type": "plain_text", "text": "Tool: http_post", "emoji": False} in about["fields"]
    assert actions["elements"][0]["url"] == "https://watch.example.com/#/alerts/al-1"


@given(HOSTILE_EVENTS)
def test_nothing_that_is_said_begins_a_mention_a_link_or_markup_in_slack(hostile: Event) -> None:
    form = slack_message(hostile, DASHBOARD)
    for text in strings(form):
        assert_harmless(text)
        assert "<" not in text
        assert ">" not in text
        assert not re.search(r"&(?!amp;|lt;|gt;)", text)
    assert not set(form["text"]) & set("@#*~`&")
    assert '"mrkdwn"' not in json.dumps(form)


@given(HOSTILE_EVENTS)
def test_slack_messages_keep_its_limits(hostile: Event) -> None:
    blocks = slack_message(hostile, DASHBOARD)["blocks"]
    assert len(blocks) <= 50
    for block in blocks:
        text = block.get("text", {}).get("text", "x")
        assert 1 <= len(text) <= (150 if block["type"] == "header" else 3000)
        assert len(block.get("fields", [])) <= 10
        assert all(1 <= len(field["text"]) <= 2000 for field in block.get("fields", []))


@given(HOSTILE_EVENTS)
def test_a_notice_is_text_without_commands_but_for_our_own_link(hostile: Event) -> None:
    shown = notice(hostile, DASHBOARD)
    assert_harmless(shown.title)
    assert_harmless(shown.body)
    said = shown.title + shown.body.removesuffix("https://watch.example.com/#/alerts/al-1")
    assert not set(said) & set("@#<>&*~`|[]{}\\$!")
    assert len(shown.title) <= 200


# -- OCSF -----------------------------------------------------------------------------------------------------------

OBSERVATION = {
    "type": "object",
    "required": ["observation_parameter", "observations"],
    "properties": {
        "observation_parameter": {"type": "string"},
        "observations": {
            "type": "array",
            "items": {"type": "object", "required": ["value"], "properties": {"value": {"type": "string"}}},
        },
    },
}
DETECTION_FINDING = {
    "type": "object",
    "required": [
        "activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id", "metadata", "finding_info",
    ],
    "properties": {
        "activity_id": {"enum": [1, 2, 3]},
        "category_uid": {"const": 2},
        "class_uid": {"const": 2004},
        "type_uid": {"enum": [200401, 200402, 200403]},
        "time": {"type": "integer", "minimum": 1_000_000_000_000},
        "severity_id": {"enum": [0, 1, 2, 3, 4, 5, 6, 99]},
        "status_id": {"enum": [0, 1, 2, 3, 4, 5, 6, 99]},
        "risk_level_id": {"enum": [0, 1, 2, 3, 4, 99]},
        "risk_score": {"type": "integer"},
        "is_alert": {"type": "boolean"},
        "count": {"type": "integer", "minimum": 1},
        "message": {"type": "string", "minLength": 1},
        "action_id": {"enum": [0, 1, 2, 3, 4, 99]},
        "disposition_id": {"enum": [0, 1, 2, 3, 4, 15, 17, 19, 24, 25]},
        "metadata": {
            "type": "object",
            "required": ["version", "product"],
            "properties": {
                "version": {"const": "1.8.0"},
                "profiles": {"const": ["security_control"]},
                "sequence": {"type": "integer"},
                "product": {"type": "object", "required": ["name", "vendor_name"]},
            },
        },
        "finding_info": {
            "type": "object",
            "required": ["uid", "title", "analytic"],
            "properties": {
                "uid": {"type": "string", "minLength": 1},
                "title": {"type": "string"},
                "types": {"type": "array", "items": {"type": "string"}},
                "created_time": {"type": "integer"},
                "analytic": {"required": ["type_id"], "properties": {"type_id": {"enum": [0, 1, 2, 3, 4, 99]}}},
            },
        },
        "evidences": {
            "type": "array",
            "items": {"type": "object", "anyOf": [{"required": ["api"]}, {"required": ["data"]}]},
        },
        "anomaly_analyses": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["analysis_targets", "anomalies"],
                "properties": {
                    "analysis_targets": {"type": "array", "minItems": 1, "items": {"required": ["name"]}},
                    "anomalies": {"type": "array", "minItems": 1, "items": OBSERVATION},
                    "baselines": {"type": "array", "items": OBSERVATION},
                },
            },
        },
    },
    "dependentRequired": {"disposition_id": ["action_id"]},
}  # fmt: skip
VALIDATOR = jsonschema.Draft202012Validator(DETECTION_FINDING)


def finding(message: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        msgspec.json.encode(detection_finding(of(message), "0.1.0", DASHBOARD))
    )
    VALIDATOR.validate(found)
    assert found["type_uid"] == found["class_uid"] * 100 + found["activity_id"]
    return found


def test_the_schema_refuses_what_is_no_finding() -> None:
    good = finding(alert())
    for name in ("activity_id", "finding_info", "metadata", "time"):
        assert not VALIDATOR.is_valid({key: value for key, value in good.items() if key != name})
    assert not VALIDATOR.is_valid({**good, "severity_id": 7})


def test_one_finding_is_created_updated_and_closed() -> None:
    steps = [
        (alert(1), 1, 1),
        (alert(2, group={"id": "al-1", "count": 2}), 2, 1),
        (change("acknowledge", "acknowledged"), 2, 2),
        (change("comment", "acknowledged", comment="looking"), 2, 2),
        (change("close", "closed", reason="benign"), 3, 4),
        (change("reopen", "open"), 2, 1),
        (alert(3, group={"id": "al-1", "count": 3, "muted_by": "mu-1"}), 2, 3),
    ]
    for message, activity, status in steps:
        found = finding(message)
        assert (found["activity_id"], found["status_id"]) == (activity, status)
        assert found["finding_info"]["uid"] == "al-1"


@pytest.mark.parametrize(
    ("taken", "action", "disposition"),
    [("revoke", 2, 24), ("suspend", 2, 3), ("alert", 3, 19), ("none", 3, 17)],
)
def test_the_disposition_says_what_was_done(taken: str, action: int, disposition: int) -> None:
    found = finding(
        alert(response={"mode": "enforce", "wanted": taken, "taken": taken, "why": "", "change_id": None})
    )
    assert (found["action_id"], found["disposition_id"]) == (action, disposition)
    assert found["metadata"]["profiles"] == ["security_control"]


def test_a_finding_says_why_and_against_what_baseline() -> None:
    found = finding(alert())
    analysis = found["anomaly_analyses"][0]
    assert analysis["analysis_targets"][0]["name"] == "billing-bot"
    assert analysis["anomalies"][0]["observations"] == [{"value": "evil.example"}]
    assert analysis["baselines"][0]["observations"] == [{"value": "none"}]
    assert (found["time"], found["risk_score"], found["severity_id"]) == (1_795_467_600_000, 50, 5)


@given(HOSTILE)
def test_a_finding_holds_whatever_is_said(text: str) -> None:
    for message in (hostile_alert(text), hostile_change(text)):
        line = msgspec.json.encode(detection_finding(of(message), "0.1.0", DASHBOARD))
        assert b"\n" not in line
        assert not re.search(rb"[\x00-\x1f]", line)
        VALIDATOR.validate(json.loads(line))
    assert_harmless(finding(hostile_alert(text))["message"])


# -- syslog ---------------------------------------------------------------------------------------------------------

MESSAGE = re.compile(
    rb"<(?P<pri>\d{1,3})>1 (?P<ts>\S+) (?P<host>[!-~]{1,255}) killcord - (?P<msgid>[!-~]{1,32}) "
    rb'(?P<sd>\[killcord@32473(?: [a-z]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*\])(?: \xef\xbb\xbf(?P<msg>.+))?',
    re.DOTALL,
)


def parsed(message: bytes) -> tuple[dict[str, bytes], dict[str, str]]:
    """The parts of a message after RFC 5424's grammar, and its structured data."""
    found = MESSAGE.fullmatch(message)
    assert found, message
    data = found["sd"].decode()
    pairs = re.findall(r' ([a-z]+)="((?:[^"\\\]]|\\.)*)"', data)
    return found.groupdict(), {name: re.sub(r"\\(.)", r"\1", value) for name, value in pairs}


def test_a_message_tells_the_facts_and_the_story() -> None:
    parts, data = parsed(syslog_message(of(alert()), "watch-1", MAX_FRAME_BYTES))
    assert (parts["pri"], parts["ts"], parts["host"]) == (b"106", TS.encode(), b"watch-1")
    assert data["agent"] == "billing-bot"
    assert (data["seq"], data["id"], data["taken"], data["human"]) == (
        "7",
        "al-1",
        "revoke",
        "alice@example.com",
    )
    assert parts["msg"].decode().endswith("never used - a new host")


@pytest.mark.parametrize(
    ("severity", "pri"), [("critical", 106), ("high", 107), ("medium", 108), ("low", 109)]
)
def test_the_priority_is_facility_13_and_our_severity(severity: str, pri: int) -> None:
    assert syslog_message(of(alert(severity=severity)), "h", 2048).startswith(f"<{pri}>".encode())


@given(HOSTILE_EVENTS, st.sampled_from([480, MAX_DATAGRAM_BYTES, MAX_FRAME_BYTES]), HOSTILE)
def test_whatever_is_said_a_parser_reads_back_what_was_written(hostile: Event, limit: int, host: str) -> None:
    message = syslog_message(hostile, host, limit)
    assert len(message) <= limit
    parts, data = parsed(message)
    assert data["seq"] == "7"
    assert data["id"] == "al-1"
    for text in [parts["msg"] or b"", parts["sd"]]:
        assert_harmless(text.decode())
    if limit == MAX_FRAME_BYTES and "agent" in data:
        said = plain(hostile.content["agent_id"], 256)
        assert data["agent"] == said or said.startswith(data["agent"].removesuffix("…"))


@given(st.lists(st.sampled_from(CORPUS), max_size=4))
def test_counted_messages_are_found_again_in_a_stream(texts: list[str]) -> None:
    messages = [syslog_message(of(hostile_alert(text)), "h", MAX_FRAME_BYTES) for text in texts]
    stream, found = b"".join(map(counted, messages)), []
    while stream:
        length, _, rest = stream.partition(b" ")
        found.append(rest[: int(length)])
        stream = rest[int(length) :]
    assert found == messages


def test_the_text_is_marked_as_utf8() -> None:
    assert BOM + b"billing-bot" in syslog_message(of(alert()), "h", 2048)
