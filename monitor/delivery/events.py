"""What is delivered: alerts and the changes that people make to them, read from the feed's log. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from monitor.live.filters import Filter
from monitor.live.stored import wire_text
from monitor.log.segments import Frame

DELIVERED: Final = frozenset({"alert", "alert_change"})
_TYPE = re.compile(rb'"type":"(?:alert|alert_change)"')
_MUTED = re.compile(r"(?:^| )state:(?:[a-z\",]*,)?\"?muted\b")


@dataclass(frozen=True, slots=True)
class Group:
    """The group of an alert: what people work on."""

    id: str
    count: int
    state: str
    is_muted: bool


class Event(NamedTuple):
    """One message to deliver.

    `id` is the same however often the message is sent, and no other message's: what receivers know repeats by.
    `text` is the message as the feed sends it, `content` its `alert` or `alert_change`.
    """

    seq: int
    id: str
    type: str
    ts: str
    text: str
    content: Mapping[str, Any]
    group: Group
    message: Mapping[str, Any]


def read_event(frame: Frame) -> Event | None:
    """Return the message of a frame of the feed's log, if it is one that is delivered."""
    if not _TYPE.search(frame.payload):  # most of a log: not worth decoding
        return None
    message = msgspec.json.decode(frame.payload)
    kind = message.get("type")
    return (
        event(frame.first_seq, message, wire_text(frame.first_seq, frame.payload).decode())
        if kind in DELIVERED
        else None
    )


def event(seq: int, message: Mapping[str, Any], text: str) -> Event:
    """Return the event of a message of a type that is delivered."""
    kind = message["type"]
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    content = message[kind]
    return Event(seq, f"msg_{digest}", kind, message["ts"], text, content, _group(message, content), message)


def is_wanted(event: Event, wanted: Filter) -> bool:
    """Return whether a filter lets the event pass; what is muted passes only one that asks for it."""
    if event.group.is_muted and not _MUTED.search(wanted.text):
        return False
    return wanted.matches(event.message)


def _group(message: Mapping[str, Any], content: Mapping[str, Any]) -> Group:
    """Return the group that the message tells of; an alert that tells of none is the first of its own."""
    group = message.get("group") or {}
    return Group(
        str(group.get("id") or content["id"]),
        int(group.get("count") or 1),
        str(group.get("state") or content.get("state") or "open"),
        bool(group.get("muted_by")),
    )
