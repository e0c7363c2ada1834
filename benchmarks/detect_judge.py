"""From runs to figures: which actions are judged, what each run was worth, and whether promises were kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.detect_figures import RATES, Floats, Judgement, figures, intervals, judge, threshold
from benchmarks.detect_ours import ALERT_RATE, Budget, agent_days
from benchmarks.detect_promises import realised
from benchmarks.detect_run import Aside, Raised, Run, Verdict
from benchmarks.detect_stream import Record, Stream, StreamError
from benchmarks.labelled import judge_alerts, standings


class Promised(NamedTuple):
    """What our pipeline promised and did: the budget, one p-value an action, its alerts."""

    budget: Budget
    p: list[float]
    raised: list[Raised]


class View(NamedTuple):
    """The part of the stream that figures are made of; everything is streamed."""

    records: list[Record]
    rows: npt.NDArray[np.bool_]
    judgement: Judgement
    twins: npt.NDArray[np.bool_]

    def scores(self, run: Run) -> Floats:
        """Return the scores of the actions in view."""
        return np.array(run.scores, np.float64)[self.rows]

    def asides(self, run: Run) -> list[Aside]:
        """Return what was said of the twins in view."""
        return [aside for aside, is_chosen in zip(run.asides, self.twins, strict=True) if is_chosen]


def look(stream: Stream, agents: str, suite: str | None) -> View:
    """Return the view of the agents that match the pattern and work on the suite."""
    suites = {record.label.agent_id: record.suite for record in stream.records}

    def is_chosen(agent: str) -> bool:
        return fnmatchcase(agent, agents) and suite in (None, suites.get(agent))

    rows = np.array([is_chosen(record.label.agent_id) for record in stream.records], np.bool_)
    if not rows.any():
        raise StreamError(f"no action by an agent that matches {agents!r} in suite {suite or '*'}")
    judgement = judge([record.label for record in stream.records]).only(rows)
    twins = np.array([is_chosen(twin[0].seen.agent_id) for twin in stream.twins], np.bool_)
    return View([stream.records[row] for row in np.flatnonzero(rows)], rows, judgement, twins)


def verdicts(records: Sequence[Record]) -> dict[str, Verdict]:
    """Return what an analyst would say of each action; all that a hijacked session still does is confirmed."""
    counts = standings(record.label for record in records)
    return {
        record.step.seen.id: "dismissed" if standing == "benign" else "confirmed"
        for record, standing in zip(records, counts, strict=True)
    }


def judged(run: Run, view: View) -> dict[str, Any]:
    """Return everything that one run was worth."""
    scores = view.scores(run)
    return {
        **figures(scores, view.judgement),
        **intervals(scores, view.judgement),
        **twins(view.asides(run), threshold(scores[view.judgement.benign], RATES["1e3"])),
        "actions_per_s": round(len(run.scores) / run.cpu_s),
        "bytes_per_agent": run.bytes_per_agent,
        "note": run.note,
    }


def twins(asides: Sequence[Aside], limit: float) -> dict[str, float | None]:
    """Return the share of the twins with an action above the limit, and of those whose agent would be stopped."""
    kills = [aside.is_killed for aside in asides if aside.is_killed is not None]
    alerted = [max(aside.scores) > limit for aside in asides]
    return {
        "twins_alerted": round(float(np.mean(alerted)), 4) if alerted else None,
        "twins_killed": round(float(np.mean(kills)), 4) if kills else None,
    }


def promises(ours: Promised, view: View) -> dict[str, Any]:
    """Return realised over promised, by p-value and by what the policy did about the stated budgets."""
    seen = [record.step.seen for record in view.records]
    times = np.array([action.ts_s for action in seen], np.float64)
    p = np.array(ours.p, np.float64)[view.rows]
    budget, days = ours.budget, agent_days(seen)
    sessions = {action.id: (action.agent_id, action.session_id) for action in seen}
    alerted = [alert.action_id for alert in ours.raised if alert.action_id in sessions]
    wanted = [alert.action_id for alert in ours.raised if alert.is_kill and alert.action_id in sessions]
    killed = {sessions[action_id]: action_id for action_id in reversed(wanted)}  # a session is stopped once
    return {
        **realised(p, view.judgement.benign, view.judgement.agents, times),
        "policy": {
            "agent_days": round(days, 1),
            "alerts": kept(view, alerted, budget.alerts_per_agent_day * days),
            "kills": kept(view, killed.values(), budget.kills_per_agent_day * days),
        },
    }


def kept(view: View, chosen: Iterable[str], promised: float) -> dict[str, Any]:
    """Return what the policy's alerts, or kills, were worth beside the number of false ones promised.

    Parameters
    ----------
    chosen
        Ids of the actions that it alerted, or killed for.
    """
    ids = (record.step.seen.id for record in view.records)
    found = judge_alerts(ids, (record.label for record in view.records), set(chosen))
    return {
        "false_promised": round(promised, 2),
        "false": found["false_alerts"],
        "realised_over_promised": round(found["false_alerts"] / promised, 3),
        "attack_sessions": found["attack_sessions_alerted"],
        "attack_session_recall": found["attack_session_recall"],
        "attack_actions_before_median": found["attack_actions_before_alert_median"],
    }


def describe_stream(stream: Stream, view: View) -> dict[str, Any]:
    """Return what was measured on: counts of what is in view, and the hash of the file."""
    judgement = view.judgement
    return {
        "streamed": len(stream.records),
        "actions": len(view.records),
        "agents": len(np.unique(judgement.agents)),
        "sessions": len(np.unique(judgement.sessions)),
        "attack_sessions": len(np.unique(judgement.sessions[judgement.attack])),
        "attack_actions": int(judgement.attack.sum()),
        "benign_actions": int(judgement.benign.sum()),
        "twins": int(view.twins.sum()),
        "sha256": stream.sha256,
        "alert_rate": ALERT_RATE,
    }
