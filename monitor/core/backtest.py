"""What a policy would have done: history goes through the pure pipeline under it. Pure; time is the history's.

Theory of operation
-------------------
Each policy has a pipeline of its own, which starts from an empty model: the first actions only calibrate it. It is run
in mode `enforce` whatever mode the policy names, since the question is what promoting it would do. What the alerts of
mode `alert` say is `wanted` is more than that: it repeats itself with every flagged action of an agent that would be
stopped by then, and knows neither the blast-radius guard nor that a recalibrating model does not kill.

An agent that would have been killed goes on in the history. Until its stop ends (`stops.py`), what it does counts as
prevented and teaches nothing, and alerts about it are counted apart: they are no news. The models see these actions, as
they do live of an agent that tries in vain. What an agent would have done had it *not* been stopped is in no history.

Verdicts and changes of the revocation state are honoured where they stand, except automatic kills of the past.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec

from detectors import MemorySpill
from killswitch import Change
from monitor.config import Config
from monitor.core.alerts import Alert
from monitor.core.chain_findings import THOUGH_REVOKED
from monitor.core.difference import Difference, Differences
from monitor.core.findings import Finding, finding_of, kind_of
from monitor.core.minutes import HistoryFacts, Minute, Minutes, Step
from monitor.core.pipeline import Pipeline, RevocationRequest
from monitor.core.stops import Stops
from monitor.core.tally import Tally, Totals
from monitor.log.entries import Entry, Judgement

MAX_WHYS = 16
"""Kinds of reasons for which kills were held back that are told apart."""


class Policy(NamedTuple):
    """What is tested, under the name that people gave it."""

    name: str
    config: Config


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a back-test found; `difference` is there if two policies were compared."""

    history: HistoryFacts
    policies: list[Totals]
    difference: Difference | None


class Backtest:
    """One policy over a history, step by step."""

    def __init__(self, config: Config, *, examples: int) -> None:
        self._budget = config.response
        enforced = config.response.model_copy(update={"mode": "enforce"})
        spill = MemorySpill(config.detection.max_spilled)
        self._pipeline = Pipeline(config.model_copy(update={"response": enforced}), spill=spill)
        self._stops = Stops(self._pipeline)
        self.tally = Tally(examples)

    def take(self, step: Step) -> list[Finding]:
        """Let one step of the history happen; return the alerts that people would have got."""
        match step:
            case Minute():
                return self._minute(step)
            case Judgement():
                self._pipeline.judge(step.alert_id, step.verdict)
                self.tally.judge(step)
            case Change():
                self._stops.take(step)
        return []

    def totals(self) -> Totals:
        """Return what the policy came to so far."""
        return self.tally.totals(self._budget)

    def _minute(self, minute: Minute) -> list[Finding]:
        self._stops.expire(minute.now_s)
        outcomes = self._pipeline.step(minute.actions, minute.now_s, first_seq=minute.first_seq)
        requests = {request.change_id: request for request in outcomes.requests}
        alerts = {seq: list(found) for seq, found in groupby(outcomes.alerts, lambda alert: alert.action_seq)}
        told: list[Finding] = []
        for seq, (action, p) in enumerate(zip(minute.actions, outcomes.p, strict=True), minute.first_seq):
            is_stopped = action.agent_id in self._stops
            prevented_by = self._stops.prevents(action.agent_id)
            self.tally.action(action, p, is_stopped=is_stopped, prevented_by=prevented_by)
            for alert in alerts.get(seq, ()):
                told += self._alert(alert, requests.get(alert.response.change_id or ""))
        return told

    def _alert(self, alert: Alert, request: RevocationRequest | None) -> list[Finding]:
        if alert.verdict == "blast_radius":
            self.tally.pauses += 1
            return []
        if any(reason.signal == THOUGH_REVOKED for reason in alert.reasons):
            return []  # under a kill that is enforced nobody acts; here the history goes on all the same
        if alert.agent_id in self._stops:
            self.tally.while_stopped += 1
            return []
        finding = finding_of(alert, "alert" if request is None else request.level)
        if request is None:
            self._note_held_back(alert)
        elif not self._stops.kill(request, finding):
            finding.outcome = "alert"
            self.tally.refused += 1
        self.tally.alert(finding, kind_of(alert))
        return [finding]

    def _note_held_back(self, alert: Alert) -> None:
        held_back, why = self.tally.held_back, alert.response.why
        if alert.response.wanted not in ("none", "alert"):
            held_back[why if why in held_back or len(held_back) < MAX_WHYS else "other reasons"] += 1


def backtest(entries: Iterable[Entry], policies: Sequence[Policy], *, examples: int) -> Report:
    """Let the history happen under each policy, and compare the first two. The history is gone through once.

    Parameters
    ----------
    entries
        What an action log holds, in its order.
    examples
        How many alerts, kills and holds of each policy are kept as examples.
    """
    history = Minutes(entries)
    tests = [Backtest(policy.config, examples=examples) for policy in policies]
    differences = Differences() if len(policies) == 2 else None
    for step in history:
        told = [test.take(step) for test in tests]
        if differences is not None:
            differences.note(told[0], told[1])
    return Report(
        history=history.facts(),
        policies=[test.totals() for test in tests],
        difference=differences.between(tests[0].tally, tests[1].tally) if differences else None,
    )
