"""Keeps the book: takes up each message of the feed's log, and says what the book could not keep."""

from __future__ import annotations

import logging

from monitor.alerts.book import Book
from monitor.alerts.logged import Logged, decode_logged

log = logging.getLogger("killcord.alerts")


class Keeper:
    """The only one who writes into the book: at start from the log on disk, then as messages become durable."""

    def __init__(self, book: Book) -> None:
        self.book = book

    def note(self, seq: int, payload: bytes) -> Logged | None:
        """Take up a message; None if it cannot be read. Raises nothing: a defect here must not stop the feed."""
        try:
            message = decode_logged(payload)
            dropped = self.book.apply(seq, message)
        except Exception:  # whatever is in one message, the others must be read, and the daemon start
            log.exception(
                "message %d of the feed's log cannot be taken up, so the alerts' book lacks it", seq
            )
            return None
        for group in dropped:
            log.warning(
                "alert %s of %s is dropped though nobody closed it; its last came at %s. See [alerts] in the "
                "configuration",
                group.id,
                group.agent_id,
                group.last_ts,
            )
        return message
