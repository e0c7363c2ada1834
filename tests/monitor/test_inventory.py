"""What is known of each agent."""

from __future__ import annotations

import math
from typing import Any

import pytest

from monitor.core.inventory import RECENT_SCORES, RISK_HALF_LIFE_S, Inventory
from monitor.intake.action import Action
from monitor.intake.observation import Observation
from monitor.log.checkpoint import decode_state, encode_state
from tests.monitor.streams import observed


def seen(agent: str = "a", ts: float = 0.0, **fields: Any) -> Observation:
    return observed(Action(id="x", ts=ts, agent_id=agent, **{"tool": "t", **fields}))[0]


def test_an_agent_is_counted_with_its_latest_tool_and_version() -> None:
    inventory = Inventory(64)
    inventory.note(seen(ts=5.0, agent_version="1"), math.nan, 0.0)
    record = inventory.note(seen(ts=3.0, tool="later", agent_version="2"), 0.5, 1.0)
    assert (record.actions, record.first_ts, record.last_ts) == (2, 5.0, 5.0)
    assert (record.last_tool, record.version) == ("later", "2")
    assert list(record.recent) == [0.3]
    inventory.note_alert("a")
    assert record.alerts == 1
    assert inventory.get("a") is record
    assert inventory.get("unknown") is None


def test_only_so_many_scores_are_kept() -> None:
    inventory = Inventory(64)
    for number in range(RECENT_SCORES + 5):
        record = inventory.note(seen(), 10.0**-number, 0.0)
    assert (len(record.recent), record.recent[-1]) == (RECENT_SCORES, RECENT_SCORES + 4)


def test_risk_is_the_recent_worst_and_fades() -> None:
    inventory = Inventory(64)
    inventory.note(seen(), 1e-8, 1000.0)
    record = inventory.note(seen(), 0.1, 1001.0)
    assert record.risk_at(1000.0) == pytest.approx(8.0)
    assert record.risk_at(1000.0 + RISK_HALF_LIFE_S) == pytest.approx(4.0)
    inventory.note(seen(), 1e-5, 1000.0 + RISK_HALF_LIFE_S)
    assert record.risk_at(1000.0 + RISK_HALF_LIFE_S) == pytest.approx(5.0)


def test_an_impossible_p_value_is_a_large_risk_not_an_error() -> None:
    assert Inventory(64).note(seen(), 0.0, 0.0).risk_at(0.0) == pytest.approx(300.0)


def test_an_agent_with_a_clock_of_its_own_hides_nobodys_risk() -> None:
    inventory = Inventory(64)
    risky = inventory.note(seen("risky"), 1e-8, 1000.0)
    inventory.note(seen("liar", ts=4e9), 0.5, 1001.0)
    inventory.note(seen("risky", ts=4e9), 0.5, 1001.0)
    assert risky.risk_at(1001.0) > 7.9


def test_the_agents_silent_longest_give_way() -> None:
    inventory = Inventory(64)
    for number in range(64):
        inventory.note(seen(f"a-{number}", ts=float(number != 7)), 0.5, 0.0)
    inventory.note(seen("new", ts=2.0), 0.5, 0.0)
    names = [named.agent_id for named in inventory.all()]
    assert len(inventory) == len(names) == 64
    assert "a-7" not in names
    assert names[-1] == "new"


def test_a_flood_of_agents_is_forgotten_in_passes_not_one_by_one() -> None:
    inventory = Inventory(640)
    for number in range(641):
        inventory.note(seen(f"a-{number}", ts=float(number)), 0.5, 0.0)
    assert len(inventory) == 631
    assert [named.agent_id for named in inventory.all()] == [f"a-{number}" for number in range(10, 641)]


def test_a_restored_inventory_is_equal() -> None:
    first, second = Inventory(64), Inventory(64)
    first.note(seen("a", agent_version="1"), 1e-4, 10.0)
    first.note(seen("b"), math.nan, 11.0)
    second.restore(decode_state(encode_state(first.dump())))
    assert second.dump() == first.dump()
    record = second.get("a")
    assert record is not None
    assert (record.recent.maxlen, record.risk_at(10.0)) == (RECENT_SCORES, 4.0)
