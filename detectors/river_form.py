"""Our detectors as River estimators: one agent's signals, or its whole model, in any River pipeline.

They run the same kernels as the bank of all agents; the mathematics has no second form. An estimator is one
agent and its own fleet, so the back-off goes from what it did to what it did long ago to the uniform
distribution.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from river.base import AnomalyDetector

from detectors import layout, scoring
from detectors.columns import columns
from detectors.features import Features, Hasher
from detectors.prior import shipped_prior

_SETS = 64  # the private "fleet" of an estimator: 16 KiB for pairs, 57 KiB in all
_NEVER = 1 << 62

_Record = Mapping[Any, Any]


@lru_cache(maxsize=16)
def _hasher(seed: int) -> Hasher:
    return Hasher(seed)


class _OneAgent(AnomalyDetector):
    """One agent's row, its private fleet, and the way from River's dictionaries to the kernel.

    Parameters
    ----------
    seed
        Seed of the hashes, 0 ≤ seed < 2⁶⁴. Two models can be compared only under the same seed.

    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._rows = np.zeros(1, layout.row_dtype(0))
        self._rows["last_ts_s"] = np.nan
        self._fleet = layout.new_fleet(0, sets=_SETS, trades=1)

    def _more_tags(self) -> set[str]:
        return set()

    def learn_one(self, x: _Record) -> None:
        """Learn an action.

        Parameters
        ----------
        x
            ``tool``, ``session``, ``ts_s`` (epoch seconds), ``version``, and per argument ``arg.<name>`` and
            ``source.<name>``; all optional. Other keys are ignored.

        """
        self._run([x], scoring.SCORE)

    def learn_many(self, xs: Sequence[_Record]) -> None:
        """Learn actions in order; equal to `learn_one` on each."""
        if xs:
            self._run(xs, scoring.SCORE)

    def score_one(self, x: _Record) -> float:
        """Return how strange an action would be now, ≥ 0, higher is stranger; 0 if `x` does not show it."""
        return self.score_many([x])[0]

    def score_many(self, xs: Sequence[_Record]) -> list[float]:
        """Return the scores of actions, each as if it came next; nothing is learned."""
        return [self._score(out) for out in self._run(xs, scoring.LOOK)] if xs else []

    @abstractmethod
    def _score(self, out: layout.Row) -> float:
        """Return the estimator's score from what the kernel says of one action."""

    def _rules(self) -> scoring.Rules:
        """Never flag: in River the caller decides what to learn."""
        return scoring.Rules(
            min_actions=_NEVER, recalibration=1, fleet_half=0, alerts_per_agent_day=1.0, max_p=1e-9
        )

    def _run(self, xs: Sequence[_Record], mode: int) -> layout.Rows:
        n = len(xs)
        features = [_features(x, _hasher(self.seed)) for x in xs]
        batch = columns(np.zeros(n, np.int64), features, np.ones(n, np.bool_), np.empty((n, 0)))
        results = np.zeros(n, layout.output_dtype(0))
        scoring.run(self._rows, self._fleet, batch, self._rules(), shipped_prior(), results, mode, 0)
        return results


class _Surprise(_OneAgent):
    _signal: int

    def _score(self, out: layout.Row) -> float:
        surprise = float(out["surprise"][self._signal])
        return 0.0 if math.isnan(surprise) else surprise


class TransitionSurprise(_Surprise):
    """Surprise, in nats, of a tool after the previous tool of the same session.

    Parameters
    ----------
    seed
        Seed of the hashes.

    Examples
    --------
    >>> model = TransitionSurprise()
    >>> for i in range(50):
    ...     model.learn_one({"tool": ("read", "write")[i % 2], "session": "s"})
    >>> model.score_one({"tool": "read", "session": "s"}) < 0.5
    True
    >>> model.score_one({"tool": "send_money", "session": "s"}) > 5
    True

    """

    _signal = layout.TRANSITION


class ValueNovelty(_Surprise):
    """Surprise of how new an argument's value is; the largest over all arguments.

    Parameters
    ----------
    seed
        Seed of the hashes.

    Examples
    --------
    >>> model = ValueNovelty()
    >>> for _ in range(50):
    ...     model.learn_one({"tool": "send", "arg.to": "alice"})
    >>> known = model.score_one({"tool": "send", "arg.to": "alice"})
    >>> model.score_one({"tool": "send", "arg.to": "mallory"}) > known + 2
    True

    """

    _signal = layout.NOVELTY


class SourceSurprise(_Surprise):
    """Surprise of where an argument's value came from; the largest over all arguments.

    Parameters
    ----------
    seed
        Seed of the hashes.

    Examples
    --------
    >>> model = SourceSurprise()
    >>> for _ in range(50):
    ...     model.learn_one({"tool": "send", "arg.to": "alice", "source.to": "user"})
    >>> model.score_one({"tool": "send", "arg.to": "alice", "source.to": "tool:read_inbox"}) > 4
    True

    """

    _signal = layout.SOURCE


class SizeSurprise(_Surprise):
    """Surprise of the octave of the arguments' characters, for the tool.

    Parameters
    ----------
    seed
        Seed of the hashes.

    Examples
    --------
    >>> model = SizeSurprise()
    >>> for _ in range(50):
    ...     model.learn_one({"tool": "post", "arg.text": "hello"})
    >>> model.score_one({"tool": "post", "arg.text": "x" * 10_000}) > 4
    True

    """

    _signal = layout.SIZE


class RhythmSurprise(_Surprise):
    """Surprise of so short a time since the previous action, in octaves; resting is never a surprise.

    Parameters
    ----------
    seed
        Seed of the hashes.

    Examples
    --------
    >>> model = RhythmSurprise()
    >>> for second in range(50):
    ...     model.learn_one({"tool": "poll", "ts_s": float(second)})
    >>> model.score_one({"tool": "poll", "ts_s": 49.01}) > 4
    True

    """

    _signal = layout.RHYTHM


class RateSurprise(_Surprise):
    """Surprise of so many actions in so short a time: a decayed count (time constant 60 s), in half octaves.

    Parameters
    ----------
    seed
        Seed of the hashes.

    Examples
    --------
    >>> model = RateSurprise()
    >>> for minute in range(50):
    ...     model.learn_one({"tool": "poll", "ts_s": 60.0 * minute})
    >>> for i in range(20):
    ...     model.learn_one({"tool": "poll", "ts_s": 2940.0 + 0.1 * i})
    >>> model.score_one({"tool": "poll", "ts_s": 2942.0}) > 2
    True

    """

    _signal = layout.RATE


class AgentModel(_OneAgent):
    """The whole model of one agent: all signals, weighed by the shipped prior into one evidence of an attack.

    Parameters
    ----------
    seed
        Seed of the hashes.

    Examples
    --------
    >>> model = AgentModel()
    >>> for i in range(300):
    ...     model.learn_one({"tool": ("read", "write")[i % 2], "session": "s", "arg.path": f"{i % 5}.txt"})
    >>> usual = model.score_one({"tool": "read", "session": "s", "arg.path": "1.txt"})
    >>> model.score_one({"tool": "send_money", "session": "s", "arg.to": "mallory"}) > usual + 1
    True

    """

    def _score(self, out: layout.Row) -> float:
        return float(out["fused"])


def _features(x: _Record, hasher: Hasher) -> Features:
    """Return the numeric form of a flat dictionary; the order of its keys does not matter."""
    args = {}
    provenance = {}
    for key in sorted(str(key) for key in x):
        prefix, _, name = key.partition(".")
        if prefix == "arg":
            args[name] = x[key]
        elif prefix == "source":
            provenance[name] = str(x[key])
    ts_s = x.get("ts_s")
    return hasher.features(
        tool=str(x.get("tool", "")),
        args=args,
        ts_s=float(ts_s) if isinstance(ts_s, int | float) else math.nan,
        session=_name(x.get("session")),
        version=_name(x.get("version")),
        provenance=provenance,
    )


def _name(value: object) -> str | None:
    return None if value is None else str(value)


__all__ = [
    "AgentModel",
    "RateSurprise",
    "RhythmSurprise",
    "SizeSurprise",
    "SourceSurprise",
    "TransitionSurprise",
    "ValueNovelty",
]
