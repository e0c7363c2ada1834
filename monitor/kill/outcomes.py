"""What the API and the command line say of a kill or restore."""

from __future__ import annotations

from typing import Any

from killswitch import Containment, Outcome


def outcome_fields(target: str, outcome: Outcome, containment: Containment) -> dict[str, Any]:
    """Return what the API and the command line say of a kill or restore.

    ``contained`` is the literal claim that no live point is missing or checks otherwise; with ``points`` 0 it says
    that nobody is known to enforce anything, and ``says`` says so in words.
    """
    return {
        "target": target,
        "applied": outcome.changed,
        "pending": outcome.pending,
        "note": outcome.note,
        "epoch": outcome.epoch,
        "change_id": outcome.change_id,
        "written_ms": round(outcome.written_ms, 3),
        "durable": outcome.durable,
        "contained": containment.contained,
        "enforced": len(containment.confirmed),
        "points": containment.total,
        "missing": [str(point) for point in containment.missing],
        "contrary": [str(point) for point in containment.contrary],
        "elapsed_ms": round(containment.elapsed_ms, 3),
        "latencies": latency_fields(containment),
        "says": str(containment),
    }


def latency_fields(containment: Containment) -> list[dict[str, Any]]:
    """Return each point that was heard, with how soon it enforced the change on its own and on the writer's clock."""
    return [
        {
            "point": str(latency.point),
            "point_id": latency.point.id,
            "own_ms": None if latency.own_ms is None else round(latency.own_ms, 3),
            "writer_ms": round(latency.writer_ms, 3),
        }
        for latency in containment.latencies
    ]
