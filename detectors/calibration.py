"""From surprises to probabilities that mean what they say.

A p-value is the share of past scores that were at least as high: no distribution is assumed (conformal
prediction). An agent's own history is shrunk towards the fleet's. The fused statistic S = -Σ ln pₖ is
calibrated in the same way against its own past, which absorbs that the signals depend on each other; beyond
the highest scores that the fleet has seen ten times, an exponential tail is fitted to the excesses.

Histograms are kept as tail counts, `tails[b]` = weight of all scores in bin b or above: reading a p-value is
one look-up, and teaching touches only the bins below the score, mostly few. Ties count as "at least as high".

References
----------
V. Vovk, A. Gammerman, G. Shafer: Algorithmic Learning in a Random World (2005), ch. 2 (conformal p-values).
R. A. Fisher: Statistical Methods for Research Workers (1932), §21.1 (combining p-values).
A. Siffer et al.: Anomaly Detection in Streams with Extreme Value Theory, KDD 2017 (peaks over threshold). We
fix the tail's shape to 0, exponential: -ln p of a valid p-value has that tail, and so have sums of a few of
them.

"""

from __future__ import annotations

import math

from detectors.compiler import kernel
from detectors.layout import (
    ACTIONS,
    FIT_EXCESS,
    FUSED_BINS,
    FUSED_COARSE,
    FUSED_OWN,
    FUSED_WIDTH,
    SCORE_BINS,
    SCORE_WIDTH,
    UNIT,
    Fleet,
    Row,
)
from detectors.tables import Table, shrink

SHRINKAGE = 50.0 * UNIT
"""The fleet's p-value weighs like fifty scores of the agent's own."""
_ENOUGH = 10 * UNIT  # exceedances below which the empirical tail is not trusted
_FIT_EVERY = 64
_EXTRAPOLATION = 20.0
"""The fitted tail is followed to a twentieth of what one score among all would be: further out nobody knows its shape,
and while little was seen no single action is strange enough for a small false-kill budget."""
_LIMIT_AGENT = 60_000
_LIMIT_FLEET = 1 << 24  # four million scores, then halved: the fleet's calibration follows slow drift


@kernel
def score_bin(surprise: float) -> int:
    """Return the bin of a surprise."""
    return min(int(surprise / SCORE_WIDTH), SCORE_BINS - 1)


@kernel
def fused_bin(fused: float) -> int:
    """Return the bin of a fused statistic."""
    return int(min(fused / FUSED_WIDTH, FUSED_BINS - 1.0))


@kernel
def own_bin(fused: float) -> int:
    """Return the bin of a fused statistic in an agent's own, coarser histogram."""
    return min(fused_bin(fused) // FUSED_COARSE, FUSED_OWN - 1)


@kernel
def add(tails: Table, position: int, weight: int, limit: int) -> None:
    """Add a score to tail counts; when they pass `limit` all are halved, so that the old fades."""
    for i in range(position + 1):
        tails[i] += weight
    if tails[0] > limit:
        shrink(tails, 1)


@kernel
def signal_p(own: Table, peers: Table, position: int) -> float:
    """Return the p-value of a score in a bin: the agent's own tail, shrunk towards the fleet's."""
    prior = (peers[position] + float(UNIT)) / (peers[0] + float(UNIT))
    return float((own[position] + SHRINKAGE * prior) / (own[0] + SHRINKAGE))


@kernel
def fit_tail(fleet: Fleet) -> None:
    """Fit the mean excess of the fused statistic above its highest percent (at least 20 scores).

    The mean excess is the area under the tail counts. It is raised by its own standard error, and never below
    the one nat that a single valid p-value has: with little evidence the tail is taken to be heavier,
    p-values larger.
    """
    tails = fleet.fused
    needed = max(20 * UNIT, int(tails[0]) // 100)
    area = 0.0
    position = FUSED_BINS - 1
    while position > 0 and tails[position] < needed:
        area += tails[position]
        position -= 1
    top = float(tails[position])
    mean = FUSED_WIDTH * (area + 0.5 * top) / max(top, 1.0)
    fleet.numbers[FIT_EXCESS] = max(mean, 1.0) * (1.0 + math.sqrt(UNIT / max(top, 1.0)))


@kernel
def fleet_p(fleet: Fleet, fused: float) -> float:
    """Return the share of the fleet's scores at least as high; where those are few, the tail's."""
    tails = fleet.fused
    position = fused_bin(fused)
    whole = tails[0] + float(UNIT)
    if tails[position] >= _ENOUGH:
        return float((tails[position] + float(UNIT)) / whole)
    while position > 0 and tails[position] < _ENOUGH:
        position -= 1
    reached = (tails[position] + float(UNIT)) / whole
    beyond = (fused - position * FUSED_WIDTH) / max(fleet.numbers[FIT_EXCESS], 1.0)
    return float(max(reached * math.exp(-beyond), UNIT / whole / _EXTRAPOLATION))


@kernel
def fused_p(row: Row, fleet: Fleet, fused: float) -> float:
    """Return the calibrated p-value of an action.

    The agent's own history can only raise it: what is common for the fleet is never evidence against one
    agent.
    """
    common = fleet_p(fleet, fused)
    own = row["fused"]
    mixed = (own[own_bin(fused)] + SHRINKAGE * common) / (own[0] + SHRINKAGE)
    return float(max(common, mixed))


@kernel
def calibrate(row: Row, fleet: Fleet, out: Row) -> None:
    """Turn the surprises in `out` into p-values and their sum; what is missing (NaN) has no say."""
    fused = 0.0
    surprise = out["surprise"]
    for k in range(surprise.shape[0]):
        if math.isnan(surprise[k]):
            continue
        p = signal_p(row["tails"][k], fleet.tails[k], score_bin(surprise[k]))
        out["signal_p"][k] = p
        fused -= math.log(p)
    out["fused"] = fused


@kernel
def learn_scores(row: Row, fleet: Fleet, out: Row, weight: int, own: bool, peers: bool) -> None:
    """Add an action's surprises to the agent's own tails, to the fleet's, or to both."""
    surprise = out["surprise"]
    for k in range(surprise.shape[0]):
        if not math.isnan(surprise[k]):
            position = score_bin(surprise[k])
            if own:
                add(row["tails"][k], position, weight, _LIMIT_AGENT)
            if peers:
                add(fleet.tails[k], position, weight, _LIMIT_FLEET)


@kernel
def learn_fused(row: Row, fleet: Fleet, fused: float, weight: int, own: bool, peers: bool) -> None:
    """Add an action's fused statistic likewise; fit the fleet's tail anew now and then."""
    if own:
        add(row["fused"], own_bin(fused), weight, _LIMIT_AGENT)
    if not peers:
        return
    add(fleet.fused, fused_bin(fused), weight, _LIMIT_FLEET)
    fleet.numbers[ACTIONS] += 1.0
    if fleet.numbers[ACTIONS] % _FIT_EVERY == 0.0:
        fit_tail(fleet)
