"""Realised over promised false-alert rates."""

import numpy as np

from benchmarks.detect_promises import MONTH_S, realised


def rates(
    p: list[float], agents: list[int], *, benign: list[bool] | None = None, ts_s: list[float] | None = None
):
    n = len(p)
    return realised(
        np.array(p),
        np.array(benign or [True] * n, np.bool_),
        np.array(agents, np.int64),
        np.array(ts_s or [0.0] * n),
    )


def test_a_kept_promise_is_one() -> None:
    p = [(i + 1) / 1000 for i in range(1000)]
    found = rates(p, [0] * 1000)
    assert found["0.001"]["overall"] == found["0.01"]["overall"] == 1.0
    assert found["0.01"]["alerts"] == 10


def test_only_benign_actions_of_calibrated_models_count() -> None:
    found = rates([float("nan"), 1e-9, 0.5, 0.5], [0] * 4, benign=[True, False, True, True])
    assert (found["benign"], found["benign_calibrated"], found["0.01"]["overall"]) == (3, 2, 0.0)


def test_each_month_has_its_ratio() -> None:
    found = rates([0.5, 0.005, 0.5], [0] * 3, ts_s=[7.0, 7.0 + MONTH_S, 7.0 + 3 * MONTH_S])
    assert found["0.01"]["months"] == [0.0, 100.0, None, 0.0]


def test_the_worst_tenth_are_the_agents_with_the_highest_rate() -> None:
    p = [0.5] * 38 + [0.001, 0.5]
    agents = [number // 2 for number in range(40)]
    assert (
        rates(p, agents)["0.01"]["worst_tenth_of_agents"] == 25.0
    )  # one false alert in the four of two agents


def test_where_nothing_is_calibrated_nothing_is_said() -> None:
    found = rates([float("nan")], [0])
    assert (found["0.01"]["overall"], found["0.01"]["months"]) == (None, [])
    assert found["0.01"]["worst_tenth_of_agents"] is None
