"""PagerDuty Events API v2: an alert triggers, its acknowledgement acknowledges, its closing resolves.

Every message of a group has the same `dedup_key`, so repeats join their incident, and it closes when the group does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from monitor.delivery.events import Event
from monitor.delivery.http_edge import HttpSender
from monitor.delivery.summary import facts, headline, link, sentences
from monitor.delivery.texts import plain
from monitor.errors import ConfigError

URL: Final = "https://events.pagerduty.com/v2/enqueue"
KEY_CHARS: Final = 32
# PagerDuty's limits, in characters; a payload may have 512 KiB, which these bounds keep far away.
MAX_SUMMARY, MAX_DEDUP_KEY, MAX_FIELD, MAX_DETAIL, MAX_SENTENCES = 1024, 255, 255, 1000, 20

_SEVERITIES: Final = {"critical": "critical", "high": "error", "medium": "warning", "low": "info"}
_ENDS: Final = {"acknowledge": "acknowledge", "close": "resolve"}


class PagerDutySink:
    """Sends one event at a time, in order: an incident may not be resolved before it is triggered."""

    batch: Final = 1
    attempts: Final = None

    def __init__(self, sender: HttpSender, routing_key: str, dashboard_url: str) -> None:
        self._sender = sender
        self._routing_key = routing_key
        self._dashboard_url = dashboard_url

    def is_for(self, event: Event, is_wanted: bool) -> bool:
        """Return whether the event is sent: what the filter wants, and whatever ends an incident.

        A filter may know an alert by what its closing does not have; and to resolve what never was does nothing.
        """
        return is_wanted or event.content.get("change") in _ENDS

    def form(self, event: Event) -> dict[str, Any] | None:
        """Return the event for PagerDuty."""
        return pagerduty_event(event, self._dashboard_url)

    async def send(self, forms: Sequence[Mapping[str, Any]]) -> None:
        """Send each of them."""
        for form in forms:
            body = msgspec.json.encode({"routing_key": self._routing_key, **form})
            await self._sender.post(body, {"Content-Type": "application/json"})

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()


def pagerduty_event(event: Event, dashboard_url: str) -> dict[str, Any] | None:
    """Return the event without its routing key; None for what changes no incident: an assignee, a comment."""
    change = event.content.get("change")
    if change in _ENDS:
        return {"event_action": _ENDS[change], "dedup_key": dedup_key(event)}
    if change is not None and change != "reopen":
        return None
    content, address = event.content, link(event, dashboard_url)
    form = {
        "event_action": "trigger",
        "dedup_key": dedup_key(event),
        "client": "killcord",
        "payload": {
            "summary": plain(headline(event), MAX_SUMMARY),
            "severity": _SEVERITIES.get(str(content.get("severity")), "error"),
            "source": plain(content["agent_id"], MAX_FIELD) or "unknown",
            "component": plain(content.get("tool") or "", MAX_FIELD),
            "class": plain(content.get("verdict") or "", MAX_FIELD),
            "timestamp": event.ts,
            "custom_details": _details(event),
        },
    }
    return (
        {**form, "client_url": address, "links": [{"href": address, "text": "Open in Killcord"}]}
        if address
        else form
    )


def dedup_key(event: Event) -> str:
    """Return what the messages of a group have in common."""
    key = f"killcord:{plain(event.group.id, 1000)}"
    return (
        key
        if len(key) <= MAX_DEDUP_KEY
        else f"killcord:{hashlib.sha256(event.group.id.encode()).hexdigest()}"
    )


def read_routing_key(secret: str, field: str) -> str:
    """Return the routing key; raises `ConfigError` about `field` if it is none."""
    if len(secret) != KEY_CHARS or not (secret.isascii() and secret.isalnum()):
        raise ConfigError(field, f"a routing key has {KEY_CHARS} letters and digits")
    return secret


def _details(event: Event) -> dict[str, Any]:
    content = event.content
    found: dict[str, Any] = {
        name.lower().replace(" ", "_"): plain(value, MAX_DETAIL) for name, value in facts(event)
    }
    found |= {name: content[name] for name in ("p", "threshold_p") if content.get(name) is not None}
    why = [plain(sentence, MAX_DETAIL) for sentence in sentences(event)[:MAX_SENTENCES]]
    return {**found, "why": why, "count": event.group.count, "message": event.seq}
