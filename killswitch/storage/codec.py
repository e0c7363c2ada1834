"""Records as JSON. Reading hostile bytes raises :class:`~killswitch.errors.BadRecord` and nothing else.

Unknown fields are ignored, so that a later version can add some; an unknown version ``v`` is refused, so that
a later version can change the meaning of one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar, cast

from killswitch.errors import BadRecord, InvalidTarget
from killswitch.revocations import (
    CHANGE_KINDS,
    LEVELS,
    MAX_BY_CHARS,
    MAX_EVIDENCE,
    MAX_ID_CHARS,
    MAX_REASON_CHARS,
    MAX_SECONDS,
    Change,
    Revocation,
)
from killswitch.targets import Target
from killswitch.trust.approvals import Approval, approval_from, plain_approval

VERSION: Final = 1
MAX_RECORD_BYTES: Final = (
    524_288  # security limit: two records of at most 73 KiB each, or one and 16 approvals
)
MAX_NOTICE_BYTES: Final = (
    32_768  # security limit: a reason of the longest kind, in the longest characters, and the names
)
MAX_APPROVALS: Final = 16  # security limit: each costs a reader a signature check

T = TypeVar("T")


def encode_revocation(revocation: Revocation) -> bytes:
    """Return the record as JSON, at most :data:`MAX_RECORD_BYTES` bytes."""
    return _dump(_plain_revocation(revocation))


def decode_revocation(data: bytes) -> Revocation:
    """Return the record in `data`.

    Raises
    ------
    BadRecord
        For anything that is not a record of version 1.
    """
    return _decode(data, _revocation)


def encode_change(change: Change) -> bytes:
    """Return the log entry as JSON."""
    approvals = {"approvals": [plain_approval(item) for item in change.approvals]} if change.approvals else {}
    return _dump(
        {
            "v": VERSION,
            "epoch": change.epoch,
            "change_id": change.change_id,
            "kind": change.kind,
            "target": str(change.target),
            "previous": None if change.previous is None else _plain_revocation(change.previous),
            "new": None if change.new is None else _plain_revocation(change.new),
            "reason": change.reason,
            "by": change.by,
            "at_s": change.at_s,
            **approvals,
        }
    )


def decode_change(data: bytes) -> Change:
    """Return the log entry in `data`.

    Raises
    ------
    BadRecord
        For anything that is not a change of version 1.
    """
    return _decode(data, _change)


def encode_notice(record: Revocation) -> bytes:
    """Return a kill in the shortest form that refusing takes: one field a line, the reason last.

    The change that follows says it all, in full; a line break in a name is a space here.
    """
    expires = "" if record.expires_at_s is None else repr(record.expires_at_s)
    fields = (
        str(VERSION), record.level, str(record.target), expires, repr(record.at_s), str(record.epoch),
        "held" if record.held_after else "", record.change_id, record.by,
    )  # fmt: skip
    return "\n".join([*(field.replace("\n", " ") for field in fields), record.reason]).encode()


def decode_notice(data: bytes) -> Revocation:
    """Return the kill in `data`.

    It is the first thing that a point does on a kill, in caches that hold something else: no JSON, no loops.

    Raises
    ------
    BadRecord
        For anything that is no notice of version 1.
    """
    if len(data) > MAX_NOTICE_BYTES:
        raise BadRecord(f"{len(data)} bytes, more than {MAX_NOTICE_BYTES}")
    try:
        version, level, name, expires, at, epoch, held, change_id, by, reason = data.decode().split("\n", 9)
        at_s, expires_at_s, number = float(at), float(expires) if expires else None, int(epoch)
        target = Target.parse(name)
    except ValueError as error:  # an InvalidTarget is one too
        raise BadRecord(f"no notice of a kill: {error}"[:200]) from error
    if (
        version != "1"
        or level not in LEVELS
        or (expires_at_s is None) == (level == "suspend")
        or not (expires_at_s is None or 0 < expires_at_s < MAX_SECONDS)
        or not 0 <= at_s < MAX_SECONDS
        or not 0 <= number < 1 << 63
        or not (held == "" or (held == "held" and level == "suspend"))
        or not 0 < len(reason) <= MAX_REASON_CHARS
        or not 0 < len(by) <= MAX_BY_CHARS
        or not 0 < len(change_id) <= MAX_ID_CHARS
    ):
        raise BadRecord("no notice of a kill that this version understands")
    return Revocation(target, level, reason, by, at_s, expires_at_s, change_id, number, (), held != "")


def _dump(plain: dict[str, Any]) -> bytes:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _plain_revocation(revocation: Revocation) -> dict[str, Any]:
    return {
        "v": VERSION,
        "target": str(revocation.target),
        "level": revocation.level,
        "reason": revocation.reason,
        "by": revocation.by,
        "at_s": revocation.at_s,
        "expires_at_s": revocation.expires_at_s,
        "change_id": revocation.change_id,
        "epoch": revocation.epoch,
        "evidence": list(revocation.evidence),
        "held_after": revocation.held_after,
    }


def _decode(data: bytes, build: Callable[[object], T]) -> T:
    if len(data) > MAX_RECORD_BYTES:
        raise BadRecord(f"{len(data)} bytes, more than {MAX_RECORD_BYTES}")
    try:
        return build(_DECODER.decode(data.decode()))
    except BadRecord:
        raise
    except InvalidTarget as error:
        raise BadRecord(str(error)) from error
    except (ValueError, RecursionError) as error:
        # Bad UTF-8, bad JSON, endless nesting or numbers: all the same to a reader.
        raise BadRecord(f"not JSON: {error}"[:200]) from error


def _no_constant(name: str) -> NoReturn:
    raise BadRecord(f"{name} is no JSON number")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


# Reading a change is on the way of every kill, in processes that have done something else since the last one, so that
# each Python function on it is paid for with cache misses. Hence few, straight ones, without a helper per field.


def _revocation(parsed: object, known: Target | None = None) -> Revocation:
    plain = _versioned(parsed)
    target: Any = plain.get("target")
    level, expires_at_s = plain.get("level"), plain.get("expires_at_s")
    evidence, held_after = plain.get("evidence", []), plain.get("held_after", False)
    _require_common(plain)
    if level not in LEVELS:
        raise BadRecord(f"level: {level!r:.80} is unknown")
    if (expires_at_s is not None) != (level == "suspend") or (
        level == "suspend" and not _is_seconds(expires_at_s)
    ):
        raise BadRecord("expires_at_s: expected seconds since 1970 for a suspension, and only for one")
    if type(held_after) is not bool or (held_after and level != "suspend"):
        raise BadRecord("held_after: expected true or false, and true only for a suspension")
    if type(evidence) is not list or (evidence and not _is_evidence(evidence)):
        raise BadRecord(f"evidence: expected a list of at most {MAX_EVIDENCE} ids")
    return Revocation(
        target=known if known is not None and target == str(known) else Target.parse(target),
        level=level,
        reason=plain["reason"],
        by=plain["by"],
        at_s=plain["at_s"],
        expires_at_s=expires_at_s,
        change_id=plain["change_id"],
        epoch=plain["epoch"],
        evidence=tuple(evidence),
        held_after=held_after,
    )


def _change(parsed: object) -> Change:
    plain = _versioned(parsed)
    kind, previous, new = plain.get("kind"), plain.get("previous"), plain.get("new")
    _require_common(plain)
    if kind not in CHANGE_KINDS:
        raise BadRecord(f"kind: {kind!r:.80} is unknown")
    name: Any = plain.get("target")
    target = Target.parse(name)
    change = Change(
        epoch=plain["epoch"],
        change_id=plain["change_id"],
        kind=kind,
        target=target,
        previous=None if previous is None else _revocation(previous, target),
        new=None if new is None else _revocation(new, target),
        reason=plain["reason"],
        by=plain["by"],
        at_s=plain["at_s"],
        approvals=() if plain.get("approvals") is None else _approvals(plain["approvals"]),
    )
    # A change must say one thing: its new record is about its target and epoch, and there if the kind makes one.
    if change.new is not None and (change.new.target != target or change.new.epoch != change.epoch):
        raise BadRecord("new: is about another target or epoch than the change")
    if (change.new is not None) != (kind in LEVELS):
        raise BadRecord(f"new: does not fit a {kind}")
    return change


def _approvals(value: object) -> tuple[Approval, ...]:
    if type(value) is not list or len(value) > MAX_APPROVALS:
        raise BadRecord(f"approvals: expected a list of at most {MAX_APPROVALS}")
    return tuple(map(approval_from, value))


def _versioned(plain: object) -> dict[str, Any]:
    if type(plain) is not dict:
        raise BadRecord("not a JSON object")
    version = plain.get("v")
    if version != VERSION or version is True:
        raise BadRecord(f"v: version {version!r:.80} is not {VERSION}; upgrade killcord here")
    return plain


_TEXTS: Final = (("reason", MAX_REASON_CHARS), ("by", MAX_BY_CHARS), ("change_id", MAX_ID_CHARS))


def _require_common(plain: dict[str, Any]) -> None:
    """Refuse what is wrong with the fields that records and changes share."""
    for field, max_chars in _TEXTS:
        text = plain.get(field)
        if (
            type(text) is not str
            or not 0 < len(text) <= max_chars
            or not (text.isascii() or _is_encodable(text))
        ):
            raise BadRecord(f"{field}: expected 1 to {max_chars} characters")
    epoch, at_s = plain.get("epoch"), plain.get("at_s")
    if type(epoch) is not int or not 0 < epoch < 1 << 63:
        raise BadRecord("epoch: expected a positive number")
    if (type(at_s) is not float and type(at_s) is not int) or not 0 <= at_s < MAX_SECONDS:
        raise BadRecord("at_s: expected seconds since 1970")


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 < cast("float", value) < MAX_SECONDS


def _is_evidence(value: list[object]) -> bool:
    return len(value) <= MAX_EVIDENCE and all(
        type(item) is str and 0 < len(item) <= MAX_ID_CHARS and _is_encodable(item) for item in value
    )
