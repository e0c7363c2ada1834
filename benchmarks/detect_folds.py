"""One run out of several: each suite's part is taken from the run whose weights have never seen that suite. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.detect_judge import Promised
from benchmarks.detect_run import Run
from benchmarks.detect_stream import Stream

Fold = tuple[Promised, Run]


def joined(stream: Stream, folds: Mapping[str, Fold]) -> Fold:
    """Return what the folds say together.

    Parameters
    ----------
    folds
        By suite, what was promised and what came of it under weights fitted without that suite.
    """
    suites = [record.suite for record in stream.records]
    of_agent = {record.label.agent_id: record.suite for record in stream.records}
    of_action = {record.step.seen.id: record.suite for record in stream.records}
    first = next(iter(folds.values()))
    twins = [of_agent.get(twin[0].seen.agent_id, next(iter(folds))) for twin in stream.twins]
    promised = Promised(
        first[0].budget,
        [folds[suite][0].p[i] for i, suite in enumerate(suites)],
        [
            alert
            for suite, (promise, _) in folds.items()
            for alert in promise.raised
            if of_action[alert.action_id] == suite
        ],
    )
    run = Run(
        [folds[suite][1].scores[i] for i, suite in enumerate(suites)],
        [folds[suite][1].asides[i] for i, suite in enumerate(twins)],
        first[1].cpu_s,
        first[1].bytes_per_agent,
        "each suite by weights fitted on the others; the clock is that of one pass",
    )
    return promised, run
