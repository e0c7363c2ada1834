"""Online models of what each agent normally does: pure numbers, no I/O."""

from detectors.bank import Bank, warm_up
from detectors.explanation import Reason, Subject, change_reason, explain, runaway_reason
from detectors.features import MAX_ARGS, Features, Hasher
from detectors.layout import STATE_VERSION
from detectors.prior import Weights, load_prior
from detectors.river_by_name import detector_by_name, numeric_features
from detectors.scores import CHANGES, RUNAWAY, STATES, Calibration, Scores
from detectors.settings import Settings
from detectors.spill import MemorySpill, Spill

__all__ = [
    "CHANGES",
    "MAX_ARGS",
    "RUNAWAY",
    "STATES",
    "STATE_VERSION",
    "Bank",
    "Calibration",
    "Features",
    "Hasher",
    "MemorySpill",
    "Reason",
    "Scores",
    "Settings",
    "Spill",
    "Subject",
    "Weights",
    "change_reason",
    "detector_by_name",
    "explain",
    "load_prior",
    "numeric_features",
    "runaway_reason",
    "warm_up",
]
