"""Agents that have changed: all at once, or little by little in one direction. No evidence of a hijack by itself.

*All at once*: a detector that bets against "it behaves as before". With each bet on a signal of behaviour its capital
is multiplied by 1 + b (1 - 2p), where p is the action's place among the agent's own past surprises. The capital's CUSUM
is an e-detector, and so is the mean over the signals, however they depend on each other: on average it takes `CAPITAL`
bets or more until it speaks without cause. No single action can win much, so an odd action or two, which the alerts are
for, are no change. Actions of one session are alike, so there is one bet a session, on its first, second, fourth or
eighth action as its name will have it. What is found is a change point: the model is softened as for a new version. Not
so while flagged actions wait for a verdict, or whoever took an agent over could have its model forget what is normal;
then people are told, and their verdicts teach.

*In one direction*: who moves an agent's baseline in small steps never leaves it, so no step is strange. But the mix of
tools gets further and further from what it once was. It is looked at once a day, as Hellinger's distance from a
baseline that does not move along; what goes back and forth does not count.

References
----------
J. Shin, A. Ramdas, A. Rinaldo: E-detectors: a nonparametric framework for sequential change detection, New England
Journal of Statistics in Data Science 2 (2024). V. Vovk et al.: Retrain or not retrain: conformal test martingales for
change-point detection, COPA 2021, for the bets. V. Vovk, R. Wang: E-values: Calibration, combination and applications,
Annals of Statistics 49 (2021), for means of e-values.

"""

from __future__ import annotations

import math

from detectors.calibration import score_bin
from detectors.compiler import kernel, routine
from detectors.layout import (
    BEHAVIOUR_SIGNALS,
    PENDING,
    PROFILE,
    SCORE_COARSE,
    SCORE_OWN,
    UNIT,
    Row,
)
from detectors.tables import Table, shrink

SAME, CHANGED, CHANGED_UNJUDGED, MOVED = range(4)
"""What `change` answers."""

STAKE = 0.5
"""Share of the capital that is bet; a bet wins or loses at most so much."""
CAPITAL = 1e6
"""Average number of bets until a false alarm, at least, as long as an agent's sessions are exchangeable."""
LOOKS = 4
"""So many daily looks must each find the mix of tools further away …"""
STEP = 2
"""… by so many hundredths …"""
FAR = 35
"""… and so many in all from its baseline; ours."""
NEVER = 0
"""The day of an agent's latest look before there was one."""
_SOFTER = 3  # what was learned keeps an eighth of its weight
_FORGOTTEN = 16
_LONG = 128  # actions from which on a session is taken to be without end …
_EVERY = 32  # … where every so many-th action is bet on
_KNOWN = 50 * UNIT  # surprises of its own that an agent needs before anything is bet
_MOST_CAPITAL = 0xFFFF
_DAY_S = 86_400.0
_DAYS = 0xFFFF


@routine
def soften(row: Row, actions: int) -> None:
    """Take a change point: what was learned weighs less, old scores nothing, for so many actions the agent is new."""
    row["recalibrating"] = actions
    shrink(row["pair_counts"], _SOFTER)
    shrink(row["slot_counts"], _SOFTER)
    shrink(row["rhythm"], _SOFTER)
    shrink(row["pace"], _SOFTER)
    shrink(row["profile"], _SOFTER)
    # Old scores say nothing about what comes now: begin again from the peers'.
    shrink(row["tails"], _FORGOTTEN)
    shrink(row["fused"], _FORGOTTEN)


@kernel
def is_bet(session: int, steps: int, endless: bool, acted: int) -> bool:
    """Return whether to bet on an action: the `steps`-th of its session, the `acted`-th of its agent."""
    return acted % _EVERY == 0 if endless or steps > _LONG else steps == 1 << (session & 3)


@kernel
def middle(tails: Table, position: int) -> float:
    """Return the share of past surprises above a bin and half of those in it: 1/2 on average, ties or not."""
    beyond = float(tails[position + 1]) if position + 1 < SCORE_OWN else 0.0
    return 0.5 * (float(tails[position]) + beyond) / float(tails[0])


@kernel
def bet(row: Row, out: Row) -> bool:
    """Bet on each signal of an action; return whether the capital says that the agent has changed, and begin anew then.

    Capitals are kept as logarithms, in thousandths.
    """
    whole = 0.0
    for k in range(BEHAVIOUR_SIGNALS):
        tails = row["tails"][k]
        if not math.isnan(out["surprise"][k]) and tails[0] >= _KNOWN:
            p = middle(tails, score_bin(out["surprise"][k]) // SCORE_COARSE)
            won = math.log1p(STAKE * (1.0 - 2.0 * p))
            capital = int(row["capital"][k]) + math.floor(1000.0 * won + 0.5)
            row["capital"][k] = min(
                max(0, capital), _MOST_CAPITAL
            )  # a row may come from elsewhere and hold anything
        whole += math.exp(0.001 * row["capital"][k]) / BEHAVIOUR_SIGNALS
    if whole < CAPITAL:
        return False
    for k in range(BEHAVIOUR_SIGNALS):
        row["capital"][k] = 0
    return True


@routine
def look(row: Row, ts_s: float) -> bool:
    """Look once a day whether the mix of tools goes on moving away; return whether it has come far."""
    day = int(ts_s / _DAY_S) & _DAYS
    if row["looked_day"] == day:
        return False
    if row["looked_day"] == NEVER:
        rest(row, day)
        return False
    row["looked_day"] = day
    far = int(100.0 * distance(row["profile"], row["baseline"]))
    moved = int(row["moved"])
    if far >= moved + STEP:
        row["moved"] = far
        row["looks"] = min(int(row["looks"]) + 1, LOOKS)
    elif 2 * far < moved:
        row["moved"] = far
        row["looks"] = 0
    if row["looks"] < LOOKS or far < FAR:
        return False
    rest(row, day)
    return True


@kernel
def rest(row: Row, day: int) -> None:
    """Take the present mix of tools for the baseline."""
    row["looked_day"] = day
    row["moved"] = 0
    row["looks"] = 0
    for i in range(PROFILE):
        row["baseline"][i] = row["profile"][i]


@kernel
def distance(profile: Table, baseline: Table) -> float:
    """Return Hellinger's distance of two mixes of tools, 0 to 1."""
    both = own = other = 0.0
    for i in range(PROFILE):
        both += math.sqrt(float(profile[i]) * float(baseline[i]))
        own += float(profile[i])
        other += float(baseline[i])
    return math.sqrt(max(0.0, 1.0 - both / math.sqrt(own * other))) if own > 0.0 and other > 0.0 else 0.0


@kernel
def is_waiting(row: Row) -> bool:
    """Return whether flagged actions of the agent wait for a verdict."""
    found = False
    for i in range(PENDING):
        found = found or row["pending"][i] != 0
    return found


@kernel
def change(
    row: Row, out: Row, session: int, steps: int, endless: bool, ts_s: float, recalibration: int
) -> int:
    """Return whether and how the agent has changed with this action; the model is softened at a change point.

    Parameters
    ----------
    steps
        Actions that its session has taken, this one included.
    endless
        Whether that session is all that the agent does.
    recalibration
        Actions that an agent counts as recalibrating after a change point.

    """
    if is_bet(session, steps, endless, int(row["acted"])) and bet(row, out):
        if is_waiting(row):
            return CHANGED_UNJUDGED
        soften(row, recalibration)
        return CHANGED
    return MOVED if math.isfinite(ts_s) and look(row, ts_s) else SAME
