"""What a drill found: values, the verdict that follows from them, and their signed form.

Pure: no clock, no connection. The evidence of a drill is one line of JSON with the trailer of ``signing``: who has it
and a keyring can verify it without the daemon, the store or the network.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from killswitch.errors import BadRecord
from killswitch.trust.keyring import Keyring, PublicKey
from killswitch.trust.signing import Signer, seal, split

Verdict = Literal["passed", "failed", "no_points", "inconclusive"]

CONTEXT: Final = b"killcord drill v1"
MAX_EVIDENCE_BYTES: Final = 16 * 1024 * 1024  # security limit; ten thousand points fit


@dataclass(frozen=True, slots=True)
class PointResult:
    """How one enforcement point did.

    Attributes
    ----------
    id, name, host, pid, serves, lease_s
        Who it is, as it registered.
    refused, allowed_again : bool or None
        What its own check answered about the canary after the revocation, and, turned round, after the restoration.
        None: it was not heard, or did not say (an older version).
    refused_own_ms, allowed_own_ms : float or None
        From the writer's stamp until then, by the point's own clock (hosts' clocks may differ).
    refused_writer_ms, allowed_writer_ms : float or None
        From before the write until its acknowledgement was here, by the writer's clock. The promise is held to this.
    problem : str
        Why it counts against the drill; empty if it does not.
    """

    id: str
    name: str
    host: str
    pid: int
    serves: tuple[str, ...]
    lease_s: float
    refused: bool | None
    allowed_again: bool | None
    refused_own_ms: float | None
    refused_writer_ms: float | None
    allowed_own_ms: float | None
    allowed_writer_ms: float | None
    problem: str

    def __str__(self) -> str:
        return f"{self.name} ({self.host}, pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill: a canary was revoked and restored as an agent would be.

    Attributes
    ----------
    id, target, by : str
        The drill's own id, the canary, and who asked.
    at_s : float
        When it began, in seconds since 1970 on the writer's clock.
    promise_ms : float
        The time within which every point had to refuse, by the writer's clock.
    only : str
        The name of the points it was about; empty: all.
    epoch, written_ms, durable
        Of the revocation, as :class:`~killswitch.Outcome` has them; epoch 0: it was not written.
    points : tuple of PointResult
        Every point that was live.
    inconclusive, problem : str
        Why a drill can show nothing now (the fleet is stopped anyway); what went wrong apart from the points.
    """

    id: str
    target: str
    by: str
    at_s: float
    promise_ms: float
    only: str
    epoch: int
    written_ms: float | None
    durable: bool | None
    points: tuple[PointResult, ...]
    inconclusive: str = ""
    problem: str = ""

    @property
    def verdict(self) -> Verdict:
        """``passed`` only if there were points and every one did what it had to, in time."""
        if self.inconclusive:
            return "inconclusive"
        if self.problem or self.failing:
            return "failed"
        return "passed" if self.points else "no_points"

    @property
    def failing(self) -> tuple[PointResult, ...]:
        """The points that count against it."""
        return tuple(point for point in self.points if point.problem)

    @property
    def lease_s(self) -> float:
        """The longest lease among the points, in seconds: a point that hears nothing refuses after that; 0 of none."""
        return max((point.lease_s for point in self.points), default=0.0)

    def latency_ms(self, fraction: float) -> float | None:
        """Return the latency within which `fraction` of the heard points refused, by the writer's clock (1: all)."""
        heard = sorted(p.refused_writer_ms for p in self.points if p.refused_writer_ms is not None)
        return heard[max(0, math.ceil(fraction * len(heard)) - 1)] if heard else None

    def __str__(self) -> str:
        if self.verdict == "no_points":
            return "no live enforcement point: a kill now would stop nobody that is known"
        if self.inconclusive:
            return self.inconclusive
        if self.problem:
            return f"the drill failed: {self.problem}"
        if self.failing:
            return f"{len(self.failing)} of {len(self.points)} enforcement points failed the drill"
        slowest_ms = self.latency_ms(1) or 0.0
        return (
            f"all {len(self.points)} enforcement points refused within {slowest_ms:.1f} ms and allowed again"
        )


def encode(drill: Drill) -> bytes:
    """Return the drill as one line of canonical JSON."""
    plain = {"v": 1, "statement": "killcord drill", "verdict": drill.verdict, **asdict(drill)}
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def evidence(drill: Drill, signer: Signer) -> bytes:
    """Return the drill with the signature of `signer`, to be kept and shown."""
    return seal(signer, CONTEXT, encode(drill))


def read_evidence(data: bytes, keyring: Keyring | None) -> tuple[Drill, PublicKey | None]:
    """Return the drill in `data` and the key of `keyring` that signed it, None if none did.

    Raises
    ------
    BadRecord
        If there is no drill in it, or one whose verdict does not follow from what it says.
    """
    data = data.strip()
    if len(data) > MAX_EVIDENCE_BYTES:
        raise BadRecord(f"{len(data)} bytes, more than {MAX_EVIDENCE_BYTES}")
    body, _, _ = split(data)
    drill = decode(body)
    return drill, None if keyring is None else keyring.verify(CONTEXT, data)


def decode(body: bytes) -> Drill:
    """Return the drill in a line of JSON, or raise BadRecord for anything else."""
    try:
        plain: Any = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not JSON: {error}"[:200]) from error
    if not isinstance(plain, dict) or (plain.get("v"), plain.get("statement")) != (1, "killcord drill"):
        raise BadRecord("not a drill of version 1")
    points = plain.get("points")
    if not isinstance(points, list):
        raise BadRecord("points: expected a list")
    drill = Drill(**_checked(plain, Drill), points=tuple(_point(each) for each in points))
    if plain.get("verdict") != drill.verdict:
        raise BadRecord("verdict: does not follow from what the drill found")
    return drill


def _point(plain: object) -> PointResult:
    if not isinstance(plain, dict):
        raise BadRecord("points: expected objects")
    serves = plain.get("serves")
    if not isinstance(serves, list) or not all(isinstance(each, str) for each in serves):
        raise BadRecord("serves: expected a list of texts")
    return PointResult(**_checked(plain, PointResult), serves=tuple(serves))


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "bool | None": (bool, type(None)),
}


def _checked(plain: dict[str, Any], kind: type[Drill | PointResult]) -> dict[str, Any]:
    """Return the plain fields of `kind`, each of its declared type."""
    found: dict[str, Any] = {}
    for field in fields(kind):
        if str(field.type) not in _TYPES:
            continue  # the nested ones
        value, allowed = plain.get(field.name), _TYPES[str(field.type)]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise BadRecord(f"{field.name}: expected {field.type}")
        if isinstance(value, float) and not math.isfinite(value):
            raise BadRecord(f"{field.name}: not a number")
        found[field.name] = value
    return found
