"""River's detectors beside ours."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.config import RiverDetector
from monitor.core import river_columns
from monitor.core.river_columns import RiverColumns
from tests.monitor.streams import habits

TREES = RiverDetector(
    name="river.anomaly.HalfSpaceTrees",
    params={"n_trees": 2, "height": 3, "window_size": 10},
    agents=("agent-[01]",),
)
SVM = RiverDetector(name="river.anomaly.OneClassSVM", agents=("agent-0", "agent-2"))


def taught(columns: RiverColumns, count: int = 80) -> RiverColumns:
    for action in habits(count):
        columns.learn(action.agent_id, action.features)
    return columns


def test_without_detectors_there_are_no_columns() -> None:
    assert not RiverColumns(())
    assert RiverColumns((TREES,))


def test_a_detector_scores_the_agents_it_is_meant_for() -> None:
    scores = taught(RiverColumns((TREES, SVM))).score(habits(4, first=80))
    assert np.isfinite(scores).tolist() == [[True, True], [True, False], [False, True], [False, False]]
    assert RiverColumns((TREES, SVM)).names == (TREES.name, SVM.name)


def test_each_agent_has_models_of_its_own() -> None:
    columns = RiverColumns((SVM,))
    for action in habits(80):
        if action.agent_id == "agent-0":
            columns.learn(action.agent_id, action.features)
    scores = columns.score(habits(4, first=80))[:, 0]
    assert scores[0] != 0.0
    assert scores[2] == RiverColumns((SVM,)).score(habits(4, first=80))[2, 0]


def test_restored_columns_go_on_alike_and_without_a_seed_too() -> None:
    first, again, restored = (RiverColumns((TREES, SVM)) for _ in range(3))
    restored.restore(taught(first).dump())
    more = habits(8, first=80)
    expected = taught(first, 20).score(more)
    np.testing.assert_array_equal(taught(restored, 20).score(more), expected)
    np.testing.assert_array_equal(taught(taught(again), 20).score(more), expected)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(river_columns, "MAX_AGENTS", 2)
    columns = RiverColumns((TREES,))
    columns.score(habits(4))
    assert list(columns._models) == ["agent-2", "agent-3"]
