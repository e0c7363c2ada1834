"""Is what was promised what came? False alerts by calibrated p-values, against the rate that a p-value promises. Pure.

A p-value of at most α promises a false alert in a share of α of the benign actions. `realised` divides the share that
came by α: 1 keeps the promise, more breaks it. Only actions whose model was calibrated take part.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.detect_figures import Floats

ALPHAS: Final = (1e-3, 1e-2)
MONTH_S: Final = 30 * 86_400.0
WORST: Final = 0.1
"""The share of the agents that the worst are."""


def realised(
    p: Floats, benign: npt.NDArray[np.bool_], agents: npt.NDArray[np.int64], ts_s: Floats
) -> dict[str, Any]:
    """Return for each α the realised over the promised rate: overall, month by month, and for the worst tenth.

    Parameters
    ----------
    p
        (n) p-values, NaN while calibrating.
    benign
        (n) which actions count.
    agents
        (n) a number for each action's agent. The worst tenth are those with the highest realised rates, at least one.
    ts_s
        (n) time of each action; months are 30 days from the first one on.
    """
    counts = benign & ~np.isnan(p)
    months = ((ts_s - ts_s.min()) // MONTH_S).astype(np.int64) if len(ts_s) else np.zeros(0, np.int64)
    return {
        "benign_calibrated": int(counts.sum()),
        "benign": int(benign.sum()),
        **{
            f"{alpha:g}": _ratios(p[counts] <= alpha, agents[counts], months[counts], alpha)
            for alpha in ALPHAS
        },
    }


def _ratios(
    alerted: npt.NDArray[np.bool_], agents: npt.NDArray[np.int64], months: npt.NDArray[np.int64], alpha: float
) -> dict[str, Any]:
    actions, alerts = np.bincount(agents), np.bincount(agents, weights=alerted)
    known = np.flatnonzero(actions)
    worst = known[np.argsort(-alerts[known] / actions[known], kind="stable")]
    worst = worst[: math.ceil(WORST * len(known))]
    return {
        "alerts": int(alerted.sum()),
        "overall": _ratio(alerted, alpha),
        "months": [_ratio(alerted[months == month], alpha) for month in range(months.max(initial=-1) + 1)],
        "worst_tenth_of_agents": _ratio(alerted[np.isin(agents, worst)], alpha),
    }


def _ratio(alerted: npt.NDArray[np.bool_], alpha: float) -> float | None:
    return round(float(alerted.mean() / alpha), 3) if len(alerted) else None
