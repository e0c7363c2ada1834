"""The entries of what is no agent's action: verdicts, changes of what agents may do, what operators did. Pure.

Fields of each type, after those that `entry` tells of:

``judgement``                  ``alert`` (``id``), ``judgement``: ``verdict``, ``reason``
``authorization_transition``   ``previous_state``, ``new_state`` (active, step_up, suspended, revoked), ``trigger``
                               (``type``: policy, person, drill, expiry or repair; ``reason``), ``epoch``,
                               ``change_id``, ``expires_at``, ``held_after``, ``lifts`` (change id of the record
                               before), ``approved_by`` (``key_id``, ``at``, ``petition``)
``withdrawal``                 ``change_id``, ``withdrawal``: ``reason``, ``decided_at``
``drill``                      ``drill``: verdict and figures, the points that failed, the digest of its evidence
``operator_act``               ``act``: ``name``, ``object``, ``outcome``, ``role``, ``address``, ``detail``
``record``                     ``record``: ``kind`` and what it says

Those that come from the feed are in `feed_forms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from killswitch import Change, Revocation
from killswitch.drills.drill_record import Drill
from killswitch.errors import BadRecord
from killswitch.revocations import state_of
from killswitch.storage.codec import decode_change
from killswitch.trust.approvals import is_canary
from monitor.errors import LogError
from monitor.log import audit
from monitor.log.entries import Judgement, Transition, Withdrawal
from monitor.record.entry import Entry, digest_of, entry_of, stamp
from monitor.record.known import about, actor_of, alerts_in, evidence_of, known, target_in

MAX_FAILING: Final = 100
_STATES: Final = {"held": "step_up", "expired": "active"}  # in the words of the draft; others are the same
_TRIGGERS: Final = {"killcord/policy": "policy", "killcord/guardian": "repair", "killcord/expiry": "expiry"}
_ABOUT_AGENTS: Final = frozenset({"POST /v1/mutes"})
"""Acts whose object is an agent's id."""


def judgement_entry(judgement: Judgement, *, seq: int) -> Entry:
    """Return the entry of what a person said of an alert; `seq` is its number in the action log."""
    return entry_of(
        {
            **_head(f"judgement-{seq}", "judgement", judgement.now_s, judgement.now_s),
            "actor": actor_of(judgement.by),
            "alert": {"id": judgement.alert_id},
            "judgement": {"verdict": judgement.verdict, "reason": judgement.reason},
        },
        judgement.now_s,
    )


def transition_entry(transition: Transition) -> Entry:
    """Return the entry of a change of the revocation state; raises `LogError` if the change cannot be read."""
    try:
        change = decode_change(transition.change)
    except BadRecord as error:
        raise LogError(f"a change of the revocation state in the log cannot be read: {error}") from error
    new, previous = change.new, change.previous
    return entry_of(
        {
            **_head(f"transition-{change.epoch}", "authorization_transition", change.at_s, transition.now_s),
            **about(change.target),
            "actor": actor_of(change.by),
            "evidence": evidence_of(new.evidence) if new else None,
            "previous_state": "suspended" if change.kind == "expire" else _state(previous, change.at_s),
            "new_state": _state(new, change.at_s),
            "trigger": {"type": _trigger(change), "reason": change.reason},
            "epoch": change.epoch,
            "change_id": change.change_id,
            "expires_at": stamp(new.expires_at_s) if new and new.expires_at_s is not None else None,
            "held_after": True if new and new.held_after else None,
            "lifts": previous.change_id if previous else None,
            "approved_by": [
                {"key_id": vote.key_id, "at": stamp(vote.at_s), "petition": vote.petition.id}
                for vote in change.approvals
            ]
            or None,
        },
        change.at_s,
    )


def withdrawal_entry(withdrawal: Withdrawal, *, seq: int) -> Entry:
    """Return the entry of an automatic kill that cannot be carried out; `seq` is its number in the action log."""
    target = target_in(withdrawal.target)
    return entry_of(
        {
            **_head(f"withdrawal-{seq}", "withdrawal", withdrawal.now_s, withdrawal.now_s),
            **(about(target) if target else {"target": withdrawal.target}),
            "actor": actor_of("killcord/policy"),
            "evidence": evidence_of(withdrawal.evidence),
            "change_id": withdrawal.change_id,
            "withdrawal": {"reason": withdrawal.why, "decided_at": stamp(withdrawal.at_s)},
        },
        withdrawal.now_s,
    )


def drill_entry(drill: Drill, *, evidence: bytes, signed_by: str, now_s: float) -> Entry:
    """Return the entry of a drill, whose `evidence` is kept elsewhere, signed by the key `signed_by` ("": by none).

    `now_s` is when the record took it in, in seconds since 1970.
    """
    failing = [
        {"id": point.id, "name": point.name, "host": point.host, "problem": point.problem}
        for point in drill.failing
    ]
    return entry_of(
        {
            **_head(f"drill-{drill.id}", "drill", drill.at_s, now_s),
            "parent_id": f"transition-{drill.epoch}" if drill.epoch else None,
            "actor": actor_of(drill.by),
            "target": drill.target,
            "drill": known(
                verdict=drill.verdict,
                summary=str(drill),
                promise_ms=drill.promise_ms,
                slowest_ms=drill.latency_ms(1),
                written_ms=drill.written_ms,
                durable=drill.durable,
                points=len(drill.points),
                failing=failing[:MAX_FAILING] or None,
                only=drill.only or None,
                evidence_sha256=digest_of(evidence),
                signed_by=signed_by or None,
            ),
        },
        drill.at_s,
    )


def act_entry(seq: int, act: audit.Entry) -> Entry:
    """Return the entry of an act of the audit trail, number `seq` there."""
    target = target_in(act.object)
    if act.act in _ABOUT_AGENTS and act.object:
        said: dict[str, Any] = {"agent": {"id": act.object}}
    else:
        said = about(target) if target else {}
    return entry_of(
        {
            **_head(f"act-{seq}", "operator_act", act.at, act.at),
            **said,
            "actor": actor_of(act.by),
            "evidence": known(alert_ids=alerts_in(act.object) or None),
            "act": known(
                name=act.act,
                object=act.object or None,
                outcome=act.outcome,
                role=act.role or None,
                address=act.address or None,
                detail=act.detail or None,
            ),
        },
        act.at,
    )


def record_entry(n: int, kind: str, now_s: float, fields: Mapping[str, Any]) -> Entry:
    """Return the `n`-th entry of the record about itself.

    Parameters
    ----------
    kind
        What happened to the record: ``begun``, ``sealed``, ``contents_deleted`` or ``pruned``.
    fields
        What there is to say of it, as JSON values; ``by`` names who did it, and ``target`` what it was about.
    """
    said = dict(fields)
    by, target = said.pop("by", "killcord/record"), target_in(str(said.get("target", "")))
    return entry_of(
        {
            **_head(f"record-{n}", "record", now_s, now_s),
            **(about(target) if target else {}),
            "actor": actor_of(by),
            "record": {"kind": kind, **said},
        },
        now_s,
    )


def _head(event_id: str, kind: str, ts_s: float, recorded_s: float) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "type": kind,
        "timestamp": stamp(ts_s),
        "recorded_at": stamp(recorded_s),
    }


def _state(record: Revocation | None, at_s: float) -> str:
    state = state_of(record, at_s)
    return _STATES.get(state, state)


def _trigger(change: Change) -> str:
    if is_canary(change.target):
        return "drill"
    if change.kind == "expire":
        return "expiry"
    return _TRIGGERS.get(change.by, "person")
