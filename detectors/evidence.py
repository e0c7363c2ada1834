"""What an action's signals say together: evidence of an attack, in nats.

Where the information flow of an action is known, the evidence is a sum of weights, log-odds of an attack, one for each
signal's value. The weights are a *prior*: fitted on labelled traces of other agents and shipped (`prior.json`, written
by `benchmarks/fit_prior.py`). What is strange for one agent is learned online; how much a strange thing of each kind
tells is not learned on the site, where attacks are too rare. Where only behaviour is known, nothing fitted is used: the
evidence is half of Fisher's -Σ ln p over the signals' p-values.

What either sum is worth as a probability is calibrated on the site again (`calibration.py`), each by itself, so a prior
that does not fit costs recall, not false alarms. Each signal's share in a sum is one number, so it can be explained.

References
----------
T. Hastie, R. Tibshirani: Generalized Additive Models, Statistical Science 1 (1986). I. J. Good: Probability and the
Weighing of Evidence (1950), for the log-odds of a sum of weights. R. A. Fisher: Statistical Methods for Research
Workers (1932), §21.1.

"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.calibration import score_bin
from detectors.compiler import kernel
from detectors.layout import (
    BEHAVING,
    BEHAVIOUR_SIGNALS,
    EXTERNAL,
    FLOW,
    FLOW_CODES,
    FLOW_UNKNOWN,
    FLOWING,
    FUSED_BINS,
    FUSED_WIDTH,
    NOVEL_KINDS,
    NOVELTY,
    SCORE_BINS,
    SIGNALS,
    Row,
)
from detectors.tables import Table

SHIPPED = Path(__file__).with_name("prior.json")

_FLOWS = len(FLOW)
_MOST = FUSED_BINS * FUSED_WIDTH - 1e-6


class Weights(NamedTuple):
    """Log-odds in nats, for actions whose information flow is known."""

    base: npt.NDArray[np.float64]
    """(1): puts actions that nothing speaks against near 0."""
    learned: npt.NDArray[np.float64]
    """(EXTERNAL, 1 + SCORE_BINS): of each signal's surprise, missing or in bins."""
    kinds: npt.NDArray[np.float64]
    """(1 + NOVEL_KINDS): of how new the newest value is; missing, known, known to peers, new to all."""
    flow: npt.NDArray[np.float64]
    """(FLOW, FLOW_CODES): of each number of the information flow."""


@kernel
def kind_of(flow: Table) -> int:
    """Return with which evidence an action is judged."""
    return BEHAVING if flow[0] == FLOW_UNKNOWN else FLOWING


@kernel
def weigh(out: Row, flow: Table, weights: Weights) -> float:
    """Return the evidence of an action in nats, from 0; its surprises and their p-values are in `out`."""
    surprise = out["surprise"]
    total = 0.0
    if kind_of(flow) == FLOWING:
        total = weights.base[0]
        for k in range(EXTERNAL):
            total += weights.learned[k, 0 if math.isnan(surprise[k]) else 1 + score_bin(surprise[k])]
        newness = out["observed"][NOVELTY]
        total += weights.kinds[0 if math.isnan(newness) else 1 + int(newness)]
        for k in range(_FLOWS):
            total += weights.flow[k, min(int(flow[k]), FLOW_CODES - 1)]
    else:
        for k in range(BEHAVIOUR_SIGNALS):
            if not math.isnan(surprise[k]):
                total -= 0.5 * math.log(out["signal_p"][k])
    for k in range(EXTERNAL, surprise.shape[0]):  # foreign detectors
        if not math.isnan(surprise[k]):
            total -= 0.5 * math.log(out["signal_p"][k])
    return float(min(max(total, 0.0), _MOST))


def shares(
    surprise: npt.NDArray[np.float64],
    signal_p: npt.NDArray[np.float64],
    newness: float,
    flow: tuple[int, ...],
    weights: Weights,
) -> dict[str, float]:
    """Return each signal's share in the evidence of one action: nats above the least that it could say, for people.

    Parameters
    ----------
    surprise, signal_p
        (EXTERNAL) as in `Scores`.
    newness
        `Scores.observed` of the novelty signal; it adds to that signal's share.
    flow
        As in `Features.flow`.

    """
    if not flow:
        return {
            name: -0.5 * math.log(float(signal_p[k]))
            for k, name in enumerate(SIGNALS[:BEHAVIOUR_SIGNALS])
            if not math.isnan(surprise[k])
        }
    found = {}
    for k, name in enumerate(SIGNALS):
        table = weights.learned[k]
        code = 0 if math.isnan(surprise[k]) else 1 + int(score_bin(float(surprise[k])))
        found[name] = float(table[code] - table.min())
    found["novelty"] += float(
        weights.kinds[0 if math.isnan(newness) else 1 + int(newness)] - weights.kinds.min()
    )
    for k, code in enumerate(flow):
        found[FLOW[k]] = float(weights.flow[k, min(code, FLOW_CODES - 1)] - weights.flow[k].min())
    return found


def load_prior(path: Path) -> Weights:
    """Return the weights in a file that `benchmarks/fit_prior.py` wrote.

    Raises
    ------
    ValueError
        If it is not one, or one for other signals; the message names the field.

    """
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"prior: {path} cannot be read: {error}") from error
    return weights_from(fields)


@lru_cache(maxsize=1)
def shipped_prior() -> Weights:
    """Return the weights that come with this version."""
    return load_prior(SHIPPED)


def weights_from(fields: Any) -> Weights:
    """Return the weights that a prior's JSON describes; raises as `load_prior`."""
    learned = [_numbers(_get(fields, "learned"), name, 1 + SCORE_BINS) for name in SIGNALS]
    flow = [_numbers(_get(fields, "flow"), name, FLOW_CODES) for name in FLOW]
    parts = (_numbers(fields, "base", 1), learned, _numbers(fields, "kinds", 1 + NOVEL_KINDS), flow)
    return Weights(*(np.array(part, np.float64) for part in parts))


def _get(fields: Any, name: str) -> Any:
    if not isinstance(fields, dict) or name not in fields:
        raise ValueError(f"prior: {name} is missing")
    return fields[name]


def _numbers(fields: Any, name: str, length: int) -> list[float]:
    numbers = _get(fields, name)
    is_list = isinstance(numbers, list) and len(numbers) == length
    if not is_list or not all(
        isinstance(number, int | float) and math.isfinite(number) for number in numbers
    ):
        raise ValueError(f"prior: {name} must be {length} numbers")
    return [float(number) for number in numbers]
