"""What was reported of one call: that it was refused, and that it was done all the same. Pure and bounded.

An enforcement point and the agent's sensor tell of the same call, in either order, and from two clocks. A call that was
refused may be made again once a point allows it; who then does it says so (`decision = "allowed"`).
"""

from __future__ import annotations

from typing import Any, Final

from monitor.intake.observation import Observation

MAX_CALLS: Final = 10_000
"""Security limit: refused calls, and done ones, that are remembered; the oldest half gives way."""
CLOCKS_S: Final = 5.0
"""So much may the clocks of two reporters differ; ours. What was done longer before it was refused broke nothing."""


class CallReports:
    """The latest calls that were refused and, of those with a `call_id`, that were done without a word of a point.

    Nothing is remembered until a point's decision is heard of for the first time (`are_decided`).
    """

    def __init__(self) -> None:
        self.are_decided = False
        self._refused = _Calls()
        self._done = _Calls()

    def note(self, action: Observation) -> bool:
        """Return whether the action's call is known now to have been refused and done; O(1), about 0.5 µs.

        A call is one of an agent in a session. Its name is the `call_id`, or the `id` of an action without one.
        """
        result, decision = action.result, action.decision
        is_done = result is not None and result.ok is True
        if decision is not None:
            self.are_decided = True
        elif not (is_done and self.are_decided):
            return False
        # No agent's and no session's name holds a control character.
        key = f"{action.agent_id}\n{action.session_id or ''}\n{action.call_id or action.id}"
        if decision == "refused":
            self._refused.remember(key, action.ts_s)
            done_s = action.ts_s if is_done else self._done.get(key)
            return done_s is not None and done_s >= action.ts_s - CLOCKS_S
        if decision == "allowed":
            self._refused.forget(key)
        elif is_done:
            if action.call_id is not None:
                self._done.remember(key, action.ts_s)
            refused_s = self._refused.get(key)
            return refused_s is not None and action.ts_s >= refused_s - CLOCKS_S
        return False

    def dump(self) -> list[Any]:
        """Return plain values for a checkpoint."""
        return [self.are_decided, self._refused.dump(), self._done.dump()]

    def restore(self, dumped: list[Any]) -> None:
        """Take up what `dump` returned."""
        self.are_decided, refused, done = dumped
        self._refused.restore(refused)
        self._done.restore(done)


class _Calls:
    """When calls were reported. Two halves, of which the older one goes when the newer one is full: cheap to bound."""

    def __init__(self) -> None:
        self._new: dict[str, float] = {}
        self._old: dict[str, float] = {}

    def get(self, key: str) -> float | None:
        at_s = self._new.get(key)
        return self._old.get(key) if at_s is None else at_s

    def remember(self, key: str, at_s: float) -> None:
        self._new[key] = at_s
        if len(self._new) >= MAX_CALLS // 2:
            self._old, self._new = self._new, {}

    def forget(self, key: str) -> None:
        self._new.pop(key, None)
        self._old.pop(key, None)

    def dump(self) -> list[dict[str, float]]:
        return [dict(self._new), dict(self._old)]

    def restore(self, dumped: list[dict[str, float]]) -> None:
        self._new, self._old = map(dict, dumped)
