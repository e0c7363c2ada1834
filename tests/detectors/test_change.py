"""Agents that change: which changes are found, how soon, and what is none."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from detectors import CHANGES, STATES, Bank, Features, Settings, change_reason
from detectors.change import distance
from detectors.layout import PROFILE
from tests.detectors.streams import DAY_S, HASHER, benign, hijacked, numbers, steps

CHANGES_AT = 2500
AGENT = 1


def changing(how: str, sessions: bool = True) -> tuple[list[Features], Bank]:
    """Return what agent 1 does, unlike before from `CHANGES_AT` on, and the bank that has seen the others."""
    ours, rest = [], []
    for agent, action in benign(5, 8, 48_000):
        if agent != AGENT:
            rest.append((agent, action))
            continue
        session = action["session"] if sessions else None
        is_new = len(ours) >= CHANGES_AT
        ours.append({**action, "session": session, **(_other(how, action, len(ours)) if is_new else {})})
    bank = Bank(Settings())
    steps(bank, *numbers(iter(rest)))
    return [HASHER.features(**action) for action in ours], bank


def _other(how: str, action: dict[str, Any], number: int) -> dict[str, Any]:
    if how == "size":
        return {"args": {**action["args"], "text": action["args"]["text"] * 6}}
    if how == "order":
        return {"tool": f"tool-{random.Random(number).randrange(6)}"}
    return {}


def found(bank: Bank, features: list[Features]) -> list[tuple[int, str]]:
    """Return where which changes are found, when everything that is flagged is dismissed at once."""
    kinds = []
    for i, action in enumerate(features):
        scores = bank.step([AGENT], [action])
        if scores.flagged[0]:
            bank.learn([AGENT], [action], 1.0)
        if scores.change[0]:
            kinds.append((i, CHANGES[scores.change[0]]))
    return kinds


@pytest.mark.parametrize("how", ["size", "order"])
def test_what_changes_for_good_is_a_change_point_within_two_hundred_sessions(how: str) -> None:
    features, bank = changing(how)
    (at, kind), *_ = found(bank, features)
    assert kind == "changed"
    assert CHANGES_AT < at < CHANGES_AT + 200 * 20


def test_a_change_point_recalibrates_and_a_kill_waits_for_it() -> None:
    features, bank = changing("size")
    at, _ = found(bank, features)[0]
    _, fresh = changing("size")
    found(fresh, features[: at + 1])
    assert fresh.calibration(AGENT).state == "recalibrating"
    scores = fresh.step([AGENT], [features[at + 1]])
    assert STATES[scores.state[0]] == "recalibrating"
    assert scores.threshold_p[0] < 0.2 * bank.step([AGENT], [features[-1]]).threshold_p[0]


def test_who_goes_on_as_before_has_not_changed() -> None:
    features, bank = changing("not at all")
    assert found(bank, features) == []
    features, bank = changing("not at all", sessions=False)
    assert found(bank, features) == []


def test_one_session_however_wild_and_long_is_no_change() -> None:
    features, bank = changing("not at all")
    steps(bank, [AGENT] * CHANGES_AT, features[:CHANGES_AT])
    wild = [
        HASHER.features(
            tool=f"tool-{number % 16}",
            args={"path": f"new-{number}", "text": "x" * 5000, "n": 1},
            ts_s=features[CHANGES_AT].ts_s + number,
            session="wild",
            version="1",
            provenance={"path": "tool:list", "n": "tool:list"},
        )
        for number in range(120)
    ]
    assert found(bank, wild) == []


def test_while_flagged_actions_wait_the_model_stays_and_people_are_told() -> None:
    features, bank = changing("size")
    steps(bank, [AGENT] * CHANGES_AT, features[:CHANGES_AT])
    assert bank.step([AGENT], [HASHER.features(**hijacked(features[CHANGES_AT].ts_s, "s"))]).flagged[0]
    kinds = [kind for _, kind in found(bank, features[CHANGES_AT:])]
    assert kinds[:1] == ["changed_unjudged"]
    assert bank.calibration(AGENT).state == "calibrated"


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_once_nothing_waits_the_same_change_is_a_change_point(weight: float) -> None:
    features, bank = changing("size")
    found(bank, features[:CHANGES_AT])
    odd = HASHER.features(**hijacked(features[CHANGES_AT].ts_s, "s"))
    assert bank.step([AGENT], [odd]).flagged[0]
    bank.learn([AGENT], [odd], weight)
    assert found(bank, features[CHANGES_AT:])[0][1] == "changed"


# -- little by little -----------------------------------------------------------------------------------------------


RISING = [0.02] * 30 + [0.02 + 0.005 * day for day in range(110)]


def days(share_of: list[float], version_days: int = 1000) -> Iterator[dict[str, Any]]:
    """Yield what an agent does that on each day takes a tool for so large a share of its 200 actions."""
    rng = random.Random(1)
    for day, share in enumerate(share_of):
        for number in range(200):
            yield {
                "tool": "send_mail" if rng.random() < share else f"tool-{rng.randrange(6)}",
                "args": {"to": "team@acme.example"},
                "ts_s": 1e9 + DAY_S * day + 200.0 * number,
                "session": f"{day}-{number // 20}",
                "version": str(day // version_days),
                "provenance": {"to": "user"},
            }


def looked_at(share_of: list[float], version_days: int = 1000) -> tuple[list[str], int]:
    """Return what was found of two such agents, and how many actions were flagged (and dismissed the same day)."""
    bank = Bank(Settings())
    features = [HASHER.features(**action) for action in days(share_of, version_days)]
    kinds, flagged = [], 0
    for i in range(0, len(features), 200):
        for agent in (1, 2):
            scores = bank.step([agent] * 200, features[i : i + 200])
            odd = [features[i + int(k)] for k in np.flatnonzero(scores.flagged)]
            bank.learn([agent] * len(odd), odd, 1.0)
            kinds += [CHANGES[code] for code in scores.change if code]
            flagged += len(odd)
    return kinds, flagged


def test_a_baseline_that_is_moved_in_small_steps_is_reported_though_hardly_a_step_is_strange() -> None:
    kinds, flagged = looked_at(RISING)
    assert kinds.count("moved") >= 2  # both agents
    assert flagged < 0.001 * 2 * 140 * 200


def test_a_mix_that_goes_back_and_forth_is_no_drift() -> None:
    kinds, _ = looked_at([0.05 if day % 7 < 5 else 0.4 for day in range(56)])
    assert "moved" not in kinds


def test_a_mix_that_stays_is_no_drift() -> None:
    assert looked_at([0.1] * 60)[0] == []


def test_new_versions_explain_another_mix() -> None:
    assert "moved" not in looked_at(RISING, version_days=15)[0]


def test_distance_is_0_of_the_same_mix_and_1_of_none_in_common() -> None:
    left, right = np.zeros(PROFILE, np.uint8), np.zeros(PROFILE, np.uint8)
    assert distance(left, right) == 0.0
    left[:4], right[4:8] = 50, 50
    assert distance(left, right) == 1.0
    assert distance(left, left) == pytest.approx(0.0, abs=1e-7)


# -- in words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "signal"), [("changed_unjudged", "change"), ("moved", "drift")])
def test_people_are_told_in_a_sentence(kind: str, signal: str) -> None:
    scores = Bank(Settings()).step([1], [HASHER.features(**next(days([0.1])))])
    scores.change[0] = CHANGES.index(kind)
    told = change_reason(scores, 0)
    assert told.signal == signal
    assert told.sentence.endswith(".")
