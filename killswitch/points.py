"""Enforcement points as the store knows them: who they are, how far they have come, whether they live."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

from killswitch.errors import BadRecord

MAX_POINT_BYTES: Final = 4_096  # security limit: registered by agents' own processes


@dataclass(frozen=True, slots=True)
class PointRecord:
    """What a point says about itself when it registers.

    ``id`` is unique per guard (two replicas may share a ``name``), ``lease_s`` the seconds after which it
    refuses by itself, ``connected_at_s`` seconds since 1970 on its own clock.
    """

    id: str
    name: str
    host: str
    pid: int
    version: str
    lease_s: float
    connected_at_s: float


@dataclass(frozen=True, slots=True)
class PointStatus:
    """A point as the store sees it now.

    ``age_s`` is the time since it was last seen, on the server's clock; ``live`` means within its lease. One
    that is not live refuses everything by itself (its lease ran out) or is gone.
    """

    id: str
    name: str
    host: str
    pid: int
    version: str
    lease_s: float
    connected_at_s: float
    live: bool
    applied_epoch: int
    age_s: float

    def __str__(self) -> str:
        return f"{self.name} ({self.host}, pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Ack:
    """A point's word that it enforces every change up to ``epoch``.

    ``apply_us`` is the time from having received the last of them to refusing, on the point's clock;
    ``how`` tells whether it came as a push or by reading a snapshot.
    """

    point: str
    name: str
    epoch: int
    at_s: float
    apply_us: float
    how: str


@dataclass(frozen=True, slots=True)
class Containment:
    """Whether all live points enforce a change.

    ``confirmed`` and ``missing`` are points that were live; ``elapsed_ms`` runs from the call (or, from
    ``revoke_and_wait``, from just before the write) to the last confirmation, or to giving up. ``problem``
    says why nobody could be asked; then nothing is known to be contained.
    """

    epoch: int
    confirmed: tuple[PointStatus, ...]
    missing: tuple[PointStatus, ...]
    elapsed_ms: float
    problem: str = ""

    @property
    def total(self) -> int:
        """How many points had to confirm."""
        return len(self.confirmed) + len(self.missing)

    @property
    def contained(self) -> bool:
        """Whether no live point is missing. True with no live points: then nobody can act at all."""
        return not self.missing and not self.problem

    def __str__(self) -> str:
        if self.problem:
            return f"not known who enforces change {self.epoch}: {self.problem}"
        words = f"enforced {len(self.confirmed)}/{self.total} in {self.elapsed_ms:.1f} ms"
        return words if self.contained else f"{words}; missing: {', '.join(map(str, self.missing))}"


Record = TypeVar("Record", PointRecord, Ack)


def encode(record: PointRecord | Ack) -> bytes:
    """Return the record as JSON of version 1."""
    plain = {field.name: getattr(record, field.name) for field in fields(record)}
    return json.dumps({"v": 1, **plain}, separators=(",", ":")).encode()


def decode_point(data: bytes) -> PointRecord:
    """Return the registration in `data`, or raise BadRecord for anything else."""
    return _decode(data, PointRecord)


def decode_ack(data: bytes) -> Ack:
    """Return the acknowledgement in `data`, or raise BadRecord for anything else."""
    return _decode(data, Ack)


def _decode(data: bytes, record: type[Record]) -> Record:
    if len(data) > MAX_POINT_BYTES:
        raise BadRecord(f"{len(data)} bytes, more than {MAX_POINT_BYTES}")
    try:
        plain: Any = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not JSON: {error}"[:200]) from error
    if not isinstance(plain, dict) or plain.get("v") != 1:
        raise BadRecord("not a record of version 1")
    values: dict[str, Any] = {
        field.name: _field(plain, field.name, str(field.type)) for field in fields(record)
    }
    return record(**values)


def _field(plain: dict[str, Any], name: str, type_name: str) -> str | int | float:
    value = plain.get(name)
    if type_name == "str" and isinstance(value, str) and value.isprintable():
        return value
    if type_name == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if type_name == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return _float(name, value)
    raise BadRecord(f"{name}: expected {type_name}")


def _float(name: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError as error:  # an int of a thousand digits
        raise BadRecord(f"{name}: too large") from error
