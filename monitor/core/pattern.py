"""Patterns in which ``*`` stands for any characters: of filters, and of names that owners declare."""

from __future__ import annotations

import functools
from collections.abc import Callable


@functools.lru_cache(maxsize=4096)
def glob(pattern: str) -> Callable[[str], bool]:
    """Return the test for a pattern; it takes linear time, unlike a regex. Nothing but ``*`` is special.

    Examples
    --------
    >>> glob("*@example.com")("alice@example.com")
    True
    """
    if "*" not in pattern:
        return pattern.__eq__
    first, *middle, last = pattern.split("*")

    def passes(text: str) -> bool:
        if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
            return False
        at, end = len(first), len(text) - len(last)
        for part in middle:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    return passes
