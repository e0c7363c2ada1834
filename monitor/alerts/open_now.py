"""What is open now, for those who begin to read the feed."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice

import msgspec

from monitor.alerts.book import Book
from monitor.alerts.mutes import mute_fields
from monitor.live.message_types import AlertGroup, Mute


class OpenNow:
    """The book as the feed's snapshot shows it; never behind the feed's `last_seq`, never ahead of the disk."""

    def __init__(self, book: Book, now_s: Callable[[], float] = time.time) -> None:
        self._book = book
        self._now_s = now_s

    def open_groups(self, limit: int) -> list[AlertGroup]:
        """Return the newest groups that are not closed, newest first."""
        now_s = self._now_s()
        groups = (group for group in self._book.newest_first() if not group.is_closed)
        return [
            msgspec.convert(group.fields(self._book.muted_by(group, now_s)), AlertGroup)
            for group in islice(groups, limit)
        ]

    def mutes(self) -> list[Mute]:
        """Return the mutes in force, the newest first."""
        return [msgspec.convert(mute_fields(mute), Mute) for mute in self._book.mutes.in_force(self._now_s())]
