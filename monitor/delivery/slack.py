"""Slack incoming webhooks: an alert as blocks, with a link to the dashboard; nothing is killed from a chat.

All that comes from elsewhere stands in `plain_text` objects, where Slack reads neither mentions nor markup, and escaped
besides. The one text that Slack does read, the fallback for notifications, is defused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from monitor.delivery.events import Event
from monitor.delivery.http_edge import HttpSender
from monitor.delivery.summary import MILESTONES, facts, headline, link, sentences
from monitor.delivery.texts import cut_escaped, defused, slack_escaped

# Slack's limits, in characters after escaping.
MAX_HEADER, MAX_TEXT, MAX_FIELDS, MAX_FIELD, MAX_URL = 150, 3000, 10, 2000, 3000
MAX_FALLBACK, MAX_SENTENCES, MAX_FIELD_SHOWN = 300, 5, 300
CHANGES: Final = frozenset({"acknowledge", "close", "reopen"})


class SlackSink:
    """Posts to an incoming webhook, whose address is its secret."""

    batch: Final = 1
    attempts: Final = None

    def __init__(self, sender: HttpSender, dashboard_url: str) -> None:
        self._sender = sender
        self._dashboard_url = dashboard_url

    def is_for(self, event: Event, is_wanted: bool) -> bool:
        """Return whether the event is sent: not each repeat of a group, and not what people write to each other."""
        return is_wanted and is_for_chat(event)

    def form(self, event: Event) -> dict[str, Any]:
        """Return the event for Slack."""
        return slack_message(event, self._dashboard_url)

    async def send(self, forms: Sequence[Mapping[str, Any]]) -> None:
        """Post each of them."""
        for form in forms:
            await self._sender.post(msgspec.json.encode(form), {"Content-Type": "application/json"})

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()


def is_for_chat(event: Event) -> bool:
    """Return whether a chat hears of the event: the first of a group, its 10th, 100th, 1000th, and changes of state."""
    if event.type == "alert":
        return event.group.count in MILESTONES
    return event.content.get("change") in CHANGES


def slack_message(event: Event, dashboard_url: str) -> dict[str, Any]:
    """Return the webhook's body."""
    title = f"{str(event.content.get('severity')).upper()} {headline(event)}"
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain_text(slack_escaped(title, MAX_HEADER))}]
    if event.type == "alert":
        why = "\n".join(f"• {slack_escaped(sentence, 500)}" for sentence in sentences(event)[:MAX_SENTENCES])
        blocks += [_section(text=_plain_text(cut_escaped(why, MAX_TEXT)))] if why else []
        blocks.append(_section(fields=[_field(*fact) for fact in facts(event)[:MAX_FIELDS]]))
    elif event.content.get("comment"):
        blocks.append(_section(text=_plain_text(slack_escaped(event.content["comment"], MAX_TEXT))))
    address = link(event, dashboard_url)
    if address and len(address) <= MAX_URL:
        button = {"type": "button", "text": _plain_text("Open in Killcord"), "url": address}
        blocks.append({"type": "actions", "elements": [button]})
    return {
        "text": defused(title, MAX_FALLBACK),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _section(**content: Any) -> dict[str, Any]:
    return {"type": "section", **content}


def _field(name: str, value: str) -> dict[str, Any]:
    return _plain_text(f"{name}: {slack_escaped(value, MAX_FIELD_SHOWN)}")


def _plain_text(escaped: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": escaped, "emoji": False}
