"""Alerts for tests, and a book with all that it says."""

from __future__ import annotations

from typing import Any

from monitor.alerts.book import Book
from monitor.alerts.mutes import mute_fields
from monitor.core.alerts import Alert, ReasonText, ResponseTaken


def alert(number: int, agent: str = "billing-bot", signal: str = "tool", **fields: Any) -> Alert:
    """An alert `al-NUMBER`; two of them are repeats unless agent, signal or verdict differ."""
    known = {
        "verdict": "anomalous",
        "severity": "high",
        "tool": "send_money",
        "title": f"{agent} never called send_money",
        "session_id": "run-7",
        "on_behalf_of": ("alice@example.com",),
    }
    return Alert(
        id=f"al-{number}",
        ts="2026-11-26T03:00:00.000Z",
        agent_id=agent,
        action_id=f"a-{number}",
        action_seq=number,
        p=1e-6,
        threshold_p=1e-4,
        reasons=(ReasonText(signal, "send_money", "other tools", 1e-6, "it never called send_money"),),
        response=ResponseTaken("alert", "alert", "alert", "over the threshold"),
        **{**known, **fields},
    )


def told(book: Book, now_s: float) -> list[Any]:
    """Everything that a book can be asked for."""
    return [
        *(
            (
                group.fields(book.muted_by(group, now_s)),
                group.history_fields(),
                book.alerts_of(group),
                [other.precedent_fields() for other in book.precedents(group)],
                book.alert_ids(group),
            )
            for group in book.newest_first()
        ),
        [mute_fields(mute) for mute in book.mutes.in_force(now_s)],
        book.dropped_open,
        [group.id for group in book.closed()],
    ]
