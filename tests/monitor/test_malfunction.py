from __future__ import annotations

import pytest

from monitor.core.malfunction import MAX_REPEATED, MAX_SESSIONS, Malfunctions
from monitor.intake.action import Result, action_from_fields
from monitor.intake.observation import Observation, Observer

OBSERVER = Observer(bytes(32), store_args=False)


def call(
    number: int = 0,
    ok: bool = True,
    session: str | None = "s",
    tool: str = "search",
    agent: str = "a",
    ts_s: float = 1.0,
) -> Observation:
    fields = {
        "id": "x",
        "ts": ts_s,
        "agent_id": agent,
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
    assert len(malfunctions.dump()["runs"]) == MAX_SESSIONS


def test_a_result_that_is_not_known_is_no_failure() -> None:
    assert Result().ok is None
    fields = {"id": "x", "ts": 1.0, "agent_id": "a", "tool": "t", "args": {}}
    actions = [OBSERVER.observe(action_from_fields({**fields, "args": {"n": n}})) for n in range(9)]
    assert told(Malfunctions(5, 2), actions) == []


# -- those that repeat one call because that is their work ----------------------------------------------------------

DAY_S = 86_400.0


def a_day(day: float, calls: int, gap_s: float = 60.0) -> list[Observation]:
    return [call(session=f"day-{day}", ts_s=DAY_S * day + gap_s * number) for number in range(calls)]


def told_on(malfunctions: Malfunctions, days: list[list[Observation]]) -> list[list[int]]:
    return [[times for _, times in told(malfunctions, calls)] for calls in days]


def test_what_an_agent_repeats_every_day_is_told_of_on_three_days() -> None:
    days = [a_day(day, 15) for day in range(6)]
    assert told_on(Malfunctions(5, 5), days) == [[5, 10]] * 3 + [[]] * 3


def test_who_does_not_wait_between_its_calls_is_told_of_every_day() -> None:
    for gap_s, expected in ((30.0, []), (29.0, [5, 10])):
        days = [a_day(day, 15, gap_s) for day in range(6)]
        assert told_on(Malfunctions(5, 5), days)[5] == expected


def test_a_habit_of_waiting_excuses_no_haste() -> None:
    malfunctions = Malfunctions(5, 5)
    told_on(malfunctions, [a_day(day, 15) for day in range(5)])
    assert told_on(malfunctions, [a_day(5, 15, gap_s=3.0)]) == [[5, 10]]


def test_a_run_twice_as_long_as_the_habit_is_told_of() -> None:
    malfunctions = Malfunctions(5, 5)
    told_on(malfunctions, [a_day(day, 15) for day in range(3)])
    assert told_on(malfunctions, [a_day(3, 100)]) == [[40, 80]]


def test_one_bad_day_or_two_excuse_no_loop() -> None:
    assert told_on(Malfunctions(5, 5), [a_day(0, 400), a_day(1, 400), a_day(2, 9)])[2] == [5]


def test_the_shortest_of_the_three_days_is_the_habit() -> None:
    days = [a_day(0, 400), a_day(1, 6), a_day(2, 400), a_day(3, 20)]
    assert told_on(Malfunctions(5, 5), days)[3] == [20]


def test_days_of_rest_end_no_habit_and_a_week_does() -> None:
    for rest, expected in ((3, []), (8, [5, 10])):
        malfunctions = Malfunctions(5, 5)
        told_on(malfunctions, [a_day(day, 15) for day in range(4)])
        assert told_on(malfunctions, [a_day(3 + rest, 15)]) == [expected]


def test_a_loop_over_days_is_told_of_at_each_doubling_until_it_is_a_habit_too() -> None:
    calls = [call(session="s", ts_s=DAY_S / 8 * number) for number in range(200)]
    assert [times for _, times in told(Malfunctions(5, 5), calls)] == [5, 10, 20, 40]


def test_a_restored_habit_is_kept() -> None:
    first, second = Malfunctions(5, 5), Malfunctions(5, 5)
    told_on(first, [a_day(day, 15) for day in range(4)])
    second.restore(first.dump())
    assert told_on(second, [a_day(4, 15)]) == [[]]


def test_a_habit_of_one_call_excuses_no_other() -> None:
    malfunctions = Malfunctions(5, 5)
    told_on(malfunctions, [a_day(day, 15) for day in range(4)])
    other = [call(7, session="other", ts_s=DAY_S * 4 + 60.0 * number) for number in range(15)]
    assert told_on(malfunctions, [other, a_day(4, 15)]) == [[5, 10], []]


def test_a_habit_of_one_agent_excuses_no_other() -> None:
    malfunctions = Malfunctions(5, 5)
    told_on(malfunctions, [a_day(day, 15) for day in range(4)])
    other = [call(session="other", agent="b", ts_s=DAY_S * 4 + 60.0 * number) for number in range(15)]
    assert told_on(malfunctions, [other]) == [[5, 10]]


def test_habits_are_bounded() -> None:
    malfunctions = Malfunctions(2, 5)
    for number in range(MAX_REPEATED + 10):
        told(malfunctions, [call(agent=str(number), ts_s=ts_s) for ts_s in (0.0, 60.0)])
    assert len(malfunctions.dump()["days"]) == MAX_REPEATED
