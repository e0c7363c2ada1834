"""What the models answer: scores of actions, and how far an agent's model is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

STATES = ("calibrating", "recalibrating", "calibrated", "borrowed")
"""Names of `Scores.state`'s codes."""

RUNAWAY = ("", "haste", "odd_hour")
"""Names of `Scores.runaway`'s codes."""

CHANGES = ("", "changed", "changed_unjudged", "moved")
"""Names of `Scores.change`'s codes."""

_Floats = npt.NDArray[np.float64]


class Scores(NamedTuple):
    """What the models say about n actions.

    K is the number of signals: those of `layout.SIGNALS` in their order, then the external ones. All counts
    are in actions (a weak lesson is a quarter), as they were before the action itself was learned.
    """

    p: _Floats
    """(n) calibrated p-value in (0, 1]: the share of normal actions at least as strange. NaN while
    calibrating."""
    flagged: npt.NDArray[np.bool_]
    """(n) whether `p <= threshold_p`. Never while calibrating."""
    state: npt.NDArray[np.uint8]
    """(n) index into `STATES`."""
    threshold_p: _Floats
    """(n) the p-value that the alert budget allowed at that moment."""
    fused: _Floats
    """(n) evidence of an attack, nats from 0: the sum of the signals' weights (`detectors.evidence`)."""
    runaway: npt.NDArray[np.uint8]
    """(n) index into `RUNAWAY`: whether the agent runs away, which is no evidence of a hijack."""
    change: npt.NDArray[np.uint8]
    """(n) index into `CHANGES`: whether the agent has changed with this action (`detectors.change`)."""
    view: npt.NDArray[np.uint8]
    """(n) index into `layout.VIEWS`: how much was known of the action when its evidence was weighed."""
    surprise: _Floats
    """(n, K) nats; NaN if the signal was missing. External: standard deviations above the mean, 0 to 11.9."""
    signal_p: _Floats
    """(n, K) p-value of each signal alone; NaN if missing."""
    arg: npt.NDArray[np.int8]
    """(n, K) index of the argument that a signal is about; -1 if it is about none."""
    seen: _Floats
    """(n, K) how often the agent did this in this context …"""
    of: _Floats
    """(n, K) … of how often it was in the context."""
    peer_seen: _Floats
    """(n, K) the same for the whole fleet, this agent included."""
    peer_of: _Floats
    observed: _Floats
    """(n, K) novelty: 0 known, 1 known only to peers, 2 new to all; size: characters; rhythm: seconds since
    the agent's previous action; rate: decayed count of actions per minute; external: the score. NaN
    otherwise."""
    expected: _Floats
    """(n, K) usual value of rhythm and rate where they stand out; external: the mean. NaN otherwise."""
    previous: npt.NDArray[np.uint64]
    """(n) hash of the session's previous tool, as in `Features.tool`; 0 if there was none."""


class Calibration(NamedTuple):
    """How far an agent's model is."""

    state: str
    """One of `STATES`."""
    seen: int
    """Actions that have taught the model."""
    needed: int
    """Further actions before it can flag: of its own, or, when those suffice, of the fleet's; 0 when
    calibrated."""
