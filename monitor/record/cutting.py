"""What would be too long is cut to fit: first what nobody looks anything up by, then the rest. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import msgspec

_FREE: Final = frozenset(
    {"args", "provenance", "reasons", "detail", "failing", "extra", "task", "result_text"}
)
"""Fields whose size others choose, and that no link follows from: the first to be cut."""

_WHOLE: Final = frozenset({"v", "event_id", "type", "timestamp", "recorded_at", "content", "salt"})
_ROUNDS: Final = ((2048, 256), (1024, 64), (512, 32), (512, 8), (256, 8), (128, 4), (32, 1))
"""Characters a text, items a list or table: until it fits. The last round of all fits whatever there was."""

_MAX_DEPTH: Final = 4
"""What is nested deeper is gone."""

_MAX_FIELDS: Final = 40
"""More than any form has."""

_encode = msgspec.json.Encoder().encode


def fitted(fields: Mapping[str, Any], max_bytes: int) -> bytes:
    """Return the fields as JSON of at most `max_bytes` bytes (2,048 at least), marked as cut.

    Names of 512 characters, the longest that the kill switch takes, are only cut where nothing else is left to cut.
    """
    data = b""
    for wanted in (_FREE, None):
        for chars, items in _ROUNDS:
            data = _encode({**_cut_fields(fields, chars, items, wanted), "cut": True})
            if len(data) <= max_bytes:
                return data
    raise AssertionError(
        f"{len(data)} bytes are left of an entry"
    )  # it has more fields than any form gives it


def _cut_fields(fields: Mapping[str, Any], chars: int, items: int, wanted: frozenset[str] | None) -> Any:
    """Return the fields with those that are `wanted` (None: all but `_WHOLE`) cut, however deep they are."""
    return {
        name: value if name in _WHOLE else _cut_field(name, value, chars, items, wanted)
        for name, value in islice(fields.items(), _MAX_FIELDS)
    }


def _cut_field(name: str, value: Any, chars: int, items: int, wanted: frozenset[str] | None) -> Any:
    if name in _FREE or (wanted is None and not isinstance(value, dict)):
        return _cut(value, chars, items, _MAX_DEPTH)
    return _cut_fields(value, chars, items, wanted) if isinstance(value, dict) else value


def _cut(value: Any, chars: int, items: int, depth: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= chars else value[: chars - 1] + "…"
    if not isinstance(value, dict | list | tuple):
        return value
    if depth == 0:
        return "…"
    if isinstance(value, dict):
        return {
            _cut(str(name), chars, items, 0): _cut(item, chars, items, depth - 1)
            for name, item in islice(value.items(), items)
        }
    return [_cut(item, chars, items, depth - 1) for item in islice(value, items)]
