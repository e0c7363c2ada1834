"""Online models of what each agent normally does: pure numbers, no I/O."""

from detectors.bank import STATES, Bank, Calibration, Scores, warm_up
from detectors.explanation import Reason, Subject, explain
from detectors.features import MAX_ARGS, Features, Hasher
from detectors.settings import Settings

__all__ = [
    "MAX_ARGS",
    "STATES",
    "Bank",
    "Calibration",
    "Features",
    "Hasher",
    "Reason",
    "Scores",
    "Settings",
    "Subject",
    "explain",
    "warm_up",
]
