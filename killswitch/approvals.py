"""One kills, two restore: the votes for lifting a revocation, and how they are counted.

A vote is a signature over a *petition*, which names the target and the change id of the record to be lifted. Change ids
are never used twice, so votes lift that record and no later one: replaying them does nothing. Votes are counted by
verified key, never by name: one key under two names is one vote.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from killswitch.errors import BadRecord, InvalidRequest, InvalidTarget
from killswitch.keyring import Keyring, PublicKey
from killswitch.signing import Signer, is_sealed_by
from killswitch.targets import Target

CONTEXT: Final = b"killcord approval v1"
CANARY_PREFIX: Final = "killcord-canary/"
"""Sessions whose name begins so are no agent's: drills revoke and restore them, by the daemon's key alone."""

MAX_TEXT_CHARS: Final = 2_000
MAX_NAME_CHARS: Final = 256
MAX_APPROVAL_BYTES: Final = 16_384  # security limit
MAX_SECONDS: Final = 1e11


@dataclass(frozen=True, slots=True)
class Petition:
    """A request to lift one record. Times are seconds since 1970; a vote after ``expires_at_s`` does not count."""

    id: str
    target: Target
    lifts: str
    reason: str
    by: str
    expires_at_s: float
    opened_at_s: float

    def __post_init__(self) -> None:
        for name, limit in (("id", 128), ("lifts", 128), ("reason", MAX_TEXT_CHARS), ("by", MAX_NAME_CHARS)):
            text = getattr(self, name)
            if type(text) is not str or not 0 < len(text) <= limit or not _is_encodable(text):
                raise InvalidRequest(name, f"expected 1 to {limit} characters")
        for name in ("expires_at_s", "opened_at_s"):
            if not _is_seconds(getattr(self, name)):
                raise InvalidRequest(name, "expected seconds since 1970")

    def encode(self) -> bytes:
        """Return the petition as one line of JSON, the same for equal petitions; what voters sign."""
        return json.dumps(_plain_petition(self), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Petition:
        """Return the petition in `data`; raises BadRecord for anything else."""
        return _petition(_parse(data))


@dataclass(frozen=True, slots=True)
class Approval:
    """One vote: a key's signature over a petition and the time ``at_s`` of the vote."""

    petition: Petition
    key_id: str
    at_s: float
    signature: bytes

    def encode(self) -> bytes:
        """Return the vote as JSON."""
        return json.dumps(plain_approval(self), ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Approval:
        """Return the vote in `data`; raises BadRecord for anything else."""
        return approval_from(_parse(data))


def approve(petition: Petition, signer: Signer, now_s: float) -> Approval:
    """Return the vote of `signer` for `petition` at `now_s` (seconds since 1970)."""
    signature = signer.sign(CONTEXT + b"\n" + _body(petition, now_s))
    return Approval(petition, signer.key_id, now_s, signature)


def voters(keyring: Keyring, target: Target, lifts: str, approvals: Iterable[Approval]) -> list[PublicKey]:
    """Return the keys whose valid votes lift exactly the record `lifts` of `target`."""
    found = (_voter(keyring, target, lifts, approval) for approval in approvals)
    return [key for key in found if key is not None]


def missing(keyring: Keyring, target: Target, lifts: str, approvals: Iterable[Approval]) -> int:
    """Return how many more operators have to vote before the record `lifts` of `target` may be lifted."""
    keys = voters(keyring, target, lifts, approvals)
    if is_canary(target) and any(key.role == "daemon" for key in keys):
        return 0
    return keyring.short(keys, target.kind)


def is_approved(keyring: Keyring, target: Target, lifts: str, approvals: Iterable[Approval]) -> bool:
    """Return whether enough different keys of `keyring` voted to lift the record `lifts` of `target`."""
    return missing(keyring, target, lifts, approvals) == 0


def is_canary(target: Target) -> bool:
    """Return whether the target belongs to drills."""
    return target.kind == "session" and target.value.startswith(CANARY_PREFIX)


def _voter(keyring: Keyring, target: Target, lifts: str, approval: Approval) -> PublicKey | None:
    petition = approval.petition
    if petition.target != target or petition.lifts != lifts or approval.at_s > petition.expires_at_s:
        return None
    key = keyring.key(approval.key_id)
    if key is None or not is_sealed_by(
        key.public, CONTEXT, _body(petition, approval.at_s), approval.signature
    ):
        return None
    return key


def _body(petition: Petition, at_s: float) -> bytes:
    return petition.encode() + b" at " + json.dumps(at_s).encode()


def plain_approval(approval: Approval) -> dict[str, Any]:
    """Return the vote as JSON values."""
    return {
        "v": 1,
        "petition": _plain_petition(approval.petition),
        "key_id": approval.key_id,
        "at_s": approval.at_s,
        "signature": base64.b64encode(approval.signature).decode(),
    }


def approval_from(plain: object) -> Approval:
    """Return the vote in JSON values; raises BadRecord for anything else."""
    fields = _versioned(plain)
    at_s: Any
    key_id, at_s, signature = fields.get("key_id"), fields.get("at_s"), fields.get("signature")
    if type(key_id) is not str or len(key_id) > 64 or type(signature) is not str or len(signature) > 128:
        raise BadRecord("key_id, signature: expected text")
    if not _is_seconds(at_s):
        raise BadRecord("at_s: expected seconds since 1970")
    try:
        decoded = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error) as error:
        raise BadRecord("signature: not base64") from error
    return Approval(_petition(fields.get("petition")), key_id, at_s, decoded)


def _plain_petition(petition: Petition) -> dict[str, Any]:
    return {
        "v": 1,
        "id": petition.id,
        "target": str(petition.target),
        "lifts": petition.lifts,
        "reason": petition.reason,
        "by": petition.by,
        "expires_at_s": petition.expires_at_s,
        "opened_at_s": petition.opened_at_s,
    }


def _petition(plain: object) -> Petition:
    fields = _versioned(plain)
    try:
        return Petition(
            id=fields.get("id"),  # type: ignore[arg-type]  # the constructor checks
            target=Target.parse(fields.get("target")),  # type: ignore[arg-type]
            lifts=fields.get("lifts"),  # type: ignore[arg-type]
            reason=fields.get("reason"),  # type: ignore[arg-type]
            by=fields.get("by"),  # type: ignore[arg-type]
            expires_at_s=fields.get("expires_at_s"),  # type: ignore[arg-type]
            opened_at_s=fields.get("opened_at_s"),  # type: ignore[arg-type]
        )
    except (InvalidRequest, InvalidTarget) as error:
        raise BadRecord(f"petition: {error}") from error


def _versioned(plain: object) -> dict[str, Any]:
    if type(plain) is not dict or plain.get("v") != 1 or plain.get("v") is True:
        raise BadRecord("not a record of version 1")
    return plain


def _parse(data: bytes) -> object:
    if len(data) > MAX_APPROVAL_BYTES:
        raise BadRecord(f"{len(data)} bytes, more than {MAX_APPROVAL_BYTES}")
    try:
        parsed: object = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not JSON: {error}"[:200]) from error
    return parsed


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < MAX_SECONDS  # type: ignore[operator]


def _is_encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
