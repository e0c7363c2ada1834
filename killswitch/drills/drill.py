"""Drills: a canary is revoked and restored as an agent would be, and every enforcement point is held to it.

Theory of operation
-------------------
A drill goes the very way of a kill: the same call, script, store, channel and points. Its target is a session that
nobody has (``session:killcord-canary/...``), so it disturbs nobody. Each point that hears of the revocation asks its
own check about the canary and says in its acknowledgement what that answered: refused, after so many milliseconds.
Then the canary is restored, and the points have to say that they allow it again: one that refuses everything proves
nothing.

A point passes if it was heard refusing within the promised time, on the *writer's* clock (which is one clock, unlike
the points'), and allowing again. One that confirms without saying what its check answers does not pass: what has not
been shown is not counted. If somebody else's change came in between, so that points spoke of that one, the round is
repeated with another canary.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Final

from killswitch.clocks import wall_s
from killswitch.drills.drill_record import Drill, PointResult
from killswitch.errors import InvalidRequest, KillswitchError, StoreUnreachable
from killswitch.registry.points import Ack, Containment, PointLatency, PointStatus
from killswitch.storage.snapshots import Snapshot
from killswitch.storage.writer import Outcome
from killswitch.switch import Switch
from killswitch.targets import Target
from killswitch.trust.approvals import CANARY_PREFIX, is_canary

PROMISE_MS: Final = 1_000.0
TIMEOUT_S: Final = 5.0
MAX_ROUNDS: Final = 3
LEFT_BEHIND_S: Final = 300.0  # a canary that old belongs to no drill any more
REASON: Final = "drill: shows that every enforcement point stops what is revoked"


def run_drill(
    switch: Switch,
    *,
    by: str,
    point: str | None = None,
    promise_ms: float = PROMISE_MS,
    timeout_s: float = TIMEOUT_S,
) -> Drill:
    """Revoke a canary, wait for the points, restore it, and return what each did.

    Blocks. What goes wrong at the store is in the drill's ``problem``; it is not raised.

    Parameters
    ----------
    switch : Switch
        What a kill would use. With a keyring, its signer must be the daemon's or an operator's.
    by : str
        Who asks; it is in the log.
    point : str, optional
        Judge only the points of this name.
    promise_ms : float
        The time within which every point must refuse, in milliseconds by the writer's clock.
    timeout_s : float
        How long to wait for points, in seconds, each time; not less than the promise.

    Raises
    ------
    InvalidRequest
        If the promise is no positive time.
    """
    if not 0 < promise_ms <= 3_600_000:
        raise InvalidRequest("promise_ms", f"{promise_ms} is not between 0 and 3,600,000 milliseconds")
    timeout_s = max(timeout_s, promise_ms / 1e3)
    attempt = _Attempt(switch, by, timeout_s)
    problem = inconclusive = ""
    try:
        inconclusive = _prepare(switch, by)
        for _ in range(0 if inconclusive else MAX_ROUNDS):
            attempt = _Attempt(switch, by, timeout_s)
            attempt.run()
            if not attempt.was_overtaken:
                break
    except KillswitchError as error:
        problem = str(error)
    return attempt.drill(point or "", promise_ms, inconclusive, problem)


def _prepare(switch: Switch, by: str) -> str:
    """Take away what earlier drills left behind; return why a drill can show nothing now, or nothing."""
    snapshot = switch.snapshot()
    for record in list(snapshot.revocations.values()):
        if is_canary(record.target) and record.at_s < wall_s() - LEFT_BEHIND_S:
            switch.restore(record.target, reason="drill: left behind by an earlier one", by=by)
    return _hindrance(snapshot)


def _hindrance(snapshot: Snapshot) -> str:
    fleet = snapshot.revocations.get(Target("fleet"))
    if fleet is None or fleet.level_at(wall_s()) is None:
        return ""
    return "the whole fleet is stopped, so every point refuses everything and a drill can show nothing"


@dataclass
class _Half:
    """One change of the canary and what the points said of it."""

    outcome: Outcome | None = None
    containment: Containment | None = None
    acks: dict[str, Ack] = field(default_factory=dict)
    overtaken: set[str] = field(default_factory=set)
    latencies: dict[str, PointLatency] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    confirmed: set[str] = field(default_factory=set)

    def settle(self, outcome: Outcome, containment: Containment, acks: list[Ack]) -> None:
        self.outcome, self.containment = outcome, containment
        self.latencies = {each.point.id: each for each in containment.latencies}
        self.missing = {point.id for point in containment.missing}
        self.confirmed = {point.id for point in containment.confirmed}
        for ack in acks:
            if ack.epoch == outcome.epoch:
                self.acks[ack.point] = ack
        self.overtaken = {ack.point for ack in acks if ack.epoch > outcome.epoch} - self.acks.keys()

    def says(self, point_id: str) -> bool | None:
        ack = self.acks.get(point_id)
        return None if ack is None else ack.refuses


class _Attempt:
    """One round with one canary."""

    def __init__(self, switch: Switch, by: str, timeout_s: float) -> None:
        self._switch = switch
        self._by = by
        self._timeout_s = timeout_s
        self._id = uuid.uuid4().hex[:16]
        self._target = Target("session", CANARY_PREFIX + self._id)
        self._at_s = wall_s()
        self._kill = _Half()
        self._lift = _Half()

    @property
    def was_overtaken(self) -> bool:
        """Whether a point spoke of somebody else's later change instead of the canary's."""
        return bool(self._kill.overtaken or self._lift.overtaken)

    def run(self) -> None:
        acks: list[Ack] = []
        try:
            outcome, containment = self._switch.revoke_and_wait(
                self._target,
                reason=REASON,
                by=self._by,
                contain_timeout_s=self._timeout_s,
                on_ack=acks.append,
            )
            self._kill.settle(outcome, containment, acks)
            if outcome.pending:  # a switch with a journal; the next drill takes the canary away
                raise StoreUnreachable("the store did not answer; the canary waits in the journal")
        finally:
            acks = []
            lifted = self._switch.restore_and_wait(
                self._target,
                reason=REASON,
                by=self._by,
                contain_timeout_s=self._timeout_s,
                on_ack=acks.append,
            )
        self._lift.settle(*lifted, acks)

    def drill(self, only: str, promise_ms: float, inconclusive: str, problem: str) -> Drill:
        """Return what was found, as far as it came."""
        outcome, containment = self._kill.outcome, self._kill.containment
        live = (
            ()
            if containment is None
            else (*containment.confirmed, *containment.contrary, *containment.missing)
        )
        chosen = sorted(
            (point for point in live if only in ("", point.name)), key=lambda point: (point.name, point.id)
        )
        if not problem and containment is not None:
            problem = containment.problem
        return Drill(
            id=self._id,
            target=str(self._target),
            by=self._by,
            at_s=self._at_s,
            promise_ms=promise_ms,
            only=only,
            epoch=0 if outcome is None else outcome.epoch,
            written_ms=None if outcome is None else round(outcome.written_ms, 3),
            durable=None if outcome is None else outcome.durable,
            points=tuple(self._result(point, promise_ms) for point in chosen),
            inconclusive=inconclusive,
            problem=problem,
        )

    def _result(self, point: PointStatus, promise_ms: float) -> PointResult:
        killed, lifted = self._kill.latencies.get(point.id), self._lift.latencies.get(point.id)
        refuses, still_refuses = self._kill.says(point.id), self._lift.says(point.id)
        return PointResult(
            id=point.id,
            name=point.name,
            host=point.host,
            pid=point.pid,
            serves=point.serves,
            lease_s=point.lease_s,
            refused=refuses,
            allowed_again=None if still_refuses is None else not still_refuses,
            refused_own_ms=_own_ms(killed),
            refused_writer_ms=_writer_ms(killed),
            allowed_own_ms=_own_ms(lifted),
            allowed_writer_ms=_writer_ms(lifted),
            problem=self._problem(point, promise_ms),
        )

    def _problem(self, point: PointStatus, promise_ms: float) -> str:
        """Return in words what this point did not show, or nothing."""
        killed, refuses = self._kill.latencies.get(point.id), self._kill.says(point.id)
        if point.id in self._kill.missing:
            return (
                f"did not confirm within {self._timeout_s:g} s; cut off, it refuses once its lease of"
                f" {point.lease_s:g} s ends"
            )
        if refuses is False:
            return "heard the revocation and would still have allowed the canary"
        if killed is None or refuses is None:
            return "confirmed, but did not say what its check answers (an older version?)"
        if killed.writer_ms > promise_ms:
            return f"refused after {killed.writer_ms:.0f} ms; promised were {promise_ms:g} ms"
        return self._problem_after(point)

    def _problem_after(self, point: PointStatus) -> str:
        """Return the same of the restoration; a point that has signed off since owes nothing."""
        if self._lift.containment is None or point.id in self._lift.missing:
            return f"was not heard allowing again within {self._timeout_s:g} s"
        still_refuses = self._lift.says(point.id)
        if still_refuses:
            return "still refuses after the restoration: it may refuse everything"
        if still_refuses is None and point.id in self._lift.confirmed:
            return "confirmed the restoration, but did not say what its check answers"
        return ""


def _own_ms(latency: PointLatency | None) -> float | None:
    return None if latency is None or latency.own_ms is None else round(latency.own_ms, 3)


def _writer_ms(latency: PointLatency | None) -> float | None:
    return None if latency is None else round(latency.writer_ms, 3)
