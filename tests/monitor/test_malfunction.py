from __future__ import annotations

import pytest

from monitor.core.malfunction import MAX_SESSIONS, Malfunctions
from monitor.intake.action import Result, action_from_fields
from monitor.intake.observation import Observation, Observer

OBSERVER = Observer(bytes(32), store_args=False)


def call(number: int = 0, ok: bool = True, session: str | None = "s", tool: str = "search") -> Observation:
    fields = {
        "id": "x",
        "ts": 1.0,
        "agent_id": "a",
        "session_id": session,
        "tool": tool,
        "args": {"n": number},
    }
    return OBSERVER.observe(action_from_fields({**fields, "result": {"ok": ok}}))


def told(malfunctions: Malfunctions, calls: list[Observation]) -> list[tuple[str, int]]:
    found = [malfunctions.note(each) for each in calls]
    return [(one.kind, one.times) for one in found if one]


def test_a_loop_of_identical_calls_is_told_of_at_the_limit_and_at_each_doubling() -> None:
    assert told(Malfunctions(5, 5), [call()] * 45) == [("loop", 5), ("loop", 10), ("loop", 20), ("loop", 40)]


def test_another_call_in_between_begins_the_count_anew() -> None:
    assert told(Malfunctions(5, 5), ([call()] * 4 + [call(1)]) * 5) == []


def test_failures_in_a_row_are_told_of_whatever_the_calls() -> None:
    calls = [call(number, ok=False) for number in range(12)]
    assert told(Malfunctions(5, 5), calls) == [("errors", 5), ("errors", 10)]
    assert told(Malfunctions(5, 5), [*calls[:4], call(99), *calls[:4]]) == []


@pytest.mark.parametrize("session", ["t", None])
def test_sessions_are_counted_apart(session: str | None) -> None:
    calls = [each for _ in range(4) for each in (call(), call(session=session))]
    assert told(Malfunctions(5, 5), calls) == []


def test_a_restored_count_goes_on() -> None:
    first, second = Malfunctions(5, 5), Malfunctions(5, 5)
    told(first, [call()] * 4)
    second.restore(first.dump())
    assert told(second, [call()]) == [("loop", 5)]


def test_memory_is_bounded() -> None:
    malfunctions = Malfunctions(5, 5)
    for number in range(MAX_SESSIONS + 10):
        malfunctions.note(call(session=str(number)))
    assert len(malfunctions.dump()) == MAX_SESSIONS


def test_a_result_that_is_not_known_is_no_failure() -> None:
    assert Result().ok is None
    fields = {"id": "x", "ts": 1.0, "agent_id": "a", "tool": "t", "args": {}}
    actions = [OBSERVER.observe(action_from_fields({**fields, "args": {"n": n}})) for n in range(9)]
    assert told(Malfunctions(5, 2), actions) == []
