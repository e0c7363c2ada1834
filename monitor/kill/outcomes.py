"""What the API and the command line say of a kill or restore."""

from __future__ import annotations

from typing import Any

from killswitch import Containment, Outcome


def outcome_fields(target: str, outcome: Outcome, containment: Containment) -> dict[str, Any]:
    """Return what the API and the command line say of a kill or restore."""
    return {
        "target": target,
        "applied": outcome.changed,
        "note": outcome.note,
        "epoch": outcome.epoch,
        "change_id": outcome.change_id,
        "written_ms": round(outcome.written_ms, 3),
        "durable": outcome.durable,
        "contained": containment.contained,
        "enforced": len(containment.confirmed),
        "points": containment.total,
        "missing": [str(point) for point in containment.missing],
        "elapsed_ms": round(containment.elapsed_ms, 3),
    }
