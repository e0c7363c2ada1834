"""What an engine promises, and what it asks of whoever sees to its outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from monitor.core.pipeline import RevocationRequest


class Receipt(NamedTuple):
    """What became of a batch: both kinds are durable when it is given."""

    accepted: int
    duplicates: int


class Recovery(NamedTuple):
    """What was found on disk at start, for the log and the tests."""

    from_checkpoint: int
    replayed: int
    note: str
    torn_bytes: int


class Effects(Protocol):
    """Where the outcomes go."""

    def request(self, request: RevocationRequest) -> None:
        """Have the revocation written; never waits, never loses it, applies each `change_id` once."""

    def pending(self) -> list[RevocationRequest]:
        """Return the requests that are not written yet."""

    def scored(self, first_seq: int, p: Sequence[float], evidence: Sequence[float]) -> None:
        """Take in the scores of the actions from `first_seq` on; on replay they come again."""

    def applied(self, seq: int) -> None:
        """Take note that everything in the log up to `seq` was applied."""

    def recorded(self) -> int:
        """Return the number in the log up to which nobody needs it any more but recovery."""

    async def publish(self, messages: list[dict[str, Any]]) -> None:
        """Return when the feed messages are durable and on their way."""


class Shown(NamedTuple):
    """What the feed already holds: ids of alerts and of their kills, and the last epoch whose transition was shown."""

    alert_ids: frozenset[str]
    change_ids: frozenset[str]
    epoch: int
