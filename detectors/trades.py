"""Which agents are of one trade: those that use much the same tools.

Agents of a trade are compared with each other before they are compared with everybody: following a stranger's letter
is daily work for one trade and unheard of in another. Trades are found online, by leaders: an agent joins the trade
whose mean profile of tools is most like its own, or founds a new one. It is looked at again whenever it has learned
twice as much.

References
----------
J. A. Hartigan: Clustering Algorithms (1975), ch. 3, the leader algorithm. We let leaders be means that move.

"""

from __future__ import annotations

import math

from detectors.compiler import kernel, routine
from detectors.layout import PROFILE, Fleet, Row
from detectors.tables import Table, shrink

LIKE = 0.3
"""Cosine of two profiles from which on agents are of one trade; ours, chosen on recorded agents."""
_FIRST = 32
_LIMIT = 250


@kernel
def cosine(profile: Table, centroid: Table) -> float:
    """Return how alike two profiles are, 0 to 1; 0 if one is empty."""
    both = own = other = 0.0
    for i in range(PROFILE):
        both += float(profile[i]) * centroid[i]
        own += float(profile[i]) * float(profile[i])
        other += centroid[i] * centroid[i]
    return both / math.sqrt(own * other) if own > 0.0 and other > 0.0 else 0.0


@routine
def join_trade(row: Row, fleet: Fleet) -> None:
    """Let an agent join the trade that it is most like; the most like of all once there are as many as can be."""
    profile = row["profile"]
    best = 0
    likest = -1.0
    for trade in range(fleet.centroids.shape[0]):
        if fleet.centroids[trade].sum() == 0.0:
            if likest < LIKE:
                best = trade
            break
        like = cosine(profile, fleet.centroids[trade])
        if like > likest:
            best = trade
            likest = like
    row["trade"] = best + 1
    whole = 0.0
    for i in range(PROFILE):
        whole += float(profile[i]) * float(profile[i])
    whole = math.sqrt(whole)
    for i in range(PROFILE):
        fleet.centroids[best, i] += float(profile[i]) / whole


@kernel
def learn_trade_of(row: Row, fleet: Fleet, tool: int) -> None:
    """Count a tool of the agent; look for its trade when it has learned twice as much as the last time."""
    profile = row["profile"]
    profile[tool % PROFILE] += 1
    if profile[tool % PROFILE] > _LIMIT:
        shrink(profile, 1)
    learned = int(row["learned"])
    if learned >= _FIRST and (learned & (learned - 1)) == 0:
        join_trade(row, fleet)
