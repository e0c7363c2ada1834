"""How the models lie in memory: one fixed row of bytes per agent, and one set of larger tables for the fleet.

A row is one element of a structured array: a model is exported, spilled or check-pointed as the bytes it is,
and one agent's action touches one run of memory. Counts are fixed-point: one action is `UNIT`, so that a weak
lesson (a quarter of an action) is an integer too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.void]
Row = Any  # one element of Rows: np.void in Python, a record pointer in compiled code

TRANSITION, NOVELTY, SOURCE, SIZE, RHYTHM, RATE, TOOL, TASK = range(8)
SIGNALS = ("transition", "novelty", "source", "size", "rhythm", "rate", "tool", "task")
EXTERNAL = len(SIGNALS)
"""Index of the first external signal."""
BEHAVIOUR_SIGNALS = 4
"""So many of them, the first ones, make the evidence of attacks of unknown kinds. Haste is none: whoever runs away has
an alert of its own kind (`runaway.py`)."""

FLOW = (
    "side_effect",
    "untied",
    "from_user",
    "from_tools",
    "from_model",
    "seen",
    "told",
    "near",
    "prose",
    "age",
    "foreign",
    "echo_told",
    "echo",
    "asked",
    "orders",
    "step",
    "repeats",
    "new_tool",
)
"""Numbers of an action's information flow, 0 to 15 each (`Features.flow`); whoever sees the outputs computes them."""
STEP = FLOW.index("step")
FLOW_CODES = 16
FLOW_UNKNOWN = 255
MAX_EXTERNALS = 3
"""Bounded by the 4 KiB that an agent may cost."""

UNIT = 4
WAYS = 8

PAIR_SETS = 32  # 256 (context, outcome) counts: transitions, sources, sizes
SLOT_SETS = 8  # 64 (tool, argument) contexts with their three kinds of novelty
VALUE_SETS = 32  # 256 argument values known to the agent
GAP_BINS = 32  # log2 of milliseconds: 1 ms to 24 days
RATE_BINS = 32  # half octaves of the decayed count: 1 to 46,000 actions a minute
HOURS = 24  # of the day, UTC
SCORE_BINS = 24
SCORE_WIDTH = 0.5  # nats a bin: surprises up to 12 nats (6 in a million) are told apart
SCORE_COARSE = 2  # an agent's own tails of its behaviour's signals are twice coarser than the fleet's
SCORE_OWN = SCORE_BINS // SCORE_COARSE
FUSED_BINS = 240
FUSED_WIDTH = 0.125
FUSED_COARSE = 4  # an agent's own histogram of a statistic is four times coarser than the fleet's …
FUSED_OWN = 32  # … and ends at 16 nats
PROFILE = 64  # tools of an agent, hashed: what its trade is told by
TRADES = 32
PENDING = 6  # flagged actions whose context waits for a verdict
SESSIONS = 4
VERSIONS = 4

FLOWING, DECLARED, BEHAVING = range(3)
VIEWS = ("flow", "declared", "behaviour")
"""How much is known of an action: its information flow; the task or where values came from; only what is done. Each
view has weights of its own."""
EVIDENCES = 5
"""Kinds of evidence, each with a calibration of its own: one a view, and two more for agents of the views without flow
to whom everything is new because they are."""

NOVEL_KINDS = 3  # known to the agent, known only to peers, new to all
STATE_VERSION = 5
"""Raised with every change that makes stored models mean something else; exported rows carry it."""


def row_dtype(externals: int) -> np.dtype[np.void]:
    """Return the type of one agent's row.

    Parameters
    ----------
    externals
        Columns of foreign detectors' scores, 0 ≤ externals ≤ `MAX_EXTERNALS`.

    """
    slots = max(externals, 1)  # an empty nested array is not compiled
    fields = [
        ("last_ts_s", np.float64),
        ("span_s", np.float64),
        ("rate", np.float64),
        ("credit", np.float64),
        ("peak_before", np.float64),
        ("peak_now", np.float64),
        ("window_s", np.float64),
        ("acted", np.int64),
        ("learned", np.int64),
        ("recalibrating", np.int64),
        ("external_mean", np.float64, (slots,)),
        ("external_var", np.float64, (slots,)),
        ("external_seen", np.float64, (slots,)),
        ("session_tools", np.uint64, (SESSIONS,)),
        ("pair_keys", np.uint32, (PAIR_SETS, WAYS)),
        ("slot_keys", np.uint32, (SLOT_SETS, WAYS)),
        ("values", np.uint32, (VALUE_SETS, WAYS)),
        ("sessions", np.uint32, (SESSIONS,)),
        ("versions", np.uint32, (VERSIONS,)),
        ("pending", np.uint32, (PENDING,)),
        ("pending_tools", np.uint32, (PENDING,)),
        ("pair_counts", np.uint16, (PAIR_SETS, WAYS)),
        ("slot_counts", np.uint16, (SLOT_SETS, WAYS, NOVEL_KINDS)),
        ("rhythm", np.uint16, (GAP_BINS,)),
        ("pace", np.uint16, (RATE_BINS,)),
        ("hours", np.uint16, (HOURS,)),
        ("capital", np.uint16, (BEHAVIOUR_SIGNALS,)),
        ("looked_day", np.uint16),
        ("profile", np.uint8, (PROFILE,)),
        ("baseline", np.uint8, (PROFILE,)),
        ("tails", np.uint16, (BEHAVIOUR_SIGNALS, SCORE_OWN)),
        ("fused", np.uint16, (len(VIEWS), FUSED_OWN)),
        ("pending_bins", np.uint8, (PENDING, 2)),
        ("suspicion", np.uint8, (SESSIONS,)),
        ("session_steps", np.uint8, (SESSIONS,)),
        ("trade", np.uint8),
        ("moved", np.uint8),
        ("looks", np.uint8),
    ]
    # Larger fields come first, so all are aligned. What is left to the next multiple of eight gets a name: unnamed
    # padding is not copied, and equal models would differ in their bytes.
    spare = -np.dtype(fields).itemsize % 8
    return np.dtype([*fields, ("spare", np.uint8, (spare,))] if spare else fields, align=True)


class Fleet(NamedTuple):
    """What all agents together have done: the prior of each agent's model. About 1.5 MB, fixed.

    The fields mirror those of a row; counts have 32 bits.
    """

    pair_keys: npt.NDArray[np.uint32]
    pair_counts: npt.NDArray[np.uint32]
    slot_keys: npt.NDArray[np.uint32]
    slot_counts: npt.NDArray[np.uint32]
    values: npt.NDArray[np.uint32]
    word_keys: npt.NDArray[np.uint32]
    """Words of tasks, and words with tools."""
    word_counts: npt.NDArray[np.uint32]
    rhythm: npt.NDArray[np.uint32]
    pace: npt.NDArray[np.uint32]
    tails: npt.NDArray[np.uint32]
    fused: npt.NDArray[np.uint32]
    """(EVIDENCES, FUSED_BINS) tail counts of the evidence."""
    excess: npt.NDArray[np.float64]
    """(EVIDENCES, 2) mean excess above the highest percent, in nats; weight of what counts as less than it was."""
    trades: npt.NDArray[np.uint32]
    """(trades, EVIDENCES, FUSED_BINS) tail counts of the evidence."""
    centroids: npt.NDArray[np.float64]
    """(trades, PROFILE) sums of the profiles of each trade's agents."""


def new_fleet(externals: int, *, sets: int = 4096, trades: int = TRADES) -> Fleet:
    """Return empty fleet tables.

    Parameters
    ----------
    externals
        As for `row_dtype`.
    sets
        Sets of eight (context, outcome) counts; the other tables scale with it.
    trades
        How many trades of agents are told apart, 1 to 255.

    """
    u4 = np.uint32
    return Fleet(
        pair_keys=np.zeros((sets, WAYS), u4),
        pair_counts=np.zeros((sets, WAYS), u4),
        slot_keys=np.zeros((sets // 4, WAYS), u4),
        slot_counts=np.zeros((sets // 4, WAYS, NOVEL_KINDS), u4),
        values=np.zeros((sets * 4, WAYS), u4),
        word_keys=np.zeros((sets * 2, WAYS), u4),
        word_counts=np.zeros((sets * 2, WAYS), u4),
        rhythm=np.zeros(GAP_BINS, u4),
        pace=np.zeros(RATE_BINS, u4),
        tails=np.zeros((EXTERNAL + externals, SCORE_BINS), u4),
        fused=np.zeros((EVIDENCES, FUSED_BINS), u4),
        excess=np.array([[1.0, 0.0]] * EVIDENCES),
        trades=np.zeros((trades, EVIDENCES, FUSED_BINS), u4),
        centroids=np.zeros((trades, PROFILE), np.float64),
    )


def output_dtype(externals: int) -> np.dtype[np.void]:
    """Return the type of what the kernel says about one action; `Scores` documents the fields."""
    signals = EXTERNAL + externals
    return np.dtype(
        [
            ("p", np.float64),
            ("threshold_p", np.float64),
            ("fused", np.float64),
            ("surprise", np.float64, (signals,)),
            ("signal_p", np.float64, (signals,)),
            ("observed", np.float64, (signals,)),
            ("expected", np.float64, (signals,)),
            ("seen", np.float64, (signals,)),
            ("of", np.float64, (signals,)),
            ("peer_seen", np.float64, (signals,)),
            ("peer_of", np.float64, (signals,)),
            ("previous", np.uint64),
            ("flagged", np.bool_),
            ("state", np.uint8),
            ("runaway", np.uint8),
            ("change", np.uint8),
            ("view", np.uint8),
            ("arg", np.int8, (signals,)),
        ],
        align=True,
    )
