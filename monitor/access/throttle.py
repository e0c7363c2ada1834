"""Slows down whoever presents wrong tokens, without ever getting in the way of those who present right ones. Pure.

Failures are counted by client address (an IPv6 network of 64 bits counts as one: its owner has all of it). After a few
free ones each failure doubles the time for which that address is refused unheard. A token that has worked from an
address is judged by its own failures there, so neither a forgotten sensor with an old token nor an attacker behind
the same proxy keeps an on-call engineer out. Nothing that is counted in one place delays anybody elsewhere: of all
addresses together only the number is kept, for the metrics.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final, NamedTuple

FREE_FAILURES: Final = 5
FIRST_DELAY_S: Final = 1.0
MAX_DELAY_S: Final = 60.0
FORGET_AFTER_S: Final = 900.0
MAX_TRACKED: Final = 10_000
"""Security limit: addresses in memory, each. Beyond it the one that failed longest ago is forgotten."""

_Key = tuple[str, str]


class _Failures(NamedTuple):
    number: int
    last_s: float
    until_s: float


class Throttle:
    """Counts failures; every method takes O(1) time. `now_s` is a clock that does not jump."""

    def __init__(self, *, max_tracked: int = MAX_TRACKED) -> None:
        self._max = max_tracked
        self._failures: OrderedDict[_Key, _Failures] = OrderedDict()
        self._worked: OrderedDict[_Key, None] = OrderedDict()
        self.failures = 0
        """How many there were in all."""
        self.turned_away = 0
        """How many attempts were refused unheard."""

    def wait_s(self, address: str, token_id: str, now_s: float) -> float:
        """Return for how long nothing from this address is heard; 0 if it may try."""
        found = self._failures.get(self._key(address, token_id))
        left_s = found.until_s - now_s if found else 0.0
        if left_s <= 0:
            return 0.0
        self.turned_away += 1
        return left_s

    def failed(self, address: str, token_id: str, now_s: float) -> None:
        """Take note of a wrong token."""
        self.failures += 1
        key = self._key(address, token_id)
        before = self._failures.pop(key, None)
        count = before.number + 1 if before and now_s - before.last_s < FORGET_AFTER_S else 1
        self._failures[key] = _Failures(count, now_s, now_s + delay_s(count))
        if len(self._failures) > self._max:
            self._failures.popitem(last=False)

    def worked(self, address: str, token_id: str) -> None:
        """Take note of a right token: from now on its own failures alone count against it there."""
        key = (network(address), token_id)
        self._failures.pop(key, None)
        self._worked[key] = None
        self._worked.move_to_end(key)
        if len(self._worked) > self._max:
            self._worked.popitem(last=False)

    @property
    def tracked(self) -> int:
        """How many addresses are in memory."""
        return len(self._failures)

    def _key(self, address: str, token_id: str) -> _Key:
        key = (network(address), token_id)
        return key if token_id and key in self._worked else (key[0], "")


def delay_s(failures: int) -> float:
    """Return how long an address waits after so many failures in a row.

    >>> [delay_s(count) for count in (5, 6, 7, 8, 100)]
    [0.0, 1.0, 2.0, 4.0, 60.0]
    """
    beyond = failures - FREE_FAILURES
    return 0.0 if beyond <= 0 else min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(beyond - 1, 30))


def network(address: str) -> str:
    """Return what is counted as one address.

    >>> network("2001:db8::1") == network("2001:db8::2"), network("10.0.0.1") == network("10.0.0.2")
    (True, False)
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class Budget:
    """How often something may be written down: a few at once for each key, a steady trickle, and a limit for all.

    What an attacker can cause as often as they like must not fill a disk; what is left out is counted.
    """

    def __init__(self, *, per_key: int, in_all: int, refill_s: float, max_keys: int = 1_000) -> None:
        self._per_key = per_key
        self._in_all = in_all
        self._refill_s = refill_s
        self._max_keys = max_keys
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._spent_in_all = (0.0, 0.0)
        self.left_out = 0

    def take(self, key: str, now_s: float) -> bool:
        """Return whether one more may be written now; counts it either way."""
        spent = self._after(self._spent.get(key, (0.0, now_s)), now_s)
        total = self._after(self._spent_in_all, now_s)
        is_within = spent + 1 <= self._per_key and total + 1 <= self._in_all
        if is_within:
            self._spent[key] = (spent + 1, now_s)
            self._spent.move_to_end(key)
            self._spent_in_all = (total + 1, now_s)
            if len(self._spent) > self._max_keys:
                self._spent.popitem(last=False)
        else:
            self.left_out += 1
        return is_within

    def take_left_out(self) -> int:
        """Return how many were left out since this was last asked."""
        left_out, self.left_out = self.left_out, 0
        return left_out

    def _after(self, spent: tuple[float, float], now_s: float) -> float:
        count, at_s = spent
        return max(0.0, count - max(0.0, now_s - at_s) / self._refill_s)
