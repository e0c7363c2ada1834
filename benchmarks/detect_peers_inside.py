"""What runs in the peers' own environment: other people's agent monitors, used as their authors intend.

Started by :mod:`benchmarks.detect_peers` as ``python -m benchmarks.detect_peers_inside PEER``. It reads JSON lines from
standard input, ``{"step": [seen, output]}`` in the order of the stream and then ``{"aside": [[seen, output], …]}`` for
each session that is scored and forgotten, and writes one JSON object when that has ended. Standard library only.
"""

from __future__ import annotations

import copy
import importlib
import json
import math
import pickle
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

Seen = dict[str, Any]
Output = dict[str, Any] | None
Step = tuple[Seen, Output]

FIRST_FIT: Final = 100  # sessions; agentnorm asks for 500 for its quantiles and warns below
REFIT_GROWTH: Final = 1.1  # fitted anew when a tenth has been added: a fit takes the whole history


class AgentNorm:
    """agentnorm: a run is recorded by its `RunRecorder` and scored when it is over, by a `Monitor` fitted to the past.

    Its five detectors are not fused by design; the score is the largest of value over threshold, by which its own
    explanation ranks them. A threshold of 0 makes that infinite: ranked above all others, by value.
    """

    def __init__(self, ends: dict[str, int]) -> None:
        self._norm = importlib.import_module("agentnorm")
        self._ends = ends  # a runtime says when a run is over; here the last step of its session does
        self._open: dict[str, tuple[Any, list[int]]] = {}
        self._history: list[Any] = []
        self._agents: set[str] = set()
        self._monitor: Any = None
        self._next_fit = FIRST_FIT
        self.scores: list[float] = []
        self.cpu_s = 0.0

    def step(self, seen: Seen, output: Output) -> None:
        """Record a call; score its run if it was the last, and fit the monitor anew if it is time."""
        number, session = len(self.scores), session_of(seen)
        self.scores.append(0.0)
        started_s = time.thread_time()
        recorder, rows = self._open.setdefault(session, (self._recorder(seen), []))
        rows.append(number)
        self._record(recorder, seen, output)
        if self._ends[session] == number:
            del self._open[session]
            score = self._score(recorder.finish())
            for row in rows:
                self.scores[row] = score
            self._learn(recorder.finish())
        self.cpu_s += time.thread_time() - started_s

    def aside(self, session: Iterable[Step]) -> list[float]:
        """Return the session's score once for each of its actions."""
        steps = list(session)
        recorder = self._recorder(steps[0][0])
        for seen, output in steps:
            self._record(recorder, seen, output)
        return [self._score(recorder.finish())] * len(steps)

    def bytes_per_agent(self) -> int:
        """Return the size of the pickled monitor, over the agents."""
        return len(pickle.dumps(_plain_dicts(self._monitor))) // max(1, len(self._agents))

    def _recorder(self, seen: Seen) -> Any:
        return self._norm.RunRecorder(seen["agent_id"], principal=seen["principal"] or "")

    def _record(self, recorder: Any, seen: Seen, output: Output) -> None:
        call = recorder.start_call(seen["tool"], seen["args"])
        known = output or {"is_ok": False, "chars": 0}
        recorder.complete_call(call, ok=known["is_ok"], result_size=known["chars"])

    def _score(self, run: Any) -> float:
        if self._monitor is None:
            return 0.0
        limits = self._monitor.thresholds
        return max(_ratio(value, limits[name]) for name, value in self._monitor.score(run).scores.items())

    def _learn(self, run: Any) -> None:
        self._history.append(run)
        self._agents.add(run.agent)
        if len(self._history) >= self._next_fit:
            self._monitor = self._norm.Monitor.fit(self._history)
            self._next_fit = math.ceil(len(self._history) * REFIT_GROWTH)


class Theaios:
    """theaios-agent-monitor: `Monitor.record` for each event, with a z-score rule on each metric that the stream moves.

    A call is an ``action`` event, a failed call an ``error`` event when it returns. The score is the largest |z| right
    after `record`, read through its public API. Its clock is the stream's.
    """

    METRICS: Final = ("event_count", "error_count")

    def __init__(self, ends: dict[str, int]) -> None:
        del ends
        self._types = importlib.import_module("theaios.agent_monitor.types")
        self._now_s = 0.0
        for module in ("metrics", "anomaly", "baselines"):
            found: Any = importlib.import_module(f"theaios.agent_monitor.{module}")
            found.time = SimpleNamespace(time=lambda: self._now_s)
        self._monitor = importlib.import_module("theaios.agent_monitor").Monitor(self._config())
        self._agents: set[str] = set()
        self.scores: list[float] = []
        self.cpu_s = 0.0

    def step(self, seen: Seen, output: Output) -> None:
        """Record the call, read its score, record its failure."""
        self._agents.add(seen["agent_id"])
        self.scores.append(self._take(self._monitor, seen, output))

    def aside(self, session: Iterable[Step]) -> list[float]:
        """Score a session on a copy of the monitor."""
        monitor = copy.deepcopy(self._monitor)
        return [self._take(monitor, seen, output) for seen, output in session]

    def bytes_per_agent(self) -> int:
        """Return the size of the pickled baselines and rolling metrics, over the agents."""
        state = (self._monitor.baseline_tracker, self._monitor.metrics_engine)
        return len(pickle.dumps(state)) // max(1, len(self._agents))

    def _take(self, monitor: Any, seen: Seen, output: Output) -> float:
        self._now_s = seen["ts_s"]
        self._record(monitor, "action", seen)
        score = self._largest_z(monitor, seen["agent_id"])
        if output is not None and not output["is_ok"]:
            self._record(monitor, "error", seen)
        return score

    def _record(self, monitor: Any, kind: str, seen: Seen) -> None:
        event = self._types.AgentEvent(
            timestamp=seen["ts_s"],
            agent=seen["agent_id"],
            event_type=kind,
            data={"tool": seen["tool"], "args": seen["args"]},
            session_id=seen["session_id"],
            user=seen["principal"],
        )
        started_s = time.thread_time()
        monitor.log(event)
        self.cpu_s += time.thread_time() - started_s

    def _largest_z(self, monitor: Any, agent: str) -> float:
        metrics, baselines = monitor.get_metrics(agent), monitor.baseline_tracker
        found = (baselines.z_score(agent, name, getattr(metrics, name)) for name in self.METRICS)
        return max(abs(float(z or 0.0)) for z in found)

    def _config(self) -> Any:
        types, home = self._types, Path.cwd()
        rules = [types.AnomalyRuleConfig(name=name, metric=name) for name in self.METRICS]
        return types.MonitorConfig(
            storage=types.StorageConfig(path=str(home / "events.jsonl")),
            baselines=types.BaselineConfig(
                metrics=list(self.METRICS), storage_path=str(home / "baselines.json")
            ),
            anomaly_detection=types.AnomalyDetectionConfig(rules=rules),
            kill_switch=types.KillSwitchConfig(state_path=str(home / "kill_state.json")),
        )


def session_of(seen: Seen) -> str:
    """Return a name for the session that two agents cannot share."""
    return f"{seen['agent_id']}\n{seen['session_id']}"


def _ratio(value: float, limit: float) -> float:
    """Return value over threshold; infinite ones as large numbers that still have an order, suppressed ones as 0."""
    if math.isnan(value) or value <= 0.0:
        return 0.0
    return value / limit if limit > 0.0 else 1e9 + value


def _plain_dicts(value: Any) -> Any:
    """Return the parts of an object as plain containers: some hold default factories that cannot be pickled."""
    if isinstance(value, dict):
        return {key: _plain_dicts(item) for key, item in value.items()}
    return _plain_dicts(vars(value)) if hasattr(value, "__dict__") else value


PEERS: Final[dict[str, type[AgentNorm] | type[Theaios]]] = {
    "agentnorm": AgentNorm,
    "theaios_agent_monitor": Theaios,
}


def main() -> None:
    """Take everything in, then answer."""
    lines = [json.loads(line) for line in sys.stdin]
    steps = [line["step"] for line in lines if "step" in line]
    ends = {session_of(seen): number for number, (seen, _) in enumerate(steps)}
    peer = PEERS[sys.argv[1]](ends)
    for seen, output in steps:
        peer.step(seen, output)
    answer = {"scores": peer.scores, "cpu_s": peer.cpu_s, "bytes_per_agent": peer.bytes_per_agent()}
    asides = [peer.aside(line["aside"]) for line in lines if "aside" in line]
    print(json.dumps({**answer, "asides": asides}))


if __name__ == "__main__":
    main()
