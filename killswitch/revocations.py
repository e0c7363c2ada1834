"""Revocations, the changes that make and lift them, and the one table that decides which change is allowed.

Theory of operation
-------------------
A target is in one of five states, read off its current record and the clock:

* ``active``: no record.
* ``held``: a ``step_up`` record, until people lift it; or a suspension that ran out with ``held_after``.
* ``suspended``: a ``suspend`` record whose ``expires_at_s`` lies ahead.
* ``expired``: the same, behind; it binds nobody any more and is treated like ``active``.
* ``revoked``: a ``revoke`` record; it stays.

Five triggers ask for a change. :data:`TRANSITIONS` says for each pair what happens; no other place decides.
Two rules shape it: only restoring ever weakens what is in force, now or later (a suspension on top of a hold
leaves the hold behind it: the approval a human owes is not forgotten because time passed), and asking for
what already holds changes nothing. Everything here is a value or a function of values: no clock, no store.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from killswitch.errors import InvalidRequest
from killswitch.targets import Target
from killswitch.trust.approvals import Approval

Level = Literal["step_up", "suspend", "revoke"]
ChangeKind = Literal["step_up", "suspend", "revoke", "restore", "expire"]
State = Literal["active", "held", "suspended", "expired", "revoked"]
Effect = Literal["set", "extend", "hold_after", "clear", "keep"]

ANNOUNCED: Final = 0
"""The epoch of a record that a notice brought: about to be written, and not numbered yet."""

LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""The levels, weakest first."""

CHANGE_KINDS: Final[tuple[ChangeKind, ...]] = get_args(ChangeKind)

# Security limits: records are pushed to every enforcement point and kept in its memory.
MAX_REASON_CHARS: Final = 2_000
MAX_BY_CHARS: Final = 256
MAX_ID_CHARS: Final = 128
MAX_EVIDENCE: Final = 64
MAX_SECONDS: Final = 1e11  # the year 5138: keeps out nan, inf and milliseconds taken for seconds


@dataclass(frozen=True, slots=True)
class Revocation:
    """A refusal in force (or a suspension that has run out).

    ``at_s`` and ``expires_at_s`` are seconds since 1970 on the writer's clock; ``expires_at_s`` is set for
    ``suspend`` and only for it; with ``held_after`` the target is then held (``step_up``) instead of free.
    ``epoch`` is the number of the change that wrote the record (:data:`ANNOUNCED`, 0: it is on its way),
    ``change_id`` its idempotency key, ``evidence`` the ids of actions and alerts that led to it.
    """

    target: Target
    level: Level
    reason: str
    by: str
    at_s: float
    expires_at_s: float | None
    change_id: str
    epoch: int
    evidence: tuple[str, ...] = ()
    held_after: bool = False

    def level_at(self, now_s: float) -> Level | None:
        """Return how the record binds at `now_s` (seconds since 1970); None once a suspension has run out."""
        if self.expires_at_s is None or now_s < self.expires_at_s:
            return self.level
        return "step_up" if self.held_after else None

    def describe(self) -> str:
        """Return one sentence for a human: what, why, who, when."""
        verb = {"step_up": "held for approval", "suspend": "suspended", "revoke": "revoked"}[self.level]
        change = "just announced" if self.epoch == ANNOUNCED else f"change {self.epoch}"
        return f"{self.target} is {verb} by {self.by}: {self.reason} ({change})"


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the ordered log: what `kind` of change turned `previous` into `new` for `target`.

    ``epoch`` counts changes without a hole, so a reader that sees 7 after 5 knows that it missed 6. ``approvals`` are
    the votes that a restoration stands on; ``signed_by`` names the key that vouched for the entry, as far as the reader
    verified it, and is not part of it.
    """

    epoch: int
    change_id: str
    kind: ChangeKind
    target: Target
    previous: Revocation | None
    new: Revocation | None
    reason: str
    by: str
    at_s: float
    approvals: tuple[Approval, ...] = ()
    signed_by: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks to happen to `target`; checked when built.

    Raises
    ------
    InvalidRequest
        Naming the field: empty or over-long text, an expiry that is missing or does not belong.
    """

    kind: ChangeKind
    target: Target
    reason: str
    by: str
    change_id: str
    expires_at_s: float | None = None
    evidence: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in CHANGE_KINDS:
            raise InvalidRequest("level", f"{self.kind!r} is not one of {', '.join(LEVELS)}")
        if not isinstance(self.target, Target):
            raise InvalidRequest("target", "expected a Target; use Target.parse('agent:name')")
        _require_text("reason", self.reason, MAX_REASON_CHARS)
        _require_text("by", self.by, MAX_BY_CHARS)
        _require_text("change_id", self.change_id, MAX_ID_CHARS)
        _require_evidence(self.evidence)
        _require_expiry(self.kind, self.expires_at_s)
        if self.approvals and self.kind != "restore":
            raise InvalidRequest("approvals", f"a {self.kind} needs none; only a restore does")


@dataclass(frozen=True, slots=True)
class Decision:
    """What :func:`decide` answers: the effect, and a note in words for the person who asked."""

    effect: Effect
    note: str


TRANSITIONS: Final[dict[tuple[State, ChangeKind], Decision]] = {
    ("active", "step_up"): Decision("set", "held for approval"),
    ("active", "suspend"): Decision("set", "suspended"),
    ("active", "revoke"): Decision("set", "revoked"),
    ("active", "restore"): Decision("keep", "not revoked, nothing to restore"),
    ("active", "expire"): Decision("keep", "nothing to expire"),
    ("held", "step_up"): Decision("keep", "already held for approval"),
    ("held", "suspend"): Decision("set", "suspended, and held for approval after that"),
    ("held", "revoke"): Decision("set", "revoked"),
    ("held", "restore"): Decision("clear", "restored"),
    ("held", "expire"): Decision("keep", "nothing to expire"),
    ("suspended", "step_up"): Decision("hold_after", "suspended, and held for approval after that"),
    ("suspended", "suspend"): Decision("extend", "suspension extended"),
    ("suspended", "revoke"): Decision("set", "revoked"),
    ("suspended", "restore"): Decision("clear", "restored"),
    ("suspended", "expire"): Decision("keep", "not yet expired"),
    ("expired", "step_up"): Decision("set", "held for approval"),
    ("expired", "suspend"): Decision("set", "suspended"),
    ("expired", "revoke"): Decision("set", "revoked"),
    ("expired", "restore"): Decision("clear", "restored"),
    ("expired", "expire"): Decision("clear", "suspension ran out"),
    ("revoked", "step_up"): Decision("keep", "already stronger: revoked"),
    ("revoked", "suspend"): Decision("keep", "already stronger: revoked"),
    ("revoked", "revoke"): Decision("keep", "already revoked"),
    ("revoked", "restore"): Decision("clear", "restored"),
    ("revoked", "expire"): Decision("keep", "a revocation does not expire"),
}


_STATES: Final[dict[Level | None, State]] = {
    "step_up": "held",
    "suspend": "suspended",
    "revoke": "revoked",
    None: "expired",
}


def state_of(current: Revocation | None, now_s: float) -> State:
    """Return the state that a target with record `current` is in at `now_s` (seconds since 1970)."""
    if current is None:
        return "active"
    return _STATES[current.level_at(now_s)]


def decide(current: Revocation | None, request: Request, now_s: float) -> Decision:
    """Return what `request` does to a target whose record is `current`, at `now_s` (seconds since 1970).

    What would change nothing (a suspension that ends sooner, or is over already) is answered as ``keep``, so
    the effect is always literal.
    """
    decision = TRANSITIONS[state_of(current, now_s), request.kind]
    if request.expires_at_s is not None and request.expires_at_s <= now_s and decision.effect != "keep":
        return Decision("keep", "that suspension is over already")
    if decision.effect == "hold_after" and current is not None and current.held_after:
        return Decision("keep", "already suspended, and held for approval after that")
    if decision.effect == "extend" and not _is_later(request, current):
        return Decision("keep", "already suspended at least that long")
    return decision


def apply(current: Revocation | None, request: Request, *, epoch: int, now_s: float) -> Change | None:
    """Return the change that `request` makes as change number `epoch`, or None if it changes nothing."""
    decision = decide(current, request, now_s)
    if decision.effect == "keep":
        return None
    new = None if decision.effect == "clear" else _record(request, decision.effect, current, epoch, now_s)
    return Change(
        epoch=epoch,
        change_id=request.change_id,
        kind=request.kind,
        target=request.target,
        previous=current,
        new=new,
        reason=request.reason,
        by=request.by,
        at_s=now_s,
        approvals=request.approvals,
    )


def _record(
    request: Request, effect: Effect, current: Revocation | None, epoch: int, now_s: float
) -> Revocation:
    held = current is not None and (current.level_at(now_s) == "step_up" or current.held_after)
    stays = current if effect == "hold_after" else None
    return Revocation(
        target=request.target,
        level=cast("Level", request.kind)
        if stays is None
        else stays.level,  # the table writes records for levels only
        reason=request.reason,
        by=request.by,
        at_s=now_s,
        expires_at_s=request.expires_at_s if stays is None else stays.expires_at_s,
        change_id=request.change_id,
        epoch=epoch,
        evidence=request.evidence,
        held_after=stays is not None or (held and request.kind == "suspend"),
    )


def is_weaker(record: Revocation | None, held: Revocation, now_s: float) -> bool:
    """Return whether `record` in the place of `held` would let anything pass, now or later, that `held` refuses."""
    moments_s = [now_s, MAX_SECONDS]
    if held.expires_at_s is not None and held.expires_at_s > now_s:
        moments_s += [math.nextafter(held.expires_at_s, 0), held.expires_at_s]
    return any(_rank(record, at_s) < _rank(held, at_s) for at_s in moments_s)


def _rank(record: Revocation | None, at_s: float) -> int:
    level = None if record is None else record.level_at(at_s)
    return -1 if level is None else LEVELS.index(level)


def _is_later(request: Request, current: Revocation | None) -> bool:
    return current is None or (request.expires_at_s or 0.0) > (current.expires_at_s or 0.0)


def _require_text(field: str, value: str, max_chars: int) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest(field, "say something; it is what people will read when they ask why")
    if len(value) > max_chars:
        raise InvalidRequest(field, f"has {len(value)} characters, more than {max_chars}")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidRequest(field, "holds half a surrogate pair, which cannot be stored")


def _require_evidence(evidence: tuple[str, ...]) -> None:
    if not isinstance(evidence, tuple) or len(evidence) > MAX_EVIDENCE:
        raise InvalidRequest("evidence", f"expected a tuple of at most {MAX_EVIDENCE} ids")
    for item in evidence:
        _require_text("evidence", item, MAX_ID_CHARS)


def _require_expiry(kind: ChangeKind, expires_at_s: float | None) -> None:
    if kind != "suspend":
        if expires_at_s is not None:
            raise InvalidRequest("expires_at_s", f"a {kind} does not expire; leave it out or use suspend")
        return
    if (
        isinstance(expires_at_s, bool)
        or not isinstance(expires_at_s, int | float)
        or not 0 < expires_at_s < MAX_SECONDS
    ):
        raise InvalidRequest("expires_at_s", "a suspension needs its end, in seconds since 1970")
