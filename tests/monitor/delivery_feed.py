"""A real feed with deliveries over it, for tests; and the messages that are delivered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from monitor.delivery.backoff import Backoff
from monitor.delivery.deliveries import Deliveries, open_routes
from monitor.delivery.routes import Delivery, RouteConfig
from monitor.delivery.sinks import open_sinks
from monitor.live.feed import Feed
from monitor.log.segments import SegmentedLog

TS = "2026-11-23T21:00:00.000Z"
KEY = "whsec_" + "c2VjcmV0IGtleSBvZiB0aGlydHktdHdvIGJ5dGVzIQ=="
PACE = Backoff(0.005, 0.02)


def alert(number: int = 1, **fields: Any) -> dict[str, Any]:
    """The message of an alert; `group` and the alert's fields may be given."""
    group = fields.pop("group", {})
    own_id = f"al-{number}"
    content = {
        "id": own_id,
        "ts": TS,
        "agent_id": "billing-bot",
        "session_id": "s-1",
        "tool": "http_post",
        "action_id": f"a-{number}",
        "action_seq": number,
        "verdict": "anomalous",
        "severity": "critical",
        "p": 1e-5,
        "threshold_p": 1e-3,
        "title": "sends what it read to a host it never used",
        "reasons": [
            {
                "signal": "novelty",
                "observed": "evil.example",
                "expected": "none",
                "p": 1e-5,
                "sentence": "a new host",
            }
        ],
        "response": {
            "mode": "enforce",
            "wanted": "revoke",
            "taken": "revoke",
            "why": "strange",
            "change_id": "c-1",
        },
        "on_behalf_of": ["alice@example.com"],
        "credential": None,
        "policy": None,
        **fields,
    }
    of = {"id": content["id"], "count": 1, "state": "open", "muted_by": None, **group}
    return {"type": "alert", "ts": TS, "alert": content, "group": of}


def change(kind: str, state: str, number: int = 1, **fields: Any) -> dict[str, Any]:
    """The message of a change that somebody made to an alert."""
    content = {
        "id": f"al-{number}",
        "change": kind,
        "state": state,
        "by": "alice",
        "at": TS,
        "assignee": None,
        "reason": None,
        "comment": None,
        "agent_id": "billing-bot",
        "tool": "http_post",
        "severity": "critical",
        "verdict": "anomalous",
        "title": "sends what it read to a host it never used",
        "on_behalf_of": ["alice@example.com"],
        "session_id": "s-1",
        **fields,
    }
    return {"type": "alert_change", "ts": TS, "alert_change": content}


def transition() -> dict[str, Any]:
    """A message that is never delivered."""
    return {"type": "transition", "ts": TS, "transition": {"epoch": 1, "target": "agent:billing-bot"}}


def private(directory: Path, text: str, name: str = "secret") -> str:
    """A file that only its owner may read."""
    file = directory / name
    file.touch(0o600)
    file.write_text(text)
    return str(file)


@contextlib.asynccontextmanager
async def delivering(
    state: Path, *routes: RouteConfig, segment_bytes: int = 1 << 20
) -> AsyncIterator[tuple[Feed, Deliveries]]:
    """A feed over the state's log and the routes over it, until the end of the block."""
    log = SegmentedLog(state / "feed", segment_bytes=segment_bytes)
    config = Delivery(routes=routes)
    try:
        async with Feed(log, recent=10, client_buffer=10) as feed:
            found = open_routes(config, open_sinks(config), feed, log.directory, state / "delivery", PACE)
            async with Deliveries(found) as deliveries:
                yield feed, deliveries
                await asyncio.sleep(0)
    finally:
        log.close()
