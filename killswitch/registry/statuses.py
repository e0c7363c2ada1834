"""Reading the registry of enforcement points. Pure; whoever may write to the store may have put junk there."""

from __future__ import annotations

from killswitch.errors import BadRecord
from killswitch.registry.points import PointStatus, decode_point


def statuses(
    records: dict[bytes, bytes], seen_s: dict[bytes, float], applied: dict[bytes, bytes], now_s: float
) -> list[PointStatus]:
    """Return the points of a registry as it lies in the store; times are seconds on the server's clock."""
    found = []
    for point_id, data in records.items():
        try:
            record = decode_point(data)
        except BadRecord:
            continue  # not one of ours; a point that cannot register properly cannot be counted on either
        age_s = max(0.0, now_s - seen_s.get(point_id, 0.0))
        found.append(
            PointStatus(
                id=record.id, name=record.name, host=record.host, pid=record.pid, version=record.version,
                lease_s=record.lease_s, connected_at_s=record.connected_at_s,
                live=age_s <= record.lease_s, applied_epoch=_epoch(applied.get(point_id)), age_s=age_s,
                serves=record.serves,
            )
        )  # fmt: skip
    return found


def seconds(raw: bytes) -> float | None:
    """Return the time in `raw`, None if it is none."""
    try:
        return float(raw)
    except ValueError:
        return None


def _epoch(raw: bytes | None) -> int:
    try:
        return max(0, int(raw or b"0"))
    except ValueError:
        return 0
