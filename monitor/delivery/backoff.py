"""How long to wait before the next attempt. Pure: the random number is an argument."""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_RETRY_AFTER_S: Final = 600.0
"""Security limit: a receiver may not silence a route for longer with one answer."""


class Backoff(NamedTuple):
    """Waits that double from `first_s` to `most_s`, each shortened at random by up to a half.

    The randomness keeps many daemons from coming back to a receiver at the same moment.
    """

    first_s: float = 0.5
    most_s: float = 60.0

    def wait_s(self, failures: int, chance: float, retry_after_s: float = 0.0) -> float:
        """Return the wait after so many failures in a row (1 or more); `chance` is in [0, 1).

        What the receiver asked for is waited for in any case, up to `MAX_RETRY_AFTER_S`.
        """
        longest_s = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return max(longest_s * (1.0 - chance / 2.0), min(retry_after_s, MAX_RETRY_AFTER_S))
