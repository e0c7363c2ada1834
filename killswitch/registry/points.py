"""Enforcement points as the store knows them: who they are, how far they have come, whether they live."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Final, TypeVar

from killswitch.errors import BadRecord, InvalidRequest

# Security limits: all of this is written by agents' own processes and read by everybody who waits for them.
MAX_POINT_BYTES: Final = 16_384
MAX_SERVES: Final = 16
MAX_SERVED_CHARS: Final = 128


@dataclass(frozen=True, slots=True)
class PointRecord:
    """What a point says about itself when it registers.

    ``id`` is unique per guard (two replicas may share a ``name``), ``lease_s`` the seconds after which it
    refuses by itself, ``connected_at_s`` seconds since 1970 on its own clock. ``serves`` names what acts behind it,
    as targets are written ("agent:billing-bot"): at most 16 of at most 128 characters. It is for people to read; what
    a point refuses does not depend on it.

    Raises
    ------
    InvalidRequest
        If ``serves`` holds too much, or something that is no printable text.
    """

    id: str
    name: str
    host: str
    pid: int
    version: str
    lease_s: float
    connected_at_s: float
    serves: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problem = _serves_problem(self.serves)
        if problem:
            raise InvalidRequest("serves", problem)


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
    serves: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.host}, pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Registry:
    """Every point that is registered, and how old the registry is.

    ``age_s`` is the time since its first point registered, on the server's clock; None if none did since the store
    was begun, or emptied. Points say each beat that they live, so on a young registry some may be missing.
    """

    points: tuple[PointStatus, ...]
    age_s: float | None

    @property
    def live(self) -> tuple[PointStatus, ...]:
        """The points that were seen within their lease."""
        return tuple(point for point in self.points if point.live)


@dataclass(frozen=True, slots=True)
class Ack:
    """A point's word that it enforces every change up to ``epoch``.

    Attributes
    ----------
    at_s : float
        When it was sent, in seconds since 1970 on the point's clock.
    apply_us : float
        Microseconds from having received the last of the changes to enforcing it, on the point's clock.
    how : str
        Whether it came as a ``push`` or by reading a ``snapshot``.
    latency_ms : float or None
        Milliseconds from the writer's stamp (on the notice, or the change's ``at_s``) to enforcing it, on the
        point's own wall clock. Two hosts' clocks differ, so between hosts it can be off by that difference, even
        negative; what the writer measures itself (:class:`PointLatency`) cannot. None: the point did not say (an
        older version).
    refuses : bool or None
        What the point's own check answered, asked after applying, about the target of the change numbered
        ``epoch``: True, it refuses. None: it did not ask (an older version, or it read a snapshot).
    """

    point: str
    name: str
    epoch: int
    at_s: float
    apply_us: float
    how: str
    latency_ms: float | None = None
    refuses: bool | None = None


@dataclass(frozen=True, slots=True)
class PointLatency:
    """How soon one point enforced a change, on two clocks.

    ``own_ms`` is the point's word (:attr:`Ack.latency_ms`). ``writer_ms`` runs from before the write until the
    acknowledgement was here, all on the writer's clock: it holds the way back, and the spread in time of a large
    fleet's acknowledgements, so it is an upper bound.
    """

    point: PointStatus
    own_ms: float | None
    writer_ms: float


@dataclass(frozen=True, slots=True)
class Containment:
    """Whether all live points enforce a change.

    Attributes
    ----------
    confirmed, missing, contrary : tuple of PointStatus
        All points that were live, each once: those that enforce the change; those not heard of; and those that
        heard it while their own check says the opposite (they still allow what was revoked, or still refuse what
        was restored because something else covers it).
    elapsed_ms : float
        Milliseconds from the call (or, from ``revoke_and_wait``, from just before the write) to the last
        confirmation, or to giving up.
    problem : str
        Why nobody could be asked, or why the registry of points cannot be relied on; then nothing is known to be
        contained.
    latencies : tuple of PointLatency
        Of the confirmed and contrary points whose acknowledgement was heard; the others are known from the registry.
    """

    epoch: int
    confirmed: tuple[PointStatus, ...]
    missing: tuple[PointStatus, ...]
    elapsed_ms: float
    problem: str = ""
    contrary: tuple[PointStatus, ...] = ()
    latencies: tuple[PointLatency, ...] = ()

    @property
    def total(self) -> int:
        """How many points had to confirm."""
        return len(self.confirmed) + len(self.missing) + len(self.contrary)

    @property
    def contained(self) -> bool:
        """Whether no live point is missing or contrary.

        True with no live points, and then it says little: nobody is known to enforce anything. Look at ``total``.
        """
        return not (self.missing or self.contrary or self.problem)

    def __str__(self) -> str:
        if self.problem:
            return f"not known who enforces change {self.epoch}: {self.problem}"
        if not self.total:
            return "no live enforcement point: nobody is known to enforce this"
        words = f"enforced {len(self.confirmed)}/{self.total} in {self.elapsed_ms:.1f} ms"
        if self.missing:
            words += f"; missing: {', '.join(map(str, self.missing))}"
        if self.contrary:
            words += f"; heard it but checks otherwise: {', '.join(map(str, self.contrary))}"
        return words


Record = TypeVar("Record", PointRecord, Ack)


def encode(record: PointRecord | Ack) -> bytes:
    """Return the record as JSON of version 1."""
    plain = {field.name: getattr(record, field.name) for field in fields(record)}
    # Not escaped to ASCII: names in any script stay within the limit. (Half a surrogate pair is escaped all the same.)
    text = json.dumps({"v": 1, **plain}, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="backslashreplace")


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
    values: dict[str, Any] = {field.name: _field(plain, field) for field in fields(record)}
    return record(**values)


def _field(plain: dict[str, Any], field: Field[Any]) -> Any:
    """Return one field's value, or its default where an older version did not write it; raises BadRecord."""
    name, type_name = field.name, str(field.type)
    value = plain.get(name)
    if value is None and field.default is not MISSING:
        return field.default
    if type_name == "str" and isinstance(value, str) and value.isprintable():
        return value
    if type_name == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if type_name.startswith("float") and isinstance(value, int | float) and not isinstance(value, bool):
        return _float(name, value)
    if type_name.startswith("bool") and isinstance(value, bool):
        return value
    if type_name.startswith("tuple") and isinstance(value, list):
        return _served(name, value)
    raise BadRecord(f"{name}: expected {type_name}")


def _float(name: str, value: float) -> float:
    try:
        number = float(value)
    except OverflowError as error:  # an int of a thousand digits
        raise BadRecord(f"{name}: too large") from error
    if not math.isfinite(number):  # Python's parser takes NaN and Infinity, which are not JSON
        raise BadRecord(f"{name}: not a number")
    return number


def _served(name: str, value: list[Any]) -> tuple[str, ...]:
    problem = _serves_problem(tuple(value))
    if problem:
        raise BadRecord(f"{name}: {problem}")
    return tuple(value)


def _serves_problem(serves: object) -> str | None:
    """Return what is wrong with a point's list of what it serves, or None."""
    if not isinstance(serves, tuple) or len(serves) > MAX_SERVES:
        return f"expected a tuple of at most {MAX_SERVES} targets"
    for served in serves:
        if not isinstance(served, str) or not served or not served.isprintable():
            return "expected printable text such as 'agent:billing-bot'"
        if len(served) > MAX_SERVED_CHARS:
            return f"{served[:20]}… has {len(served)} characters, more than {MAX_SERVED_CHARS}"
    return None
