"""Fit the weights that Killcord ships: ``python -m benchmarks.fit_prior --stream DIR --out detectors/prior.json``.

The stream (in the format that `benchmarks.detect` reads) goes through the models once, as it would live. For every
action that leaves a code for each signal: which bin its surprise fell into, what its information flow was. On these and
the labels an additive model is fitted, by
boosting stumps on the log-likelihood (Friedman 2001), each signal held to the direction in which it can only tell more.
``--leave-out SUITE`` fits on all other suites; `benchmarks.detect --cross-validate` does that for every suite in turn.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.detect_stream import Stream, read_stream
from benchmarks.labelled import standings
from detectors import Bank, Features, Hasher, Settings
from detectors.layout import (
    FLOW,
    FLOW_CODES,
    NOVEL_KINDS,
    NOVELTY,
    RATE,
    RHYTHM,
    SCORE_BINS,
    SCORE_WIDTH,
    SIGNALS,
    VIEWS,
)
from detectors.prior import Weights, weights_from
from monitor.flow import SessionFlow

ROUNDS: Final = 300
STEP: Final = 0.08
RIDGE: Final = 8.0  # added to each side's curvature: a code seen in few attacks gets little weight
BENIGN: Final = 12_000  # so many benign actions, drawn at random and weighted up, stand for all
ENSEMBLE: Final = 4  # models are averaged over as many draws
SLOPE: Final = 0.05
"""What a nat of surprise weighs before any trace was seen: more is always more, also beyond what the traces hold."""
QUIET: Final = 0.3  # the evidence of this share of the benign actions is taken for none
BATCH: Final = 512

RISING: Final = 1
FALLING: Final = -1
EITHER: Final = 0
_DIRECTIONS: Final = {
    **dict.fromkeys(SIGNALS, RISING),
    **dict.fromkeys(FLOW, RISING),
    **dict.fromkeys(("from_user", "age", "asked"), FALLING),
    **dict.fromkeys(("side_effect", "from_model", "orders", "step", "repeats", "new_tool"), EITHER),
    "kinds": RISING,
}
_LEARNED: Final = tuple(name for k, name in enumerate(SIGNALS) if k not in (RHYTHM, RATE))
_SIZES: Final = {
    **dict.fromkeys(SIGNALS, 1 + SCORE_BINS),
    "kinds": 1 + NOVEL_KINDS,
    **dict.fromkeys(FLOW, FLOW_CODES),
}
_DECLARED: Final = (*_LEARNED, "kinds", "side_effect", "step")
_KNOWN: Final = {
    "flow": (*_LEARNED, "kinds", *FLOW),
    "declared": _DECLARED,
    "behaviour": tuple(name for name in _DECLARED if name not in ("source", "task")),
}
"""What each of the detectors' views knows."""

Codes = dict[str, npt.NDArray[np.int64]]
Floats = npt.NDArray[np.float64]


class Coded(NamedTuple):
    """A stream as its signals' codes. `labels`: 1 attack, 0 benign, -1 what counts neither way."""

    codes: Codes
    labels: npt.NDArray[np.int64]
    suites: npt.NDArray[np.str_]


def code(stream: Stream) -> Coded:
    """Return the codes of all actions, each made by models that had seen only what came before it."""
    bank, hasher = Bank(Settings(), prior=_knowing_nothing()), Hasher(0)
    parts: list[Codes] = []
    agents: list[int] = []
    features: list[Features] = []
    for agent, feature in _features(stream, hasher):
        agents.append(agent)
        features.append(feature)
        if len(features) == BATCH:
            parts.append(_codes(bank, agents, features))
            agents, features = [], []
    if features:
        parts.append(_codes(bank, agents, features))
    values = {"attack": 1, "benign": 0}
    labels = [values.get(standing, -1) for standing in standings(record.label for record in stream.records)]
    return Coded(
        {name: np.concatenate([part[name] for part in parts]) for name in _SIZES},
        np.array(labels, np.int64),
        np.array([record.suite for record in stream.records], np.str_),
    )


def _knowing_nothing() -> Weights:
    """Return a prior without which nothing could be scored, so that none has a say in the next one."""
    nothing = dict.fromkeys(_SIZES, np.zeros(max(_SIZES.values())))
    return weights_from(dict.fromkeys(VIEWS, _as_json(nothing, 0.0)))


def fit(coded: Coded, rows: npt.NDArray[np.bool_], seed: int = 0) -> dict[str, Any]:
    """Return a prior (as its JSON has it) fitted on some rows."""
    chosen = rows & (coded.labels >= 0)
    labels = coded.labels[chosen]
    views = {name: _fit_view(coded, chosen, _KNOWN[name], seed) for name in VIEWS}
    return {"attacks": int(labels.sum()), "benign": int((labels == 0).sum()), **views}


def _fit_view(coded: Coded, chosen: npt.NDArray[np.bool_], names: Sequence[str], seed: int) -> dict[str, Any]:
    labels = coded.labels[chosen]
    codes = np.stack([coded.codes[name][chosen] for name in names], axis=1)
    directions = [_DIRECTIONS[name] for name in names]
    slopes = [SLOPE if name in _LEARNED else 0.0 for name in names]
    tables = np.mean(
        [boost(codes, labels, directions, slopes, np.random.default_rng(seed + i)) for i in range(ENSEMBLE)],
        axis=0,
    )
    sums = tables[np.arange(len(names)), codes[labels == 0]].sum(axis=1)
    return _as_json(dict(zip(names, tables, strict=True)), -float(np.quantile(sums, QUIET)))


def boost(
    codes: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    directions: Sequence[int],
    slopes: Sequence[float],
    rng: np.random.Generator,
) -> Floats:
    """Return the weights (signals, codes) of an additive logistic model.

    Parameters
    ----------
    codes
        (n, signals).
    labels
        (n) 1 or 0.
    directions
        Of each signal: `RISING`, `FALLING` or `EITHER`.
    slopes
        Of each signal: the weight of a nat that it begins with.
    """
    attacks, benign = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    drawn = rng.choice(benign, min(BENIGN, len(benign)), replace=False)
    rows = np.concatenate([attacks, drawn])
    weights = np.concatenate([np.ones(len(attacks)), np.full(len(drawn), len(benign) / max(1, len(drawn)))])
    x, y = codes[rows], labels[rows].astype(np.float64)
    width = int(max(_SIZES.values()))
    tables = np.outer(slopes, np.arange(width) * SCORE_WIDTH)
    scores = np.log(max(1, len(attacks)) / max(1, len(benign))) + tables[np.arange(codes.shape[1]), x].sum(
        axis=1
    )
    for _ in range(ROUNDS):
        p = 1.0 / (1.0 + np.exp(-scores))
        slope, bend = weights * (y - p), weights * p * (1.0 - p)
        tried = rng.choice(codes.shape[1], max(1, int(0.4 * codes.shape[1])), replace=False)
        gain, k, cut, low, high = max(
            _best_cut(x[:, k], slope, bend, directions[k], width, int(k)) for k in tried
        )
        if gain <= 0.0:
            continue
        tables[k, : cut + 1] += STEP * low
        tables[k, cut + 1 :] += STEP * high
        scores += STEP * np.where(x[:, k] <= cut, low, high)
    return tables


def _best_cut(
    x: npt.NDArray[np.int64], slope: Floats, bend: Floats, direction: int, width: int, k: int
) -> tuple[float, int, int, float, float]:
    """Return gain, signal, code to cut behind, and the steps on both sides (Newton's, with a ridge)."""
    slopes, bends = np.bincount(x, slope, width), np.bincount(x, bend, width)
    below, bent = np.cumsum(slopes)[:-1], np.cumsum(bends)[:-1]
    above, bent_above = slopes.sum() - below, bends.sum() - bent
    low, high = below / (bent + RIDGE), above / (bent_above + RIDGE)
    gain = below * low + above * high - slopes.sum() ** 2 / (bends.sum() + RIDGE)
    if direction != EITHER:
        gain = np.where(direction * (high - low) >= 0.0, gain, 0.0)
    cut = int(np.argmax(gain))
    return float(gain[cut]), k, cut, float(low[cut]), float(high[cut])


def _as_json(tables: dict[str, Floats], base: float) -> dict[str, Any]:
    """Return the weights by name; what the view does not know has none, nor haste: the traces' times are made up."""
    nothing = np.zeros(max(_SIZES.values()))
    rows = {
        name: [round(float(weight), 4) for weight in tables.get(name, nothing)[:size]]
        for name, size in _SIZES.items()
    }
    return {
        "base": [round(base, 4)],
        "learned": {name: rows[name] for name in SIGNALS},
        "kinds": rows["kinds"],
        "flow": {name: rows[name] for name in FLOW},
    }


def _features(stream: Stream, hasher: Hasher) -> Iterable[tuple[int, Features]]:
    """Yield each action's agent and features, with the flow that a sensor beside the agent would compute."""
    sessions: dict[tuple[str, str], SessionFlow] = {}
    for (seen, output), _, _ in stream.records:
        key = (seen.agent_id, seen.session_id)
        session = sessions.setdefault(key, SessionFlow(seen.task or ""))
        trace = session.trace(seen.tool, seen.args, seen.prov, seen.side_effect)
        yield hasher.hash(seen.agent_id), hasher.features(
            tool=seen.tool, args=seen.args, ts_s=seen.ts_s, session=seen.session_id, version=None,
            provenance=trace.provenance, task=seen.task, flow=trace.flow,
        )  # fmt: skip
        if output is not None:
            session.saw(output.tool, output.text)


def _codes(bank: Bank, agents: Sequence[int], features: Sequence[Features]) -> Codes:
    scores = bank.step(agents, features)
    surprise = scores.surprise[:, : len(SIGNALS)]
    bins = np.where(np.isnan(surprise), 0, 1 + np.minimum(surprise // SCORE_WIDTH, SCORE_BINS - 1))
    newness = scores.observed[:, NOVELTY]
    flows = np.array([feature.flow for feature in features], np.int64)
    return {
        **{name: bins[:, k].astype(np.int64) for k, name in enumerate(SIGNALS)},
        "kinds": np.where(np.isnan(newness), 0, 1 + newness).astype(np.int64),
        **{name: flows[:, k] for k, name in enumerate(FLOW)},
    }


def leaving_out(coded: Coded, suites: Sequence[str], seed: int = 0) -> Weights:
    """Return the weights fitted on all suites but these."""
    return weights_from(fit(coded, ~np.isin(coded.suites, list(suites)), seed))


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_prior", description=__doc__)
    parser.add_argument(
        "--stream", type=Path, required=True, metavar="DIR", help="directory of a labelled stream"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write the weights")
    parser.add_argument(
        "--leave-out", action="append", default=[], metavar="SUITE", help="fit without this suite"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    stream = read_stream(options.stream)
    coded = code(stream)
    prior = fit(coded, ~np.isin(coded.suites, options.leave_out), options.seed)
    about = {
        "made_by": "python -m benchmarks.fit_prior",
        "stream_sha256": stream.sha256,
        "left_out": sorted(options.leave_out),
        "seed": options.seed,
    }
    options.out.write_text(_readable({**about, **prior}) + "\n")
    return 0


def _readable(prior: dict[str, Any]) -> str:
    """Return JSON with each list of weights on one line."""
    text = json.dumps(prior, indent=1)
    pieces = text.split("[")
    return "[".join(
        [pieces[0], *(" ".join(p[: p.index("]")].split()) + p[p.index("]") :] for p in pieces[1:])]
    )


if __name__ == "__main__":
    sys.exit(main())
