"""Other detectors before the same stream: River's HalfSpaceTrees here, two monitors in an environment of their own.

River has one forest an agent on numbers prepared from our features, what ``[[detection.river]]`` gives an operator.
agentnorm and theaios-agent-monitor are used as their authors intend (:mod:`benchmarks.detect_peers_inside`).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.detect_ours import Sensor
from benchmarks.detect_run import Aside, Run, Stopwatch, prequential
from benchmarks.detect_stream import Output, Seen, Step
from benchmarks.peer_environment import ROOT, PeerEnvironment, Say
from benchmarks.score import FOREST
from detectors import detector_by_name, numeric_features

ENVIRONMENT: Final = PeerEnvironment(
    ROOT / ".cache" / "detect_peers", Path(__file__).with_name("detect_peers.lock")
)
RUN_S: Final = 3600.0
NO_KILL: Final = "twins_killed: it stops nobody by itself."
NOTES: Final = {
    "river_hst": f"{NO_KILL} Memory: River's own measure, the median over the agents.",
    "agentnorm": f"Scores sessions that are over: an action has its session's score. {NO_KILL} Memory: the pickled "
    "monitor over the agents; the history that it is fitted to comes on top.",
    "theaios_agent_monitor": f"It learns an action before it scores it. {NO_KILL[:-1]} unless a policy names a number. "
    "Memory: the pickled baselines and metrics over the agents.",
}


class River:
    """One HalfSpaceTrees an agent. The stopwatch covers `score_one` and `learn_one` on prepared numbers."""

    def __init__(self) -> None:
        self._sensor = Sensor("declared")
        self._forests: dict[str, Any] = {}
        self._scores: list[float] = []
        self.stopwatch = Stopwatch()

    def take(self, seen: Seen) -> None:
        """Score, then learn."""
        forest, x = self._forest(seen), self._numbers(seen)
        with self.stopwatch:
            self._scores.append(forest.score_one(x))
            forest.learn_one(x)

    def saw_output(self, output: Output) -> None:
        """Take no notice: its numbers have no place for it."""

    def scores(self) -> list[float]:
        """Return one score for each action taken."""
        return self._scores

    def aside(self, session: Sequence[Step]) -> Aside:
        """Score without learning."""
        scores = [self._forest(seen).score_one(self._numbers(seen)) for seen, _ in session]
        return Aside(scores, None)

    def bytes_per_agent(self) -> int:
        """Return the median memory of a forest, by River's own measure."""
        return int(statistics.median(forest._raw_memory_usage for forest in self._forests.values()))

    def _forest(self, seen: Seen) -> Any:
        if seen.agent_id not in self._forests:
            self._forests[seen.agent_id] = detector_by_name("river.anomaly.HalfSpaceTrees", FOREST)
        return self._forests[seen.agent_id]

    def _numbers(self, seen: Seen) -> dict[str, float]:
        return numeric_features(self._sensor.observe(self._sensor.fields(seen)).features)


def run_river(steps: Iterable[Step], twins: Sequence[Sequence[Step]], say: Say) -> Run:
    """Return what River's forests make of the stream."""
    river = River()
    return prequential(river, river.stopwatch, steps, twins)._replace(note=NOTES["river_hst"])


def run_foreign(role: str, steps: Iterable[Step], twins: Sequence[Sequence[Step]], say: Say) -> Run:
    """Return what a peer in its own environment makes of the stream.

    Raises
    ------
    NoPeers
        If it cannot be installed, or does not run.
    """
    lines = (json.dumps(line) for line in _lines(steps, twins))
    answer = ENVIRONMENT.ask("benchmarks.detect_peers_inside", role, lines=lines, timeout_s=RUN_S, say=say)
    asides = [Aside(scores, None) for scores in answer.pop("asides")]
    ((package, version),) = ENVIRONMENT.versions([role.replace("_", "-")]).items()
    return Run(asides=asides, note=f"{package} {version}. {NOTES[role]}", **answer)


def _lines(steps: Iterable[Step], twins: Iterable[Sequence[Step]]) -> Iterator[dict[str, Any]]:
    yield from ({"step": _plain(step)} for step in steps)
    yield from ({"aside": [_plain(step) for step in twin]} for twin in twins)


def _plain(step: Step) -> list[dict[str, Any] | None]:
    """Return both pieces as JSON; the text of an output is left out, no peer here reads it."""
    output = step.output and {**step.output._asdict(), "text": ""}
    return [step.seen._asdict(), output or None]


PEERS: Final[dict[str, Callable[[Sequence[Step], Sequence[Sequence[Step]], Say], Run]]] = {
    "river_hst": run_river,
    "agentnorm": partial(run_foreign, "agentnorm"),
    "theaios_agent_monitor": partial(run_foreign, "theaios_agent_monitor"),
}
"""How each peer is run, by name."""
