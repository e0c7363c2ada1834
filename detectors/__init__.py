"""Online models of what each agent normally does: pure numbers, no I/O."""

from detectors.bank import Bank, warm_up
from detectors.explanation import Reason, Subject, explain
from detectors.features import MAX_ARGS, Features, Hasher
from detectors.layout import STATE_VERSION
from detectors.river_by_name import detector_by_name, numeric_features
from detectors.scores import STATES, Calibration, Scores
from detectors.settings import Settings

__all__ = [
    "MAX_ARGS",
    "STATES",
    "STATE_VERSION",
    "Bank",
    "Calibration",
    "Features",
    "Hasher",
    "Reason",
    "Scores",
    "Settings",
    "Subject",
    "detector_by_name",
    "explain",
    "numeric_features",
    "warm_up",
]
