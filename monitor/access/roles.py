"""The five roles and what each may do. Pure; no other file decides who may do what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

Permission = Literal["ingest", "read", "triage", "kill", "audit"]
Role = Literal["sensor", "analyst", "on-call", "admin", "auditor"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)
PERMISSIONS: Final[tuple[Permission, ...]] = get_args(Permission)

GRANTS: Final[Mapping[Role, frozenset[Permission]]] = {
    "sensor": frozenset({"ingest"}),  # lives beside an agent: what it holds may not even read
    "analyst": frozenset({"read", "triage"}),
    "on-call": frozenset({"read", "triage", "kill"}),
    "admin": frozenset({"read", "triage", "kill", "audit"}),
    "auditor": frozenset({"read", "audit"}),
}
"""``ingest`` sends actions; ``read`` sees alerts, agents and the feed; ``triage`` changes an alert's life and mutes;
``kill`` kills and restores; ``audit`` reads who did what. Tokens are made and revoked on the command line only."""


class Principal(NamedTuple):
    """Who sent a request, as far as the daemon has made sure. `name` is what the record says of whatever they do.

    `credential` says by what they are known, and is no secret: ``token:ID``, ``session:ID`` or ``local``.
    """

    name: str
    role: Role
    permissions: frozenset[Permission]
    credential: str = ""

    def may(self, permission: Permission) -> bool:
        """Return whether this principal has the permission."""
        return permission in self.permissions


def principal(name: str, role: Role, credential: str = "") -> Principal:
    """Return the principal of that name with all that its role grants."""
    return Principal(name, role, GRANTS[role], credential)


def owner(name: str) -> Principal:
    """Return the owner of the state directory, who may do everything: all that is kept is theirs to read and write."""
    return Principal(name, "admin", frozenset(PERMISSIONS), "local")
