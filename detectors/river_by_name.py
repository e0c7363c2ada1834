"""Any anomaly detector of River's, named in a configuration file, beside ours."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from detectors.features import MAX_ARGS, Features

if TYPE_CHECKING:
    from river.base import AnomalyDetector

_HASHES = float(1 << 64)
_DAY_S = 86_400.0
_MASK = (1 << 64) - 1


def detector_by_name(name: str, params: Mapping[str, Any] | None = None) -> AnomalyDetector:
    """Return a new River anomaly detector.

    Parameters
    ----------
    name
        Dotted, inside River: ``river.anomaly.HalfSpaceTrees``. Other packages are refused: a configuration
        file must not be a way to run code.
    params
        Keyword arguments of its constructor.

    Returns
    -------
    An estimator with ``score_one(x)`` and ``learn_one(x)``.

    Raises
    ------
    ValueError
        If there is no such detector, it needs labels, or the parameters do not fit; the message says which.

    Examples
    --------
    >>> detector_by_name("river.anomaly.HalfSpaceTrees", {"n_trees": 5, "seed": 1}).n_trees
    5

    """
    from river.base import AnomalyDetector

    module_name, _, class_name = name.rpartition(".")
    if module_name.split(".")[0] != "river":
        raise ValueError(f"{name!r} is not inside River; write for example 'river.anomaly.HalfSpaceTrees'")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"River has no {name!r}") from error
    if not (inspect.isclass(found) and issubclass(found, AnomalyDetector)) or inspect.isabstract(found):
        raise ValueError(f"{name!r} is not an anomaly detector with score_one(x) and learn_one(x)")
    try:
        return found(**(params or {}))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} does not accept these parameters: {error}") from error


def numeric_features(features: Features) -> dict[str, float]:
    """Return an action as numbers in [0, 1], as River's detectors want it: always the same keys.

    Hashes become points of the unit interval: equal texts meet, and what lies between them means nothing.
    Cost: about 2 µs.
    """
    names = values = sources = known = 0
    for name, value, source in features.args:
        names ^= name
        values ^= name * 3 + value & _MASK
        sources ^= name * 5 + source & _MASK
        known += source != 0
    count = len(features.args)
    return {
        "tool": features.tool / _HASHES,
        "args": count / MAX_ARGS,
        "names": names / _HASHES,
        "values": values / _HASHES,
        "sources": sources / _HASHES,
        "sourced": known / count if count else 0.0,
        "size": min(features.size_chars.bit_length(), 24) / 24,
        "hour": features.ts_s % _DAY_S / _DAY_S if abs(features.ts_s) < 1e15 else 0.0,
    }
