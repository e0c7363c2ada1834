from __future__ import annotations

from typing import Any

import pytest

from detectors import detector_by_name, numeric_features
from tests.detectors.streams import HASHER, benign, hijacked


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("river.anomaly.HalfSpaceTrees", {"n_trees": 3, "height": 3, "window_size": 10, "seed": 1}),
        ("river.anomaly.OneClassSVM", {"nu": 0.2}),
    ],
)
def test_a_named_detector_scores_our_actions(name: str, params: dict[str, Any]) -> None:
    model = detector_by_name(name, params)
    for _, action in benign(1, 2, 60):
        x = numeric_features(HASHER.features(**action))
        assert isinstance(model.score_one(x), int | float)
        model.learn_one(x)


@pytest.mark.parametrize(
    ("name", "params", "why"),
    [
        ("os.system", {}, "not inside River"),
        ("HalfSpaceTrees", {}, "not inside River"),
        ("riverbank.anomaly.X", {}, "not inside River"),
        ("river.anomaly.Nothing", {}, "River has no"),
        ("river.nowhere.X", {}, "River has no"),
        ("river.preprocessing.StandardScaler", {}, "not an anomaly detector"),
        ("river.base.AnomalyDetector", {}, "not an anomaly detector"),
        ("river.anomaly.GaussianScorer", {}, "not an anomaly detector"),
        ("river.anomaly.HalfSpaceTrees", {"trees": 3}, "trees"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_reason(name: str, params: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        detector_by_name(name, params)


def test_numbers_lie_in_the_unit_interval_under_constant_keys() -> None:
    keys = set(numeric_features(HASHER.features(**hijacked(1e9, "s"))))
    for ts_s in (-5.0, float("nan"), float("inf"), 1e300):
        features = HASHER.features(tool="t", args={}, ts_s=ts_s, session=None, version=None, provenance=None)
        x = numeric_features(features)
        assert set(x) == keys
        assert all(0.0 <= value <= 1.0 for value in x.values())


def test_equal_actions_are_equal_points_and_a_changed_value_moves_one() -> None:
    one = HASHER.features(**hijacked(1e9, "s"))
    other = HASHER.features(**(hijacked(1e9, "s") | {"args": {"to": "bob", "body": "y" * 3000}}))
    assert numeric_features(one) == numeric_features(one)
    assert numeric_features(one)["values"] != numeric_features(other)["values"]
