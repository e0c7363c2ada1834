"""The life of an alert: which changes there are, what each needs, and what follows. Pure; no other file decides this.

Theory of operation
-------------------
What people work on is a group of alerts (`monitor.alerts.book`). It is born ``open``; somebody takes note of it
(``acknowledged``); somebody decides what it was (``closed``), and may change their mind (``reopen``)::

                 acknowledge                close(reason)
        open ──────────────────► acknowledged ──────────► closed
         │ ▲                                               │  ▲
         │ └───────────────── reopen ──────────────────────┘  │
         └─────────────────── close(reason) ──────────────────┘

``assign`` and ``comment`` change no state. A closed group takes comments, so that what is learned later has a place,
but nobody is assigned to it: it has to be reopened first. Whatever is not in `TABLE` is refused, which decides between
two people who do the same at the same moment: the second is told who was first. All else is last writer wins, and the
history keeps every writer.

Closing needs one of four reasons. What each teaches the agent's model stands beside it in `TEACHES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

import msgspec

from monitor.errors import ChangeRefused
from monitor.live.message_types import Change as Kind
from monitor.live.message_types import CloseReason, State

STATES: Final[tuple[State, ...]] = get_args(State)
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
CLOSE_REASONS: Final[tuple[CloseReason, ...]] = get_args(CloseReason)

TABLE: Final[Mapping[tuple[State, Kind], State]] = {
    ("open", "acknowledge"): "acknowledged",
    ("open", "assign"): "open",
    ("open", "comment"): "open",
    ("open", "close"): "closed",
    ("acknowledged", "assign"): "acknowledged",
    ("acknowledged", "comment"): "acknowledged",
    ("acknowledged", "close"): "closed",
    ("closed", "comment"): "closed",
    ("closed", "reopen"): "open",
}

TEACHES: Final[Mapping[CloseReason, Literal["dismissed", "confirmed"]]] = {
    "false_positive": "dismissed",  # the model was wrong: it learns the actions as it would have at once
    "benign": "dismissed",  # strange but right, and not strange the next time
    "confirmed": "confirmed",  # never learned
}
"""The judgement that closing passes on each action of the group; ``duplicate`` says nothing about the agent."""

MAX_TEXT_CHARS: Final = 2000
MAX_NAME_CHARS: Final = 200
MAX_CHANGES: Final = 1000
"""Security limit: a group that was changed so often can only be closed."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one person wants of a group. `at_s` is the daemon's clock, `by` who the daemon knows them to be."""

    kind: Kind
    by: str
    at_s: float
    assignee: str | None = None
    reason: CloseReason | None = None
    comment: str | None = None


class Life(NamedTuple):
    """Where a group stands; a new one is open, nobody's, and untouched."""

    state: State = "open"
    assignee: str | None = None
    reason: CloseReason | None = None
    """Why it is closed; None while it is not."""
    comments: int = 0
    changes: int = 0
    changed_at_s: float | None = None
    changed_by: str | None = None


NEW: Final = Life()


def demand(change: Change) -> None:
    """Check that the change has what its kind needs and nothing that its kind does not use.

    Raises
    ------
    ChangeRefused
        Naming the field.
    """
    if change.kind == "close" and change.reason is None:
        raise ChangeRefused("reason", f"closing needs one of {', '.join(CLOSE_REASONS)}")
    if change.kind != "close" and change.reason is not None:
        raise ChangeRefused(
            "reason", f"only closing has a reason; put why you {change.kind} into the comment"
        )
    if change.kind != "assign" and change.assignee is not None:
        raise ChangeRefused("assignee", "only assigning has an assignee; send it as a change of its own")
    if change.kind == "comment" and not (change.comment or "").strip():
        raise ChangeRefused("comment", "a comment needs words")


def after(life: Life, change: Change) -> Life:
    """Return where the group stands after the change.

    Raises
    ------
    ChangeRefused
        If the table has no such change from this state, or the group has been changed too often.
    """
    state = TABLE.get((life.state, change.kind))
    if state is None:
        raise ChangeRefused(None, _why_not(life, change.kind))
    if life.changes >= MAX_CHANGES and change.kind != "close":
        raise ChangeRefused(None, f"it was changed {life.changes} times; all that can be done is to close it")
    return Life(
        state=state,
        assignee=change.assignee if change.kind == "assign" else life.assignee,
        reason=change.reason if state == "closed" and change.kind == "close" else _kept_reason(life, state),
        comments=life.comments + (change.comment is not None),
        changes=life.changes + 1,
        changed_at_s=change.at_s,
        changed_by=change.by,
    )


def _kept_reason(life: Life, state: State) -> CloseReason | None:
    return life.reason if state == "closed" else None


def _why_not(life: Life, kind: Kind) -> str:
    if kind == "reopen":
        return f"it is {life.state}, so there is nothing to reopen"
    by = f" by {life.changed_by}" if life.changed_by else ""
    if life.state == "closed":
        return f"it is closed (last changed{by}); reopen it first"
    return f"it is {life.state} already (last changed{by})"
