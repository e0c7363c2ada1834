"""What happens to a program under supervision: one table of states and events. Pure.

Theory of operation
-------------------
A supervised program is in one of six states:

* ``starting``: nothing was run yet. Only ``allowed`` starts it.
* ``running``.
* ``frozen``: every process of it is stopped and none is lost; it goes on where it was when allowed again.
* ``stopping``: revoked; it was asked to end (SIGTERM) and has a grace to do so.
* ``killing``: SIGKILL, again and again until nothing is left.
* ``gone``: nothing is left (or was ever run).

The enforcement point's answer comes as one of five events, each time it may have changed. ``allowed``. ``held``: held
for approval, suspended, or a revocation that was announced and is not written yet. ``revoked``. ``lost``: the lease
ran out, what is in force cannot be read or proven, or the host's sentinel stops it. ``given_up``: the lease ran out,
for whoever chose to kill then.

``signal`` asks the program to end (TERM, INT, HUP, QUIT came to the supervisor), ``terminal_stop`` is Ctrl-Z,
``grace_over`` the end of the grace, ``keeper_lost`` the death of the process in between, ``child_exited`` the end of
the first process, ``tree_gone`` that of the last: what the program left behind is supervised too.

:data:`TRANSITIONS` has a row for each pair; no other place decides. What shapes it: from ``stopping`` and ``killing``
no event leads back to ``running`` or ``frozen`` (a revoked program is ended, even if the agent is restored
meanwhile); nothing but ``allowed`` lets a program run; and a frozen program that is asked to end is killed, for it may
not act to end itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

from killswitch.errors import Refused

State = Literal["starting", "running", "frozen", "stopping", "killing", "gone"]
Event = Literal[
    "allowed", "held", "revoked", "lost", "given_up", "signal", "terminal_stop", "grace_over", "keeper_lost",
    "child_exited", "tree_gone",
]  # fmt: skip
Action = Literal["none", "start", "freeze", "yield_terminal", "thaw", "pass_on", "terminate", "kill"]

STATES: Final[tuple[State, ...]] = get_args(State)
EVENTS: Final[tuple[Event, ...]] = get_args(Event)


class Step(NamedTuple):
    """What an event leads to: the next state, and what is done on the way there."""

    state: State
    action: Action


def _row(state: State, **steps: tuple[State, Action]) -> dict[tuple[State, Event], Step]:
    """Return the row of `state`: the steps named, and for every other event that it changes nothing."""
    return {(state, event): Step(*steps.get(event, (state, "none"))) for event in EVENTS}


TRANSITIONS: Final[dict[tuple[State, Event], Step]] = {
    **_row(
        "starting",
        allowed=("running", "start"),
        held=("gone", "none"),
        revoked=("gone", "none"),
        lost=("gone", "none"),
        given_up=("gone", "none"),
        signal=("gone", "none"),
        keeper_lost=("gone", "none"),
    ),
    **_row(
        "running",
        held=("frozen", "freeze"),
        lost=("frozen", "freeze"),
        revoked=("stopping", "terminate"),
        given_up=("stopping", "terminate"),
        signal=("running", "pass_on"),
        terminal_stop=("frozen", "yield_terminal"),
        keeper_lost=("killing", "kill"),
        tree_gone=("gone", "none"),
    ),
    **_row(
        "frozen",
        allowed=("running", "thaw"),
        revoked=("stopping", "terminate"),
        given_up=("stopping", "terminate"),
        signal=("killing", "kill"),
        keeper_lost=("killing", "kill"),
        tree_gone=("gone", "none"),
    ),
    **_row(
        "stopping",
        grace_over=("killing", "kill"),
        signal=("killing", "kill"),
        keeper_lost=("killing", "kill"),
        tree_gone=("gone", "none"),
    ),
    **_row(
        "killing",
        grace_over=("killing", "kill"),
        tree_gone=("gone", "none"),
    ),
    **_row("gone"),
}


@dataclass(frozen=True, slots=True)
class Supervision:
    """What is run, for whom, and how it is stopped.

    ``names`` is what :meth:`Guard.check` takes; ``lease_s`` the guard's lease; ``grace_s`` the seconds between SIGTERM
    and SIGKILL after a revocation (0 kills at once); ``kill_on_lease_loss`` kills instead of freezing when the store is
    not heard for one lease.
    """

    argv: tuple[str, ...]
    names: dict[str, Any]
    lease_s: float
    grace_s: float = 5.0
    kill_on_lease_loss: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended.

    ``status`` is the program's own exit status (128 + the signal that ended it), or 1 if it was refused or killed by a
    revocation, 3 if for lack of news from the store. ``refused`` says why, or None; ``ran`` whether it was started.
    """

    status: int
    refused: Refused | None
    ran: bool
