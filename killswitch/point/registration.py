"""How an enforcement point in this process presents itself to the store."""

from __future__ import annotations

import os
import socket
import uuid
from importlib import metadata

from killswitch.clocks import wall_s
from killswitch.errors import InvalidTarget
from killswitch.registry.points import PointRecord
from killswitch.targets import value_problem


def default_name(pid: int) -> str:
    """Return what a point is called if nobody named it."""
    return f"{socket.gethostname()}:{pid}"


def point_record(name: str | None, lease_s: float, serves: tuple[str, ...]) -> PointRecord:
    """Return a registration with an id of its own.

    Raises
    ------
    InvalidTarget
        If `name` could not be shown.
    InvalidRequest
        If `serves` is too much.
    """
    name = default_name(os.getpid()) if name is None else name
    problem = value_problem(name)
    if problem:
        raise InvalidTarget("name", problem)
    try:
        version = metadata.version("killcord")
    except metadata.PackageNotFoundError:
        version = "unknown"
    return PointRecord(
        id=uuid.uuid4().hex[:16],
        name=name,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=version,
        lease_s=lease_s,
        connected_at_s=wall_s(),
        serves=serves,
    )
