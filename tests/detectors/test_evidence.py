from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors import Bank, Features, Hasher, Settings, load_prior
from detectors.evidence import UNKNOWN, shares
from detectors.layout import (
    BEHAVING,
    BEHAVIOUR_SIGNALS,
    DECLARED,
    EXTERNAL,
    FLOW,
    FLOW_CODES,
    FLOWING,
    NOVELTY,
    SCORE_WIDTH,
    SIZE,
    SOURCE,
    STEP,
    TASK,
    TRANSITION,
)
from detectors.prior import SHIPPED, shipped_prior, weights_from

HASHER = Hasher(1)


def fields() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SHIPPED.read_text())
    return found


def action(
    flow: tuple[int, ...] = (), provenance: dict[str, str] | None = None, task: str | None = None
) -> Features:
    return HASHER.features(
        tool="send", args={"to": "x"}, ts_s=1e9, session="s", version=None, provenance=provenance, task=task,
        flow=flow,
    )  # fmt: skip


def codes(**named: int) -> tuple[int, ...]:
    return tuple(named.get(name, 0) for name in FLOW)


def evidence(flow: tuple[int, ...]) -> float:
    return float(Bank(Settings()).step([1], [action(flow=flow)]).fused[0])


def test_an_order_in_an_output_is_evidence_and_the_users_own_words_are_none() -> None:
    assert evidence(codes(told=2, echo_told=10, untied=3)) > evidence(codes()) + 2
    assert evidence(codes(asked=10, from_user=1)) <= evidence(codes())


def test_codes_beyond_the_last_count_as_the_last() -> None:
    last = tuple([FLOW_CODES - 1] * len(FLOW))
    assert evidence(tuple([200] * len(FLOW))) == evidence(last)


@pytest.mark.parametrize(
    ("known", "view"),
    [
        ({"flow": codes(told=2, echo_told=10, untied=3, age=1, step=2)}, FLOWING),
        ({"provenance": {"to": "user"}, "flow": (1,)}, DECLARED),
        ({"task": "send it"}, DECLARED),
        ({}, BEHAVING),
    ],
)
def test_the_evidence_is_that_of_known_and_of_unknown_kinds_of_attack(known: Any, view: int) -> None:
    weights = shipped_prior()
    bank = Bank(Settings())
    bank.step([1, 1], [action(), action()])
    taken = action(**known)
    scores = bank.step([1], [taken])
    surprise, signal_p = scores.surprise[0], scores.signal_p[0, :BEHAVIOUR_SIGNALS]
    bins = [0 if math.isnan(nats) else 1 + int(nats / SCORE_WIDTH) for nats in surprise]
    attack = sum(weights.learned[view, k, code] for k, code in enumerate(bins))
    attack += weights.kinds[view, 1 + int(scores.observed[0, NOVELTY])]
    attack += sum(weights.flow[view, k, code] for k, code in enumerate(taken.flow))
    if len(taken.flow) < len(FLOW):
        attack += weights.flow[view, STEP, 2]  # two actions before: the second octave
    there = ~np.isnan(signal_p)
    strange = float(np.sum(-0.5 * np.log(signal_p[there]) - math.log(2)))
    expected = weights.base[view] + np.logaddexp(
        math.log(1 - UNKNOWN[view]) + attack, math.log(UNKNOWN[view]) + strange
    )
    assert float(scores.fused[0]) == pytest.approx(max(expected, 0.0))


def test_the_shares_of_a_known_attack_are_those_of_its_weights() -> None:
    flow = codes(told=2, echo_told=10, untied=6, age=1)
    scores = Bank(Settings()).step([1], [action(flow=flow)])
    weights = shipped_prior()
    found = shares(
        scores.surprise[0, :EXTERNAL], scores.signal_p[0, :EXTERNAL], float(scores.observed[0, NOVELTY]),
        flow, FLOWING, weights,
    )  # fmt: skip
    told = weights.flow[FLOWING, FLOW.index("told")]
    assert found["told"] == pytest.approx(told[2] - told.min(), rel=0.05)
    assert max(found, key=lambda name: found[name]) in FLOW


def test_the_shares_of_strange_behaviour_are_those_of_its_p_values() -> None:
    surprise = np.full(EXTERNAL, np.nan)
    surprise[TRANSITION], surprise[SIZE] = 9.0, 11.0
    found = shares(surprise, np.full(EXTERNAL, 1e-6), math.nan, (), BEHAVING, shipped_prior())
    assert found["size"] == pytest.approx(-0.5 * math.log(1e-6), rel=0.3)
    assert found["size"] > found["task"]


def test_what_can_only_tell_more_never_weighs_less() -> None:
    weights = shipped_prior()
    assert (np.diff(weights.learned, axis=2) >= -1e-3).all()
    for name in ("told", "prose", "echo_told", "untied"):
        assert (np.diff(weights.flow[FLOWING, FLOW.index(name)]) >= -1e-3).all()


def test_a_view_weighs_only_what_it_knows() -> None:
    weights = shipped_prior()
    known = {FLOW.index("side_effect"), STEP}
    for view in (DECLARED, BEHAVING):
        assert set(np.flatnonzero(np.abs(weights.flow[view]).sum(axis=1))) <= known
    assert not weights.learned[BEHAVING, [SOURCE, TASK]].any()


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
        weights_from({**fields(), "declared": {**fields()["declared"], **change}})


def test_a_prior_without_a_view_is_refused() -> None:
    with pytest.raises(ValueError, match="behaviour is missing"):
        weights_from({name: value for name, value in fields().items() if name != "behaviour"})


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    file = tmp_path / "prior.json"
    file.write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        load_prior(file)
    with pytest.raises(ValueError, match="cannot be read"):
        load_prior(tmp_path / "missing.json")
