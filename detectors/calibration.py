"""From statistics to probabilities that mean what they say.

A p-value is the share of past statistics that were at least as high: no distribution is assumed (conformal
prediction). It is looked up in a chain, each link shrunk towards the one before: the whole fleet, the agents of the
same trade (Mondrian categories), the agent itself. Beyond the values that were seen ten times, an exponential tail is
fitted to the excesses.

Histograms are kept as tail counts, `tails[b]` = weight of all values in bin b or above: reading a p-value is
one look-up, and teaching touches only the bins below the value, mostly few. Ties count as "at least as high".

References
----------
V. Vovk, A. Gammerman, G. Shafer: Algorithmic Learning in a Random World (2005), ch. 2 (conformal p-values), §4.5
(Mondrian categories).
A. Siffer et al.: Anomaly Detection in Streams with Extreme Value Theory, KDD 2017 (peaks over threshold). We
fix the tail's shape to 0, exponential.

"""

from __future__ import annotations

import math

from detectors.compiler import kernel
from detectors.layout import (
    BEHAVIOUR_SIGNALS,
    EVIDENCES,
    FLOWING,
    FUSED_BINS,
    FUSED_COARSE,
    FUSED_OWN,
    FUSED_WIDTH,
    SCORE_BINS,
    SCORE_COARSE,
    SCORE_WIDTH,
    UNIT,
    VIEWS,
    Fleet,
    Row,
)
from detectors.tables import Table, shrink

TRADE_SHRINKAGE = 200.0 * UNIT
"""The fleet's p-value weighs like two hundred statistics of the agent's trade …"""
OWN_SHRINKAGE = 150.0 * UNIT
"""… and the trade's like a hundred and fifty of the agent's own."""
SIGNAL_SHRINKAGE = 50.0 * UNIT
"""The fleet's p-value of a signal weighs like fifty surprises of the agent's own."""
_NEW = EVIDENCES - len(VIEWS)  # the last kinds are those of new agents in the last views
_LOWERED = 0.5  # an agent that never reached as much halves its p-value at most; ours
_ENOUGH = 10 * UNIT  # exceedances below which the empirical tail is not trusted
_LEAST_EXCESS = 0.7  # nats; half of Fisher's sum has 0.5. Ours, between missed hijacks and false alerts
_FIT_EVERY = 64 * UNIT
_EXTRAPOLATION = 1000.0
"""The fitted tail is followed to a thousandth of what one value among all would be. Evidence is close to a log
likelihood ratio, whose tail is at most exponential: P(ln LR ≥ x) ≤ exp(-x) for benign actions (Markov)."""
_LIMIT_AGENT = 60_000
_LIMIT_FLEET = 40_000 * UNIT  # then halved: models mature and traffic drifts, and the calibration follows


@kernel
def score_bin(surprise: float) -> int:
    """Return the bin of a surprise."""
    return min(int(surprise / SCORE_WIDTH), SCORE_BINS - 1)


@kernel
def fused_bin(fused: float) -> int:
    """Return the bin of a statistic."""
    return int(min(fused / FUSED_WIDTH, FUSED_BINS - 1.0))


@kernel
def own_bin(fused: float) -> int:
    """Return the bin of a statistic in an agent's own, coarser histogram."""
    return min(fused_bin(fused) // FUSED_COARSE, FUSED_OWN - 1)


@kernel
def add(tails: Table, position: int, weight: int, limit: int, block: int) -> None:
    """Add a value to tail counts; when they pass `limit` all are halved, so that the old fades.

    Whole blocks are gone through, of a power of two that divides the number of bins: a block is one vector
    addition, and how many there are is easier to foresee than where the value lies.
    """
    for i in range((position | (block - 1)) + 1):
        tails[i] += weight if i <= position else 0
    if tails[0] > limit:
        shrink(tails, 1)


@kernel
def reached(tails: Table, fused: float) -> float:
    """Return the weight of the values at least as high, those in the same bin included."""
    return float(tails[fused_bin(fused)])


@kernel
def fit_tail(tails: Table, censored: float) -> float:
    """Return the mean excess above the highest percent (at least 20 values), for an exponential tail.

    The area under the tail counts over the number of values whose end was seen: `censored` of them went further than
    they are counted for. It is raised by its own standard error, and never below `_LEAST_EXCESS`:
    with little evidence the tail is taken to be heavier, p-values larger.
    """
    needed = max(20 * UNIT, int(tails[0]) // 100)
    area = 0.0
    position = FUSED_BINS - 1
    while position > 0 and tails[position] < needed:
        area += tails[position]
        position -= 1
    top = float(tails[position])
    seen = max(top - censored, 0.1 * top, float(UNIT))
    mean = FUSED_WIDTH * (area + 0.5 * top) / seen
    return float(max(mean, _LEAST_EXCESS) * (1.0 + math.sqrt(UNIT / max(top, 1.0))))


@kernel
def fleet_p(tails: Table, excess: float, fused: float) -> float:
    """Return the share of the fleet's values at least as high; where those are few, the tail's."""
    whole = tails[0] + float(UNIT)
    beyond = reached(tails, fused)
    if beyond >= _ENOUGH:
        return float((beyond + UNIT) / whole)
    position = fused_bin(fused)
    while position > 0 and tails[position] < _ENOUGH:
        position -= 1
    known = (tails[position] + float(UNIT)) / whole
    return float(
        max(
            known * math.exp(-(fused - position * FUSED_WIDTH) / max(excess, _LEAST_EXCESS)),
            UNIT / whole / _EXTRAPOLATION,
        )
    )


@kernel
def trade_of(row: Row, fleet: Fleet) -> int:
    """Return the agent's trade, -1 while it has none; a row may come from elsewhere and hold anything."""
    trade = int(row["trade"]) - 1
    return trade if trade < fleet.trades.shape[0] else -1


@kernel
def kind_of(view: int, is_new: bool) -> int:
    """Return which evidence an action is calibrated with.

    What is new to an agent depends on its age, so without flow those that are new are compared with each other.
    """
    return view + _NEW if is_new and view != FLOWING else view


@kernel
def view_behind(kind: int) -> int:
    """Return the view of a kind of evidence."""
    return kind if kind < len(VIEWS) else kind - _NEW


@kernel
def known_kind(fleet: Fleet, kind: int, enough: int) -> int:
    """Return the kind of evidence to judge by: this one, or a better known one while it is unknown.

    A view that knows as much or more can stand in for it: evidence is a log likelihood ratio, whatever it comes from.
    Were there none to, whoever leaves out task and sources would not be judged at all.
    """
    if fleet.fused[kind, 0] >= enough:
        return kind
    best = kind
    for other in range(EVIDENCES):
        if view_behind(other) <= view_behind(kind) and fleet.fused[other, 0] > fleet.fused[best, 0]:
            best = other
    return best


@kernel
def evidence_p(row: Row, fleet: Fleet, kind: int, fused: float) -> float:
    """Return the calibrated p-value of an action's evidence of a kind; a new agent has no history of its own."""
    excess = fleet.excess[kind, 0]
    p = fleet_p(fleet.fused[kind], excess, fused)
    trade = trade_of(row, fleet)
    if trade >= 0:
        peers = fleet.trades[trade, kind]
        p = (peers[0] * fleet_p(peers, excess, fused) + TRADE_SHRINKAGE * p) / (peers[0] + TRADE_SHRINKAGE)
    return own_p(row["fused"][kind], fused, p) if kind < len(VIEWS) else float(p)


@kernel
def own_p(own: Table, fused: float, p: float) -> float:
    """Return the peers' `p`, raised if the agent itself often reaches as much, lowered a little if it hardly does.

    It is the mean of a beta distribution whose prior is the peers' value. Lowered without bound, values would be too
    small where all agents are alike; never lowered, too large where they are not, as noisy agents' are raised.
    """
    mixed = (own[own_bin(fused)] + OWN_SHRINKAGE * p) / (own[0] + OWN_SHRINKAGE)
    return float(max(mixed, _LOWERED * p))


@kernel
def calibrate(row: Row, fleet: Fleet, out: Row) -> None:
    """Write each signal's p-value beside its surprise in `out`; what is missing stays NaN.

    It is the share of the fleet's surprises at least as high; of the signals of behaviour, of the agent's own, shrunk
    towards that.
    """
    surprise = out["surprise"]
    for k in range(surprise.shape[0]):
        if math.isnan(surprise[k]):
            continue
        tails = fleet.tails[k]
        position = score_bin(surprise[k])
        p = (tails[position] + float(UNIT)) / (tails[0] + float(UNIT))
        if k < BEHAVIOUR_SIGNALS:
            own = row["tails"][k]
            p = (own[position // SCORE_COARSE] + SIGNAL_SHRINKAGE * p) / (own[0] + SIGNAL_SHRINKAGE)
        out["signal_p"][k] = p


@kernel
def learn_scores(row: Row, fleet: Fleet, out: Row, weight: int, own: bool, peers: bool) -> None:
    """Add an action's surprises to the agent's own tails, to the fleet's, or to both."""
    surprise = out["surprise"]
    for k in range(surprise.shape[0]):
        if math.isnan(surprise[k]):
            continue
        position = score_bin(surprise[k])
        if own and k < BEHAVIOUR_SIGNALS:
            add(row["tails"][k], position // SCORE_COARSE, weight, _LIMIT_AGENT, 4)
        if peers:
            add(fleet.tails[k], position, weight, _LIMIT_FLEET, 8)


@kernel
def learn_evidence(
    row: Row, fleet: Fleet, kind: int, fused: float, weight: int, own: bool, peers: bool, is_censored: bool
) -> None:
    """Add an action's evidence to the agent's own calibration, to its peers', or to both; fit the tail now and then."""
    if own and kind < len(VIEWS):
        add(row["fused"][kind], own_bin(fused), weight, _LIMIT_AGENT, 8)
    if not peers:
        return
    tails = fleet.fused[kind]
    excess = fleet.excess[kind]
    before = int(tails[0])
    add(tails, fused_bin(fused), weight, _LIMIT_FLEET, 16)
    if is_censored:
        excess[1] += weight
    if int(tails[0]) < before:
        excess[1] *= 0.5
    if before // _FIT_EVERY != int(tails[0]) // _FIT_EVERY:
        excess[0] = fit_tail(tails, excess[1])
    trade = trade_of(row, fleet)
    if trade >= 0:
        add(fleet.trades[trade, kind], fused_bin(fused), weight, _LIMIT_FLEET, 16)
