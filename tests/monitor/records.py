"""Entries and records for tests: small leaves in the real format, in a real store."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from monitor.record.entry import Entry, entry_of, stamp
from monitor.record.links import links_of
from monitor.record.store import Store

START_S = 1_790_000_000.0


@lru_cache(maxsize=200_000)
def entry(number: int, *, content: bool = True, every_s: float = 1.0) -> Entry:
    """Return the entry of an action: agent, human and session follow from its number."""
    ts_s = START_S + number * every_s
    said = {"salt": f"{number:032x}", "task": f"task {number}"} if content else {}
    data = json.dumps(said).encode() if content else b""
    digest = {"sha256": hashlib.sha256(data).hexdigest(), "fields": ["task"]} if content else None
    fields = {
        "event_id": f"action-{number + 1}",
        "type": "action",
        "timestamp": stamp(ts_s),
        "recorded_at": stamp(ts_s),
        "agent": {"id": f"agent-{number % 7}", "run": f"run-{number // 50}"},
        "on_behalf_of": {"type": "user", "id": f"user-{number % 3}@example.com"},
        "action": {"id": f"a{number}", "tool": ("read", "send")[number % 2]},
        "content": digest,
    }
    made = entry_of(fields, ts_s)
    return Entry(made.leaf, data, links_of(made.leaf), ts_s)


def entries(start: int, end: int) -> list[Entry]:
    """Return the entries with these numbers."""
    return [entry(number) for number in range(start, end)]


def fill(directory: Path, count: int, *, batch: int = 1000) -> None:
    """Append so many entries to the record in a directory, and have what is due sealed."""
    with Store(directory) as store:
        for start in range(store.size, count, batch):
            store.append(entries(start, min(start + batch, count)), {"actions": min(start + batch, count)})
        store.settle(wait=True)
