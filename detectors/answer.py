"""What is written down of each action for those who ask why: observed and usual quantities, surprises in nats."""

from __future__ import annotations

import math

from detectors.change import SAME
from detectors.compiler import kernel
from detectors.layout import BEHAVING, EXTERNAL, RATE, RHYTHM, SIZE, Row
from detectors.runaway import STEADY
from detectors.tables import Table

CALIBRATING = 0
"""The state of an action that nothing is said about yet."""
_TELLING = 0.05  # below this p-value a signal's usual level is looked up for the explanation


@kernel
def clear(out: Row) -> None:
    """Set an output to "nothing is known"."""
    out["p"] = math.nan
    out["threshold_p"] = math.nan
    out["fused"] = 0.0
    out["previous"] = 0
    out["flagged"] = False
    out["state"] = CALIBRATING
    out["runaway"] = STEADY
    out["change"] = SAME
    out["view"] = BEHAVING
    for k in range(out["surprise"].shape[0]):
        out["surprise"][k] = math.nan
        out["signal_p"][k] = math.nan
        out["observed"][k] = math.nan
        out["expected"][k] = math.nan
        out["seen"][k] = 0.0
        out["of"][k] = 0.0
        out["peer_seen"][k] = 0.0
        out["peer_of"][k] = 0.0
        out["arg"][k] = -1


@kernel
def mode(counts: Table) -> int:
    """Return the fullest bin."""
    best = 0
    for i in range(1, counts.shape[0]):
        if counts[i] > counts[best]:
            best = i
    return best


@kernel
def to_nats(out: Row) -> None:
    """Turn probabilities into surprises; what is missing stays NaN."""
    for k in range(EXTERNAL):
        out["surprise"][k] = -math.log(out["surprise"][k])


@kernel
def tell(row: Row, out: Row, size_chars: float, gap_s: float, level: float) -> None:
    """Write down observed and usual quantities, for the explanation."""
    out["observed"][SIZE] = size_chars
    out["observed"][RHYTHM] = gap_s
    out["observed"][RATE] = level
    if out["signal_p"][RHYTHM] <= _TELLING:
        out["expected"][RHYTHM] = 2.0 ** (mode(row["rhythm"]) - 1) / 1000.0
    if out["signal_p"][RATE] <= _TELLING:
        out["expected"][RATE] = 2.0 ** ((mode(row["pace"]) - 1) / 2.0)
