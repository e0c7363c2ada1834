"""Who is stopped in a history that is gone through again under another policy. Pure.

What people did stands: an agent that they stopped did not act freely afterwards, under whatever policy, so its actions
teach nothing and it is not killed again until it was restored or its suspension ran out. What the policy of then did by
itself does not stand: the policy under test decides anew, and automatic kills of the past and their ends are passed
over. If it is the policy of then, it comes to the same kills by itself.

A kill of the policy under test ends with its suspension, or when people restored the agent in the history: they wanted
it to act, whatever had stopped it. A revocation lasts until then. Each goes through the kill switch's own table of
transitions, and the pipeline hears of it as it would have from the store.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from killswitch import Change, InvalidRequest, InvalidTarget, Revocation, Target
from killswitch.revocations import Request, apply
from monitor.core.alerts import change_id
from monitor.core.findings import Finding
from monitor.core.pipeline import Pipeline, RevocationRequest

BY = "backtest"
_AUTOMATIC = change_id("")


def is_automatic(change: Change) -> bool:
    """Return whether a policy asked for this change by itself."""
    return change.change_id.startswith(_AUTOMATIC)


class _Stop(NamedTuple):
    record: Revocation
    finding: Finding
    until_s: float


class Stops:
    """The stops in force, told to the pipeline as they begin and end. An agent is `in` it while it is stopped."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._own: dict[str, _Stop] = {}
        self._by_hand: set[str] = set()

    def __contains__(self, agent_id: str) -> bool:
        return agent_id in self._own or agent_id in self._by_hand

    def prevents(self, agent_id: str) -> Finding | None:
        """Return the kill that keeps the agent from acting, if one does and nobody's hand does too."""
        stop = self._own.get(agent_id)
        return stop.finding if stop and agent_id not in self._by_hand else None

    def kill(self, request: RevocationRequest, finding: Finding) -> bool:
        """Carry out a kill, or put the agent on hold; False if the store would refuse it as no valid request."""
        try:
            wish = Request(
                request.level,
                Target.parse(request.target),
                request.reason,
                BY,
                request.change_id,
                request.expires_at_s,
                request.evidence,
            )
            change = apply(None, wish, epoch=1, now_s=request.at_s)
        except (InvalidRequest, InvalidTarget):
            change = None
        if change is None or change.new is None:
            self._pipeline.withdraw(request.change_id, request.target, request.at_s)
            return False
        self._pipeline.transition(change)
        if request.level != "step_up":
            ends_s = math.inf if request.expires_at_s is None else request.expires_at_s
            self._own[change.target.value] = _Stop(change.new, finding, ends_s)
        return True

    def expire(self, now_s: float) -> None:
        """End the suspensions of the policy under test that have run out."""
        for agent_id in [name for name, stop in self._own.items() if stop.until_s <= now_s]:
            stop = self._own.pop(agent_id)
            ended = Request("expire", stop.record.target, "it ran out", BY, f"end-{stop.record.change_id}")
            change = apply(stop.record, ended, epoch=2, now_s=now_s)
            if change is not None and agent_id not in self._by_hand:
                self._pipeline.transition(change)

    def take(self, change: Change) -> None:
        """Take over a change of the history."""
        agent_id, new = change.target.value, change.new
        if change.target.kind != "agent" or is_automatic(change):
            return
        match change.kind:
            case "suspend" | "revoke":
                self._by_hand.add(agent_id)
                self._pipeline.transition(change)
            case "restore":
                self._by_hand.discard(agent_id)
                self._own.pop(agent_id, None)
                self._pipeline.transition(change)
            case "expire" if agent_id in self._by_hand:
                self._by_hand.discard(agent_id)
                if agent_id not in self._own:
                    self._pipeline.transition(change)
            case "step_up" if agent_id not in self and new is not None and new.level == "step_up":
                self._pipeline.transition(change)
            case _:
                pass  # the end, or the hold, of a kill that has not happened here
