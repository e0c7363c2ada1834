"""What an action's signals say together: evidence of an attack, in nats.

The evidence is the logarithm of a likelihood ratio, attack against honest, and attack means either of two things:

- an attack of a known kind. Its ratio is a sum of weights, one for each signal's value (`prior.py`), fitted for each
  view by itself: with the information flow known, with the task or the values' sources, with behaviour alone. What is
  strange for one agent is learned online; how much a strange thing of each kind tells is the prior.
- an attack of an unknown kind, of which only that its behaviour is strange is said: each signal's p-value has the
  density p^(-1/2) / 2 instead of 1, so its sum is half of Fisher's -Σ ln p but for a constant. Nothing fitted.

The two are mixed; how many attacks are taken to be of an unknown kind depends on the view. What a sum is worth as a
probability is calibrated on the site again (`calibration.py`), so a prior that does not fit costs recall, not false
alarms. Each signal's share in a sum is one number, so it can be explained.

References
----------
T. Hastie, R. Tibshirani: Generalized Additive Models, Statistical Science 1 (1986). I. J. Good: Probability and the
Weighing of Evidence (1950), for the log-odds of a sum of weights. R. A. Fisher: Statistical Methods for Research
Workers (1932), §21.1. V. Vovk, R. Wang: E-values: Calibration, combination and applications, Annals of Statistics 49
(2021), for p^(-1/2) / 2 as a calibrator.

"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from detectors.calibration import score_bin
from detectors.compiler import kernel
from detectors.layout import (
    BEHAVING,
    BEHAVIOUR_SIGNALS,
    DECLARED,
    EXTERNAL,
    FLOW,
    FLOW_CODES,
    FLOW_UNKNOWN,
    FLOWING,
    FUSED_BINS,
    FUSED_WIDTH,
    NOVELTY,
    SIGNALS,
    SOURCE,
    STEP,
    Row,
)
from detectors.prior import Weights
from detectors.tables import Table

UNKNOWN = (0.05, 0.2, 0.2)
"""For each view the share of attacks that are of an unknown kind; ours. The less a view knows, the more. On the traces,
which hold known ones only, more costs recall; in simulated fleets, which hold others, less does."""

_LN_UNKNOWN = np.log(UNKNOWN)
_LN_KNOWN = np.log1p(-np.array(UNKNOWN))
_LN_2 = math.log(2.0)
_FLOWS = len(FLOW)
_TIED = 1  # a number that only those know who followed the session
_MOST = FUSED_BINS * FUSED_WIDTH - 1e-6


@kernel
def view_of(out: Row, flow: Table, words: int) -> int:
    """Return how much is known of an action that has so many words of a task."""
    if flow[_TIED] != FLOW_UNKNOWN:
        return FLOWING
    return DECLARED if words > 0 or not math.isnan(out["surprise"][SOURCE]) else BEHAVING


@kernel
def weigh(out: Row, flow: Table, steps: int, view: int, weights: Weights) -> float:
    """Return the evidence of an action in nats, from 0; its surprises and their p-values are in `out`."""
    signal_p = out["signal_p"]
    base = weights.base[view]
    known = _LN_KNOWN[view] + base + _known(out, flow, steps, view, weights)
    unknown = _LN_UNKNOWN[view] + base + _strange(signal_p, 0, BEHAVIOUR_SIGNALS)
    most = max(known, unknown)
    total = most + math.log1p(math.exp(min(known, unknown) - most))
    total += _strange(signal_p, EXTERNAL, signal_p.shape[0])  # foreign detectors
    return float(min(max(total, 0.0), _MOST))


@kernel
def _known(out: Row, flow: Table, steps: int, view: int, weights: Weights) -> float:
    """Return the sum of the weights."""
    surprise = out["surprise"]
    total = 0.0
    for k in range(EXTERNAL):
        total += weights.learned[view, k, 0 if math.isnan(surprise[k]) else 1 + score_bin(surprise[k])]
    newness = out["observed"][NOVELTY]
    total += weights.kinds[view, 0 if math.isnan(newness) else 1 + int(newness)]
    for k in range(_FLOWS):
        if flow[k] != FLOW_UNKNOWN:
            total += weights.flow[view, k, min(int(flow[k]), FLOW_CODES - 1)]
    if flow[STEP] == FLOW_UNKNOWN:
        total += weights.flow[view, STEP, min(math.frexp(float(steps))[1], FLOW_CODES - 1)]
    return float(total)


@kernel
def _strange(p: Table, first: int, last: int) -> float:
    """Return the logarithm of the product of p^(-1/2) / 2 over the signals that are there."""
    product = 1.0
    there = 0
    for k in range(first, last):
        if not math.isnan(p[k]):
            product *= p[k]
            there += 1
    return float(-0.5 * math.log(product) - there * _LN_2)


def shares(
    surprise: npt.NDArray[np.float64],
    signal_p: npt.NDArray[np.float64],
    newness: float,
    flow: tuple[int, ...],
    view: int,
    weights: Weights,
) -> dict[str, float]:
    """Return each signal's share in the evidence of one action: nats above the least that it could say, for people.

    The two kinds of attack have their say as far as each is likely.

    Parameters
    ----------
    surprise, signal_p
        (EXTERNAL) as in `Scores`.
    newness
        `Scores.observed` of the novelty signal; it adds to that signal's share.
    flow
        As in `Features.flow`.
    view
        Index of `layout.VIEWS`.

    """
    known, least = {}, {}
    for k, name in enumerate(SIGNALS):
        table = weights.learned[view, k]
        known[name] = float(table[0 if math.isnan(surprise[k]) else 1 + int(score_bin(float(surprise[k])))])
        least[name] = float(table.min())
    kinds = weights.kinds[view]
    known["novelty"] += float(kinds[0 if math.isnan(newness) else 1 + int(newness)])
    least["novelty"] += float(kinds.min())
    for name, code, table in zip(FLOW, flow, weights.flow[view], strict=False):
        known[name] = float(table[min(code, FLOW_CODES - 1)])
        least[name] = float(table.min())
    strange = {
        name: -0.5 * math.log(float(signal_p[k]))
        for k, name in enumerate(SIGNALS[:BEHAVIOUR_SIGNALS])
        if not math.isnan(surprise[k])
    }
    odds = (
        float(_LN_UNKNOWN[view] - _LN_KNOWN[view])
        + sum(strange.values())
        - _LN_2 * len(strange)
        - sum(known.values())
    )
    unknown = 1.0 / (1.0 + math.exp(-max(-700.0, min(700.0, odds))))
    return {
        name: (1.0 - unknown) * (known[name] - least[name]) + unknown * strange.get(name, 0.0)
        for name in known
    }
