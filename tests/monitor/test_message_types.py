"""The feed's messages as types: what the daemon sends is what they say, and what the schema says."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest

from killswitch import Change, Target
from monitor.core.alerts import switch_alert
from monitor.live.message_types import (
    AlertChange,
    AlertMessage,
    GroupRef,
    MuteChange,
    decode_message,
    feed_schema,
)
from monitor.live.messages import alert_change_message, alert_message, mute_message, transition_message

SCHEMA = jsonschema.Draft202012Validator(feed_schema())
ALERT = switch_alert("store_forged", "al-1", 1.0, title="forged", expected="ours", why="look", about="x")


def as_sent(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"seq": 7, **message})


def published() -> list[dict[str, Any]]:
    change = AlertChange(
        id="al-1",
        change="close",
        state="closed",
        by="ann",
        at=1.0,
        reason="benign",
        agent_id="x",
        tool="t",
        severity="low",
        verdict="drift",
        title="odd",
    )
    mute = MuteChange(
        id="mu-1", agent_id="x", signal="s", reason="r", by="ann", at=1.0, until=2.0, change="set"
    )
    return [
        alert_message(ALERT),
        alert_message(ALERT, GroupRef(id="al-0", count=3, state="acknowledged", muted_by="mu-1")),
        alert_change_message(change),
        mute_message(mute),
        transition_message(Change(1, "c", "restore", Target("fleet"), None, None, "r", "by", 0.0)),
    ]


@pytest.mark.parametrize("message", published(), ids=lambda message: str(message["type"]))
def test_what_is_published_can_be_read_and_loses_nothing(message: dict[str, Any]) -> None:
    text = as_sent(message)
    SCHEMA.validate(json.loads(text))
    assert json.loads(msgspec.json.encode(decode_message(text))) == json.loads(text)


def test_the_schema_is_one_and_refuses_what_is_none_of_them() -> None:
    jsonschema.Draft202012Validator.check_schema(feed_schema())
    for wrong in ({}, {"seq": 1, "type": "alert", "ts": "x"}, {"seq": 1, "type": "gossip", "ts": "x"}):
        assert not SCHEMA.is_valid(wrong)


def test_an_alert_of_a_daemon_that_knew_no_groups_can_be_read() -> None:
    message = alert_message(ALERT)
    del message["group"]
    found = decode_message(as_sent(message))
    assert isinstance(found, AlertMessage)
    assert found.group is None
