"""Questions on the terminal before something that is hard to take back, and words from elsewhere made safe to show."""

from __future__ import annotations

import sys
from datetime import UTC, datetime


def has_terminal() -> bool:
    """Return whether there is somebody to ask."""
    return sys.stdin.isatty()


def ask(question: str) -> str:
    """Return the answer in one line, empty if there is none."""
    print(question, end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def shown(text: str) -> str:
    """Return `text` in one line without what could move the cursor, change colours or turn the direction of writing.

    People decide upon words that anybody who may write to the store has chosen.
    """
    return "".join(character if character.isprintable() else "·" for character in text)


def clock_time(at_s: float) -> str:
    """Return the moment (seconds since 1970) in UTC, to the second."""
    return datetime.fromtimestamp(min(at_s, 253_402_300_799.0), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
