"""Agents that do not work: the same call over and over, one error after the other. Pure and bounded.

No attack looks like that and no kill follows from it, but somebody has to know: a loop costs money and hides what else
happens. How fast an agent acts is the models' to say (`detectors.runaway`).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from monitor.intake.observation import Observation

MAX_SESSIONS = 10_000
"""Security limit: sessions that are followed; the one silent longest gives way."""


class Finding(NamedTuple):
    """What does not work: `kind` is ``loop`` or ``errors``, the rest is for people."""

    kind: str
    times: int
    sentence: str


class _Run(NamedTuple):
    call: bytes = b""
    calls: int = 0
    errors: int = 0


class Malfunctions:
    """Counts, session by session, identical calls in a row and errors in a row.

    Parameters
    ----------
    loop_calls, errors
        So many in a row are told of, and again at each doubling; ≥ 2.
    """

    def __init__(self, loop_calls: int, errors: int) -> None:
        self._loop_calls = loop_calls
        self._errors = errors
        self._runs: OrderedDict[tuple[str, str], _Run] = OrderedDict()

    def note(self, action: Observation) -> Finding | None:
        """Return what an action makes worth telling; an action without a session belongs to its agent's only one."""
        key = (action.agent_id, action.session_id or "")
        run = self._runs.pop(key, _Run())
        call = action.tool.encode() + b"\0" + action.args_digest
        calls = run.calls + 1 if call == run.call else 1
        failed = action.result is not None and action.result.ok is False
        errors = run.errors + 1 if failed else 0
        self._runs[key] = _Run(call, calls, errors)
        if len(self._runs) > MAX_SESSIONS:
            self._runs.popitem(last=False)
        if _is_due(calls, self._loop_calls):
            return Finding(
                "loop", calls, f"`{action.tool}` was called {calls} times in a row with the same arguments"
            )
        if failed and _is_due(errors, self._errors):
            return Finding("errors", errors, f"{errors} calls in a row failed, the latest to `{action.tool}`")
        return None

    def dump(self) -> list[Any]:
        """Return plain values for a checkpoint."""
        return [[*key, *run] for key, run in self._runs.items()]

    def restore(self, dumped: list[Any]) -> None:
        """Take up what `dump` returned."""
        self._runs = OrderedDict(((agent, name), _Run(*run)) for agent, name, *run in dumped)


def _is_due(count: int, limit: int) -> bool:
    """Return whether a count is the limit, or that doubled once or more."""
    times, rest = divmod(count, limit)
    return rest == 0 and times > 0 and times & (times - 1) == 0
