"""Keeps the Kafka client from filling the log: while a broker is away it repeats itself forty times a second."""

from __future__ import annotations

import logging

REPEAT_S = 10.0
MAX_KNOWN = 1000
_CHATTY = ("aiokafka", "faust", "mode")


class CalmLog(logging.Filter):
    """Lets each message of the Kafka client and of Faust pass once in `REPEAT_S` seconds, all others always.

    A message is known by its logger and its text before the arguments are filled in.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed_at_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be logged; its own time is the clock."""
        if record.name.partition(".")[0] not in _CHATTY:
            return True
        key = (record.name, str(record.msg))
        passed_at_s = self._passed_at_s.get(key)
        if passed_at_s is not None and 0 <= record.created - passed_at_s < REPEAT_S:
            return False
        if len(self._passed_at_s) >= MAX_KNOWN:  # some texts are formatted before they come here
            self._passed_at_s.clear()
        self._passed_at_s[key] = record.created
        return True


def calm_the_log() -> None:
    """Put the filter before every handler of the root logger; Faust says only what goes wrong."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(CalmLog())
    for name in ("faust", "mode"):
        logging.getLogger(name).setLevel(logging.WARNING)
