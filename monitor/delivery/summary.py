"""What every form says of an event, in the same words: who, what, how bad, what was done. Pure, and not yet harmless.

Texts in it may be hostile: each form makes them harmless in its own way.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from monitor.delivery.events import Event

_DONE: Final = {"revoke": "revoked", "suspend": "suspended"}
_CHANGED: Final = {
    "acknowledge": "acknowledged",
    "assign": "assigned",
    "comment": "commented on",
    "close": "closed",
    "reopen": "reopened",
}
MILESTONES: Final = frozenset({1, 10, 100, 1000})
"""Counts of a group at which a chat hears of it: people are told once, then that it goes on and on."""


def headline(event: Event) -> str:
    """Return the event in a line."""
    content = event.content
    agent, title = content["agent_id"], content["title"]
    if event.type == "alert":
        repeats = f" ({event.group.count} times)" if event.group.count > 1 else ""
        return f"{agent} {done(event)}: {title}{repeats}"
    reason = f" as {content['reason']}" if content.get("reason") else ""
    return f"{agent}: {title}: {_CHANGED.get(content['change'], content['change'])}{reason} by {content.get('by')}"


def done(event: Event) -> str:
    """Return what was done to the agent, in a word or two."""
    taken = (event.content.get("response") or {}).get("taken")
    return _DONE.get(str(taken), "goes on")


def facts(event: Event) -> list[tuple[str, str]]:
    """Return what people ask for first, as names and values; nothing that is not known."""
    content: dict[str, Any] = dict(event.content)
    found = [
        ("Agent", content["agent_id"]),
        ("Tool", content.get("tool")),
        ("Severity", content.get("severity")),
        ("On behalf of", ", ".join(map(str, content.get("on_behalf_of") or ()))),
        ("Session", content.get("session_id")),
        ("Response", (content.get("response") or {}).get("why")),
        ("Comment", content.get("comment")),
        ("Assignee", content.get("assignee")),
    ]
    return [(name, str(value)) for name, value in found if value]


def sentences(event: Event) -> list[str]:
    """Return why, a sentence for each signal that spoke."""
    return [str(reason.get("sentence", "")) for reason in event.content.get("reasons") or ()]


def link(event: Event, dashboard_url: str) -> str:
    """Return the address of the event's group in the dashboard, "" if none is configured."""
    return f"{dashboard_url.rstrip('/')}/#/alerts/{quote(event.group.id, safe='')}" if dashboard_url else ""
