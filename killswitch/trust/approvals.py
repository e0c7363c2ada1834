"""One kills, two restore: the votes for lifting a revocation, and how they are counted.

A vote is a signature over a *petition*, which names the target and the change id of the record to be lifted. Change ids
are never used twice, so votes lift that record and no later one: replaying them does nothing. Votes are counted by
verified key, never by name: one key under two names is one vote. They travel with the restoration, and every
enforcement point counts them again by its own keyring.

Pure: time is an argument.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from killswitch.errors import BadRecord, InvalidRequest, InvalidTarget
from killswitch.targets import Target
from killswitch.trust.keyring import Keyring, PublicKey
from killswitch.trust.signing import Signer, decode_trailer, signed_bytes

CONTEXT: Final = b"killcord approval v1"
CANARY_PREFIX: Final = "killcord-canary/"
"""Sessions whose name begins so are no agent's: drills revoke and restore them, by the daemon's key alone."""

# Security limits: votes come from the store. The first four are those of the records that they lift.
MAX_REASON_CHARS: Final = 2_000
MAX_BY_CHARS: Final = 256
MAX_ID_CHARS: Final = 128
MAX_SECONDS: Final = 1e11
MAX_PETITION_S: Final = 7 * 86_400.0
MAX_APPROVAL_BYTES: Final = 49_152

_TEXTS: Final = (
    ("id", MAX_ID_CHARS),
    ("lifts", MAX_ID_CHARS),
    ("reason", MAX_REASON_CHARS),
    ("by", MAX_BY_CHARS),
)


@dataclass(frozen=True, slots=True)
class Petition:
    """A request to lift one record.

    Parameters
    ----------
    id : str
        Names the petition; :meth:`open` makes one up.
    target : Target
        What is to be restored.
    lifts : str
        Change id of the record in force. Votes count for this record and no other.
    reason, by : str
        Why, and who asks.
    expires_at_s, opened_at_s : float
        In seconds since 1970, at most 7 days apart. A vote after ``expires_at_s`` does not count.

    Raises
    ------
    InvalidRequest
        Naming the field that is wrong.
    """

    id: str
    target: Target
    lifts: str
    reason: str
    by: str
    expires_at_s: float
    opened_at_s: float

    def __post_init__(self) -> None:
        if not isinstance(self.target, Target):
            raise InvalidRequest("target", "expected a Target; use Target.parse('agent:name')")
        for name, limit in _TEXTS:
            text = getattr(self, name)
            if type(text) is not str or not text.strip() or len(text) > limit or not _is_encodable(text):
                raise InvalidRequest(name, f"expected 1 to {limit} characters")
        for name in ("expires_at_s", "opened_at_s"):
            # 5 and 5.0 are equal, and so must be what is signed.
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))
        if not 0 < self.expires_at_s - self.opened_at_s <= MAX_PETITION_S:
            raise InvalidRequest("expires_at_s", f"expected at most {MAX_PETITION_S:.0f} s after opened_at_s")

    @classmethod
    def open(
        cls, target: Target, lifts: str, *, reason: str, by: str, now_s: float, valid_s: float = 3_600.0
    ) -> Petition:
        """Return a new petition that can be voted for from `now_s` on for `valid_s` seconds."""
        return cls(uuid.uuid4().hex[:12], target, lifts, reason, by, now_s + valid_s, now_s)

    def encode(self) -> bytes:
        """Return the petition as one line of JSON, the same for equal petitions."""
        return _canonical(_plain_petition(self))

    @classmethod
    def decode(cls, data: bytes) -> Petition:
        """Return the petition in `data`; raises BadRecord for anything else."""
        return _petition(_parse(data))


@dataclass(frozen=True, slots=True)
class Approval:
    """One vote: a key's signature over a petition and the time ``at_s`` of the vote, on the voter's clock."""

    petition: Petition
    key_id: str
    at_s: float
    signature: bytes

    def encode(self) -> bytes:
        """Return the vote as one line of JSON."""
        return _canonical(plain_approval(self))

    @classmethod
    def decode(cls, data: bytes) -> Approval:
        """Return the vote in `data`; raises BadRecord for anything else. Whether it counts, :func:`counted` says."""
        return approval_from(_parse(data))


def approve(petition: Petition, signer: Signer, now_s: float) -> Approval:
    """Return the vote of `signer` for `petition` at `now_s` (seconds since 1970).

    Raises
    ------
    InvalidRequest
        If the petition has run out.
    """
    at_s = _seconds("now_s", now_s)
    if at_s > petition.expires_at_s:
        raise InvalidRequest("petition", f"{petition.id} has run out; open a new one")
    return Approval(petition, signer.key_id, at_s, signer.sign(_message(petition, at_s)))


def counted(
    keyring: Keyring, target: Target, lifts: str, approvals: Iterable[Approval], now_s: float | None = None
) -> tuple[Approval, ...]:
    """Return the votes that count for lifting exactly the record `lifts` of `target`, one of each key.

    Parameters
    ----------
    keyring : Keyring
        Whose keys count.
    lifts : str
        Change id of the record in force.
    approvals : iterable of Approval
        Those for another target or record, too late, by strangers or with a bad signature are passed over.
    now_s : float, optional
        Pass over also those for petitions that have run out by then (seconds since 1970). Points leave it out: they
        judge a restoration alike whenever they hear of it.
    """
    found: dict[str, Approval] = {}
    for approval in approvals:
        petition = approval.petition
        if petition.target != target or petition.lifts != lifts or approval.key_id in found:
            continue
        if max(approval.at_s, now_s or 0.0) > petition.expires_at_s:
            continue
        if keyring.signed(approval.key_id, approval.signature, _message(petition, approval.at_s)):
            found[approval.key_id] = approval
    return tuple(found.values())


def voters(
    keyring: Keyring, target: Target, lifts: str, approvals: Iterable[Approval], now_s: float | None = None
) -> list[PublicKey]:
    """Return the keys whose votes count for lifting `lifts` of `target`, each once; see :func:`counted`."""
    keys = (keyring.key(approval.key_id) for approval in counted(keyring, target, lifts, approvals, now_s))
    return [key for key in keys if key is not None]


def missing(
    keyring: Keyring, target: Target, lifts: str, approvals: Iterable[Approval], now_s: float | None = None
) -> int:
    """Return how many more operators have to vote before `lifts` of `target` may be lifted; see :func:`counted`."""
    needed = 0 if is_canary(target) else keyring.quorum_for(target.kind)
    return keyring.short(voters(keyring, target, lifts, approvals, now_s), needed)


def is_approved(
    keyring: Keyring, target: Target, lifts: str, approvals: Iterable[Approval], now_s: float | None = None
) -> bool:
    """Return whether enough different keys voted to lift the record `lifts` of `target`; see :func:`counted`."""
    return missing(keyring, target, lifts, approvals, now_s) == 0


def is_canary(target: Target) -> bool:
    """Return whether the target belongs to drills."""
    return target.kind == "session" and target.value.startswith(CANARY_PREFIX)


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
    # As the line under a statement, so that one place knows how keys and signatures are written.
    found = decode_trailer(f"{fields.get('key_id')} {fields.get('signature')}".encode(errors="replace"))
    if found is None:
        raise BadRecord("key_id, signature: expected 16 hexadecimal digits, and 64 bytes in base64")
    try:
        at_s = _seconds("at_s", fields.get("at_s"))
    except InvalidRequest as error:
        raise BadRecord(str(error)) from error
    return Approval(_petition(fields.get("petition")), found[0], at_s, found[1])


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
    values: dict[str, Any] = {name: fields.get(name) for name in ("expires_at_s", "opened_at_s")}
    values |= {name: fields.get(name) for name, _ in _TEXTS}
    target: Any = fields.get("target")
    try:
        return Petition(target=Target.parse(target), **values)
    except (InvalidRequest, InvalidTarget) as error:
        raise BadRecord(f"petition: {error}") from error


def _message(petition: Petition, at_s: float) -> bytes:
    return signed_bytes(CONTEXT, _canonical({"at_s": at_s, "petition": _plain_petition(petition)}))


def _canonical(plain: Mapping[str, Any]) -> bytes:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _versioned(plain: object) -> dict[str, Any]:
    if type(plain) is not dict or plain.get("v") != 1 or plain.get("v") is True:
        raise BadRecord("not a record of version 1; upgrade killcord here")
    return plain


def _parse(data: bytes) -> object:
    if len(data) > MAX_APPROVAL_BYTES:
        raise BadRecord(f"{len(data)} bytes, more than {MAX_APPROVAL_BYTES}")
    try:
        parsed: object = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not JSON: {error}"[:200]) from error
    return parsed


def _seconds(field: str, value: object) -> float:
    if type(value) is int and 0 <= value < MAX_SECONDS:
        return float(value)
    if type(value) is float and 0 <= value < MAX_SECONDS:
        return value
    raise InvalidRequest(field, "expected seconds since 1970")


def _is_encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
