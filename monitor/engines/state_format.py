"""Which states an engine can go on from."""

from __future__ import annotations

import hashlib

from detectors import STATE_VERSION
from monitor.config import Config

FORMAT = 5
"""Version of a checkpoint's state but for the models, which have their own. Raise it when any `dump` changes."""


def fingerprint(config: Config, seed: int) -> str:
    """Name whatever a state can be taken up under. Budgets and modes are not part: models outlive them."""
    detection = config.model_dump_json(include={"detection": {"river", "max_agents"}})
    return hashlib.sha256(f"{FORMAT}|{STATE_VERSION}|{seed}|{detection}".encode()).hexdigest()
