"""Room in a table that is full. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def forget_silent(table: dict[_Key, _Value], last_s: Callable[[_Value], float]) -> list[_Value]:
    """Take the 1/64 that was silent longest out of a table and return it.

    One pass for many: a flood of invented names must stay cheap.
    """
    leaving = heapq.nsmallest(max(1, len(table) // 64), table, key=lambda key: last_s(table[key]))
    return [table.pop(key) for key in leaving]
