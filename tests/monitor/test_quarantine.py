"""Flagged actions wait for a verdict before they teach."""

from __future__ import annotations

from detectors import Features
from monitor.core.quarantine import Held, Quarantine
from monitor.log.checkpoint import decode_state, encode_state

FEATURES = Features(tool=1, session=2, version=3, ts_s=4.0, size_chars=5, args=((6, 7, 8),))


def held(since_s: float, agent: str = "a") -> Held:
    return Held(since_s, agent, FEATURES)


def test_what_is_judged_waits_no_longer() -> None:
    quarantine = Quarantine(10, 100.0)
    quarantine.hold("al-1", held(0.0))
    assert quarantine.release("al-1") == held(0.0)
    assert quarantine.release("al-1") is None
    assert list(quarantine.unjudged(1e9)) == []


def test_what_nobody_judged_comes_out_once_oldest_first() -> None:
    quarantine = Quarantine(10, 100.0)
    for number in range(4):
        quarantine.hold(f"al-{number}", held(number * 10.0, f"agent-{number}"))
    assert list(quarantine.unjudged(99.9)) == []
    assert [one.agent_id for one in quarantine.unjudged(110.0)] == ["agent-0", "agent-1"]
    assert [one.agent_id for one in quarantine.unjudged(130.0)] == ["agent-2", "agent-3"]
    assert len(quarantine) == 0


def test_beyond_the_capacity_the_oldest_is_forgotten_untaught() -> None:
    quarantine = Quarantine(2, 100.0)
    for number in range(3):
        quarantine.hold(f"al-{number}", held(0.0, f"agent-{number}"))
    assert len(quarantine) == 2
    assert [one.agent_id for one in quarantine.unjudged(100.0)] == ["agent-1", "agent-2"]


def test_a_restored_quarantine_is_equal() -> None:
    first, second = Quarantine(10, 100.0), Quarantine(10, 100.0)
    first.hold("al-1", held(1.5))
    first.hold("al-2", held(2.5, "b"))
    second.restore(decode_state(encode_state(first.dump())))
    assert second.dump() == first.dump()
    assert list(second.unjudged(1e9)) == [held(1.5), held(2.5, "b")]
