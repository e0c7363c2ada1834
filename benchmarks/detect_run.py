"""One pass over a stream: every action is scored on what came before it, then learned, then its output is shown.

A detector here has one call, `take`, for score and learn: our pipeline does both in one pass over a batch, and others
score a session only when it is over. So scores are asked for at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from benchmarks.detect_stream import Output, Seen, Step

Verdict = Literal["confirmed", "dismissed"]


class Aside(NamedTuple):
    """What a detector says of a session put before it aside from the stream."""

    scores: list[float]
    is_killed: bool | None
    """Whether its agent would have been stopped; None where the detector stops nobody."""


class Detector(Protocol):
    """Something that scores a stream of actions. It never sees more than `Step`, and of that the output late."""

    def take(self, seen: Seen) -> None:
        """Score an action, then learn it."""

    def saw_output(self, output: Output) -> None:
        """Take note of what the action that was taken last returned."""

    def scores(self) -> list[float]:
        """Return one score for each action taken, in order; higher is stranger, 0 is "cannot say"."""

    def aside(self, session: Sequence[Step]) -> Aside:
        """Score a session as if it came next, and remember nothing of it."""

    def bytes_per_agent(self) -> int:
        """Return the memory of one agent's model."""


class Run(NamedTuple):
    """What one detector made of a stream. `cpu_s` is the processor time of its scoring and learning alone."""

    scores: list[float]
    asides: list[Aside]
    cpu_s: float
    bytes_per_agent: int
    note: str | None = None


class Stopwatch:
    """Adds up the processor time of this thread, in seconds, between `start` and `stop`."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self._started_s = 0.0

    def __enter__(self) -> None:
        self._started_s = time.thread_time()

    def __exit__(self, *_: object) -> None:
        self.cpu_s += time.thread_time() - self._started_s


class Raised(NamedTuple):
    """An alert that the pipeline raised about an action of the stream."""

    alert_id: str
    action_id: str
    ts_s: float
    is_kill: bool
    """Whether the policy wanted the agent stopped."""


class Judged(Protocol):
    """A detector that raises alerts and takes a person's verdict on them."""

    @property
    def raised(self) -> Sequence[Raised]:
        """All alerts so far, in the order of time."""

    def judge(self, alert_id: str, verdict: Verdict) -> None:
        """Take the verdict."""


class Analyst:
    """Knows the truth and says it about every alert, `delay_s` of the stream's time after the action."""

    def __init__(self, judged: Judged, verdicts: Mapping[str, Verdict], delay_s: float) -> None:
        self._judged = judged
        self._verdicts = verdicts
        self._delay_s = delay_s
        self._next = 0

    def judge_until(self, now_s: float) -> None:
        """Give the verdicts that are due."""
        raised = self._judged.raised
        while self._next < len(raised) and raised[self._next].ts_s + self._delay_s <= now_s:
            alert = raised[self._next]
            self._next += 1
            self._judged.judge(alert.alert_id, self._verdicts[alert.action_id])


def prequential(
    detector: Detector,
    stopwatch: Stopwatch,
    steps: Iterable[Step],
    twins: Iterable[Sequence[Step]],
    before: Callable[[float], None] = lambda now_s: None,
) -> Run:
    """Put the stream before a detector, then each twin aside, on the state that the stream left.

    Parameters
    ----------
    stopwatch
        The detector's own: what it counts is not for this loop to know.
    before
        Called with the time of each action before it is taken.
    """
    for seen, output in steps:
        before(seen.ts_s)
        detector.take(seen)
        if output is not None:
            detector.saw_output(output)
    scores = detector.scores()
    cpu_s = stopwatch.cpu_s
    return Run(scores, [detector.aside(twin) for twin in twins], cpu_s, detector.bytes_per_agent())
