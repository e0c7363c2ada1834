"""Records as JSON. Reading hostile bytes raises :class:`~killswitch.errors.BadRecord` and nothing else.

Unknown fields are ignored, so that a later version can add some; an unknown version ``v`` is refused, so that
a later version can change the meaning of one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from killswitch.errors import BadRecord, InvalidRequest, InvalidTarget
from killswitch.revocations import CHANGE_KINDS, LEVELS, Change, Request, Revocation
from killswitch.targets import Target

VERSION: Final = 1
MAX_RECORD_BYTES: Final = 65_536  # security limit: a change holds two records of at most about 13 KiB each

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
    except (InvalidTarget, InvalidRequest) as error:
        raise BadRecord(str(error)) from error
    except (ValueError, RecursionError, OverflowError) as error:
        # Bad UTF-8, bad JSON, endless nesting or numbers: all the same to a reader.
        raise BadRecord(f"not JSON: {error}"[:200]) from error


def _no_constant(name: str) -> NoReturn:
    raise BadRecord(f"{name} is no JSON number")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


def _revocation(parsed: object) -> Revocation:
    plain = _versioned(parsed)
    level = plain.get("level")
    if level not in LEVELS:
        raise BadRecord(f"level: {level!r:.80} is unknown")
    target = Target.parse(_text(plain, "target"))
    # Going through Request gives a record from the store the same limits as one from a person.
    asked = Request(
        kind=level,
        target=target,
        reason=_text(plain, "reason"),
        by=_text(plain, "by"),
        change_id=_text(plain, "change_id"),
        expires_at_s=plain.get("expires_at_s"),
        evidence=_evidence(plain.get("evidence", [])),
    )
    return Revocation(
        target=target,
        level=level,
        reason=asked.reason,
        by=asked.by,
        at_s=_seconds(plain, "at_s"),
        expires_at_s=asked.expires_at_s,
        change_id=asked.change_id,
        epoch=_epoch(plain),
        evidence=asked.evidence,
        held_after=_held_after(plain),
    )


def _change(parsed: object) -> Change:
    plain = _versioned(parsed)
    kind = plain.get("kind")
    if kind not in CHANGE_KINDS:
        raise BadRecord(f"kind: {kind!r:.80} is unknown")
    target = Target.parse(_text(plain, "target"))
    previous, new = plain.get("previous"), plain.get("new")
    change = Change(
        epoch=_epoch(plain),
        change_id=_text(plain, "change_id"),
        kind=kind,
        target=target,
        previous=None if previous is None else _revocation(previous),
        new=None if new is None else _revocation(new),
        reason=_text(plain, "reason"),
        by=_text(plain, "by"),
        at_s=_seconds(plain, "at_s"),
    )
    _require_coherent(change)
    return change


def _require_coherent(change: Change) -> None:
    """Refuse a change that says two things: its new record must be about its target and epoch."""
    if change.new is not None and (change.new.target != change.target or change.new.epoch != change.epoch):
        raise BadRecord("new: is about another target or epoch than the change")
    if (change.new is not None) != (change.kind in LEVELS):
        raise BadRecord(f"new: does not fit a {change.kind}")


def _versioned(plain: object) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise BadRecord("not a JSON object")
    version = plain.get("v")
    if version != VERSION or isinstance(version, bool):
        raise BadRecord(f"v: version {version!r:.80} is not {VERSION}; upgrade killcord here")
    return plain


def _text(plain: dict[str, Any], field: str) -> str:
    value = plain.get(field)
    if not isinstance(value, str) or not value:
        raise BadRecord(f"{field}: expected text")
    return value


def _seconds(plain: dict[str, Any], field: str) -> float:
    value = plain.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise BadRecord(f"{field}: expected seconds since 1970")
    return float(value)


def _epoch(plain: dict[str, Any]) -> int:
    value = plain.get("epoch")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 63:
        raise BadRecord("epoch: expected a positive number")
    return value


def _held_after(plain: dict[str, Any]) -> bool:
    value = plain.get("held_after", False)
    if not isinstance(value, bool) or (value and plain["level"] != "suspend"):
        raise BadRecord("held_after: expected true or false, and true only for a suspension")
    return value


def _evidence(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadRecord("evidence: expected a list")
    return tuple(value)
