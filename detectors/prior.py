"""The weights of the signals: a prior that is shipped, because no site sees enough attacks to learn them.

They are fitted on labelled traces of other agents and written to `prior.json` by `benchmarks/fit_prior.py`.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.layout import FLOW, FLOW_CODES, NOVEL_KINDS, SCORE_BINS, SIGNALS, VIEWS

SHIPPED = Path(__file__).with_name("prior.json")


class Weights(NamedTuple):
    """Log likelihood ratios of an attack, in nats, for each of `layout.VIEWS`."""

    base: npt.NDArray[np.float64]
    """(VIEWS): puts actions that nothing speaks against near 0."""
    learned: npt.NDArray[np.float64]
    """(VIEWS, SIGNALS, 1 + SCORE_BINS): of each signal's surprise, missing or in bins."""
    kinds: npt.NDArray[np.float64]
    """(VIEWS, 1 + NOVEL_KINDS): of how new the newest value is; missing, known, known to peers, new to all."""
    flow: npt.NDArray[np.float64]
    """(VIEWS, FLOW, FLOW_CODES): of each number of the information flow that the view knows."""


def load_prior(path: Path) -> Weights:
    """Return the weights in a file that `benchmarks/fit_prior.py` wrote.

    Raises
    ------
    ValueError
        If it is not one, or one for other signals; the message names the field.

    """
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"prior: {path} cannot be read: {error}") from error
    return weights_from(fields)


@lru_cache(maxsize=1)
def shipped_prior() -> Weights:
    """Return the weights that come with this version."""
    return load_prior(SHIPPED)


def weights_from(fields: Any) -> Weights:
    """Return the weights that a prior's JSON describes; raises as `load_prior`."""
    views = [_view(_get(fields, name)) for name in VIEWS]
    return Weights(*(np.array(part, np.float64) for part in zip(*views, strict=True)))


def _view(fields: Any) -> tuple[float, list[list[float]], list[float], list[list[float]]]:
    learned = [_numbers(_get(fields, "learned"), name, 1 + SCORE_BINS) for name in SIGNALS]
    flow = [_numbers(_get(fields, "flow"), name, FLOW_CODES) for name in FLOW]
    return _numbers(fields, "base", 1)[0], learned, _numbers(fields, "kinds", 1 + NOVEL_KINDS), flow


def _get(fields: Any, name: str) -> Any:
    if not isinstance(fields, dict) or name not in fields:
        raise ValueError(f"prior: {name} is missing")
    return fields[name]


def _numbers(fields: Any, name: str, length: int) -> list[float]:
    numbers = _get(fields, name)
    is_list = isinstance(numbers, list) and len(numbers) == length
    if not is_list or not all(
        isinstance(number, int | float) and math.isfinite(number) for number in numbers
    ):
        raise ValueError(f"prior: {name} must be {length} numbers")
    return [float(number) for number in numbers]
