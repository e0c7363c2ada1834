from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors import Bank, Features, Hasher, Settings, load_prior
from detectors.evidence import SHIPPED, shares, shipped_prior, weights_from
from detectors.layout import EXTERNAL, FLOW, FLOW_CODES

HASHER = Hasher(1)


def fields() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SHIPPED.read_text())
    return found


def action(flow: tuple[int, ...] = ()) -> Features:
    return HASHER.features(
        tool="send", args={"to": "x"}, ts_s=1e9, session="s", version=None, provenance=None, flow=flow
    )


def codes(**named: int) -> tuple[int, ...]:
    return tuple(named.get(name, 0) for name in FLOW)


def evidence(flow: tuple[int, ...]) -> float:
    return float(Bank(Settings()).step([1], [action(flow)]).fused[0])


def test_an_order_in_an_output_is_evidence_and_the_users_own_words_are_none() -> None:
    assert evidence(codes(told=2, echo_told=10, untied=3)) > evidence(codes()) + 2
    assert evidence(codes(asked=10, from_user=1)) <= evidence(codes())


def test_codes_beyond_the_last_count_as_the_last() -> None:
    last = tuple([FLOW_CODES - 1] * len(FLOW))
    assert evidence(tuple([200] * len(FLOW))) == evidence(last)


def test_the_shares_add_up_to_the_evidence() -> None:
    flow = codes(told=2, echo_told=10, untied=3, age=1)
    scores = Bank(Settings()).step([1], [action(flow)])
    weights = shipped_prior()
    found = shares(
        scores.surprise[0, :EXTERNAL],
        scores.signal_p[0, :EXTERNAL],
        float(scores.observed[0, 1]),
        flow,
        weights,
    )
    least = (
        weights.base[0]
        + weights.kinds.min()
        + weights.learned.min(axis=1).sum()
        + weights.flow.min(axis=1).sum()
    )
    assert sum(found.values()) + least == pytest.approx(float(scores.fused[0]))


def test_what_can_only_tell_more_never_weighs_less() -> None:
    weights = shipped_prior()
    assert (np.diff(weights.learned, axis=1) >= -1e-3).all()
    for name in ("told", "prose", "echo_told", "untied"):
        assert (np.diff(weights.flow[FLOW.index(name)]) >= -1e-3).all()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"base": None}, "base"),
        ({"kinds": [1.0]}, "kinds"),
        ({"learned": {}}, "transition"),
        ({"flow": {name: [0.0] for name in FLOW}}, "side_effect"),
        ({"kinds": [0.0, 0.0, float("nan"), 0.0]}, "kinds"),
    ],
)
def test_a_prior_that_does_not_fit_is_refused_by_the_name_of_its_field(change: Any, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        weights_from({**fields(), **change})


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    file = tmp_path / "prior.json"
    file.write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        load_prior(file)
    with pytest.raises(ValueError, match="cannot be read"):
        load_prior(tmp_path / "missing.json")
