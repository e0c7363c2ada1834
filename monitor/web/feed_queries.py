"""What a reader of the feed may ask for in the query string, and what is wrong with it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from monitor.errors import FilterError
from monitor.live.filters import Filter, parse_filter
from monitor.web.responses import Problem


def sequence(query: Mapping[str, str], name: str) -> int | None:
    """Return the number of a message that the query names, None if it names none; refuses what is no number."""
    text = query.get(name)
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,18}", text):
        raise Problem(422, f"{name} is the number of a message", name)
    return int(text)


def wanted(query: Mapping[str, str]) -> Filter:
    """Return the query's filter; refuses one that cannot be read, in the words of the language."""
    try:
        return parse_filter(query.get("filter", ""))
    except FilterError as error:
        raise Problem(422, str(error), "filter") from error


def flag(query: Mapping[str, str], name: str) -> bool:
    """Return whether the query sets the flag; refuses what is neither 0 nor 1."""
    text = query.get(name, "0")
    if text not in ("0", "1"):
        raise Problem(422, f"{name} is 0 or 1", name)
    return text == "1"
