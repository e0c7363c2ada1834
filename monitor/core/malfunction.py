"""Agents that do not work: the same call over and over, one error after the other. Pure and bounded.

No attack looks like that and no kill follows from it, but somebody has to know: a loop costs money and hides what else
happens. How fast an agent acts is the models' to say (`detectors.runaway`).

Some agents repeat one call because that is their work: they watch a mailbox or a queue, and wait between two looks.
Their owners are told on three days. From then on a run of that very call must be twice as long as on each of those
days. One bad day excuses nothing, no habit excuses another call, and nothing excuses who does not wait: an agent that
is stuck may be so every day.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any, NamedTuple

from monitor.intake.observation import Observation

MAX_SESSIONS = 10_000
"""Security limit: sessions that are followed; the one silent longest gives way."""
MAX_REPEATED = 10_000
"""Security limit: calls whose long runs are remembered, of all agents; the one that had none for longest gives way."""
HABIT_DAYS = 3
"""A long run is a habit once an agent had one of that call on so many days; ours."""
WAIT_S = 30.0
"""Who lets so much time pass between identical calls, on the average of the run, waits; ours. A stuck agent takes as
long as its model and the tool do: seconds."""
FORGET_S = 7 * 86_400.0
"""A week without a long run ends the habit; ours. So long, because some agents rest on some days."""
_DAY_S = 86_400.0


class Finding(NamedTuple):
    """What does not work: `kind` is ``loop`` or ``errors``, the rest is for people."""

    kind: str
    times: int
    sentence: str


class _Run(NamedTuple):
    call: bytes = b""
    calls: int = 0
    errors: int = 0
    began_s: float = 0.0  # with the first of the identical calls

    def waits(self, ts_s: float) -> bool:
        """Return whether the agent waits between the calls of the run, the last of which is at `ts_s`."""
        return self.calls > 1 and ts_s - self.began_s >= WAIT_S * (self.calls - 1)


class _Days(NamedTuple):
    """An agent's longest run of one call on the latest days that had a long one, the present day last."""

    began_s: float = -math.inf
    longest: tuple[int, ...] = ()

    def after(self, ts_s: float, calls: int) -> _Days:
        """Return the days with one more long run, of `calls` so far."""
        if ts_s < self.began_s + _DAY_S:
            return _Days(self.began_s, (*self.longest[:-1], max(calls, self.longest[-1])))
        kept = self.longest[-HABIT_DAYS:] if ts_s < self.began_s + FORGET_S else ()
        return _Days(ts_s, (*kept, calls))

    @property
    def habit(self) -> int:
        """How long a run it had on each of the days before the present one; 0 while those are too few."""
        before = self.longest[:-1]
        return min(before) if len(before) == HABIT_DAYS else 0


class Malfunctions:
    """Counts, session by session, identical calls in a row and errors in a row.

    Parameters
    ----------
    loop_calls, errors
        So many in a row are told of, and again at each doubling; ≥ 2. Of identical calls only what is beyond a
        habit of waiting.
    """

    def __init__(self, loop_calls: int, errors: int) -> None:
        self._loop_calls = loop_calls
        self._errors = errors
        self._runs: OrderedDict[tuple[str, str], _Run] = OrderedDict()
        self._days: OrderedDict[tuple[str, bytes], _Days] = OrderedDict()

    def note(self, action: Observation) -> Finding | None:
        """Return what an action makes worth telling; an action without a session belongs to its agent's only one."""
        key = (action.agent_id, action.session_id or "")
        run = self._runs.pop(key, _Run())
        call = action.tool.encode() + b"\0" + action.args_digest
        calls, began_s = (run.calls + 1, run.began_s) if call == run.call else (1, action.ts_s)
        failed = action.result is not None and action.result.ok is False
        errors = run.errors + 1 if failed else 0
        self._runs[key] = run = _Run(call, calls, errors, began_s)
        if len(self._runs) > MAX_SESSIONS:
            self._runs.popitem(last=False)
        is_long_wait = calls >= self._loop_calls and run.waits(action.ts_s)
        habit = self._habit(action, run) if is_long_wait else 0
        if _is_due(calls, self._loop_calls) and calls >= 2 * habit:
            return Finding(
                "loop", calls, f"`{action.tool}` was called {calls} times in a row with the same arguments"
            )
        if failed and _is_due(errors, self._errors):
            return Finding("errors", errors, f"{errors} calls in a row failed, the latest to `{action.tool}`")
        return None

    def _habit(self, action: Observation, run: _Run) -> int:
        """Take note of a long run of one who waits, and return how long those are that it has every day."""
        repeated = action.agent_id, run.call
        days = self._days.pop(repeated, _Days()).after(action.ts_s, run.calls)
        self._days[repeated] = days
        if len(self._days) > MAX_REPEATED:
            self._days.popitem(last=False)
        return days.habit

    def dump(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return {
            "runs": [[*key, *run] for key, run in self._runs.items()],
            "days": [[*repeated, days.began_s, *days.longest] for repeated, days in self._days.items()],
        }

    def restore(self, dumped: dict[str, Any]) -> None:
        """Take up what `dump` returned."""
        self._runs = OrderedDict(((agent, name), _Run(*run)) for agent, name, *run in dumped["runs"])
        self._days = OrderedDict(
            ((agent, call), _Days(began_s, tuple(longest)))
            for agent, call, began_s, *longest in dumped["days"]
        )


def _is_due(count: int, limit: int) -> bool:
    """Return whether a count is the limit, or that doubled once or more."""
    times, rest = divmod(count, limit)
    return rest == 0 and times > 0 and times & (times - 1) == 0
