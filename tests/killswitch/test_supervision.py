from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch.supervise.supervision import EVENTS, STATES, TRANSITIONS, Event, State

RUNS: set[State] = {"running"}
ENDING: set[State] = {"stopping", "killing", "gone"}
events = st.lists(st.sampled_from(EVENTS), max_size=40)


def walk(happened: list[Event]) -> list[State]:
    states: list[State] = ["starting"]
    for event in happened:
        states.append(TRANSITIONS[states[-1], event].state)
    return states


def test_every_state_says_what_every_event_does() -> None:
    assert set(TRANSITIONS) == {(state, event) for state in STATES for event in EVENTS}


@given(events)
def test_from_revoked_no_path_leads_back_to_running(happened: list[Event]) -> None:
    states = walk(happened)
    ended = next((number for number, state in enumerate(states) if state in ENDING), len(states))
    assert set(states[ended:]) <= ENDING


@given(events)
def test_nothing_but_the_points_word_lets_a_program_run(happened: list[Event]) -> None:
    states = walk(happened)
    for before, event, after in zip(states, happened, states[1:], strict=False):
        if before not in RUNS and after in RUNS:
            assert event == "allowed"


@given(events)
def test_after_a_refusal_nothing_runs_until_it_is_allowed(happened: list[Event]) -> None:
    is_refused = False
    for event, state in zip(happened, walk(happened)[1:], strict=True):
        is_refused = event in ("held", "revoked", "lost", "given_up") or (is_refused and event != "allowed")
        assert not (is_refused and state in RUNS)


@pytest.mark.parametrize("state", ["running", "frozen", "stopping", "killing"])
def test_every_program_can_be_ended(state: State) -> None:
    for event in ("revoked", "grace_over", "tree_gone"):
        state = TRANSITIONS[state, event].state
    assert state == "gone"


@pytest.mark.parametrize("event", [event for event in EVENTS if event != "allowed"])
def test_only_an_allowed_program_is_started(event: Event) -> None:
    assert TRANSITIONS["starting", event].action == "none"


def test_what_is_gone_stays_gone_and_is_left_alone() -> None:
    assert {TRANSITIONS["gone", event] for event in EVENTS} == {("gone", "none")}


def test_a_frozen_program_gets_no_signal_to_act_upon() -> None:
    assert TRANSITIONS["frozen", "signal"] == ("killing", "kill")
