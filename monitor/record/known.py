"""Pieces that the forms of entries share. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from killswitch import Target
from killswitch.errors import InvalidTarget

SYSTEM: Final = "killcord/"
"""The daemon's own acts are by names that begin so."""

_ALERT_ID: Final = re.compile(r"al-[0-9a-f]{20}")


def known(**fields: Any) -> dict[str, Any] | None:
    """Return the fields that are not None; None if there are none."""
    return {name: value for name, value in fields.items() if value is not None} or None


def actor_of(by: str) -> dict[str, Any]:
    """Return who did something: a person, the daemon itself, or somebody who did not say."""
    if not by:
        return {"type": "unknown"}
    return {"type": "system" if by.startswith(SYSTEM) else "user", "id": by}


def evidence_of(ids: Iterable[str]) -> dict[str, Any] | None:
    """Return ids that something stands on, told apart: alerts' and actions'."""
    found = list(ids)
    alerts = [one for one in found if _ALERT_ID.fullmatch(one)]
    return known(action_ids=[one for one in found if one not in alerts] or None, alert_ids=alerts or None)


def alerts_in(text: str) -> list[str]:
    """Return the ids of alerts that a text names."""
    return _ALERT_ID.findall(text)


def chain_of(on_behalf_of: tuple[str, ...]) -> dict[str, Any]:
    """Return the human and the delegations of a chain, as a leaf has them."""
    if not on_behalf_of:
        return {}
    human = {"on_behalf_of": {"type": "user", "id": on_behalf_of[0]}}
    return {**human, "delegations": list(on_behalf_of[1:])} if len(on_behalf_of) > 1 else human


def about(target: Target) -> dict[str, Any]:
    """Return the fields of a leaf that tell of a target: it, and the agent or the human that it is."""
    found: dict[str, Any] = {}
    if target.kind == "agent":
        found = {"agent": {"id": target.value}}
    elif target.kind == "agent_version":
        name, _, version = target.value.rpartition("@")
        found = {"agent": {"id": name, "version": version}} if name else {}
    elif target.kind == "human":
        found = {"on_behalf_of": {"type": "user", "id": target.value}}
    return {**found, "target": str(target)}


def target_in(text: str) -> Target | None:
    """Return the target that a text is, if it is one."""
    try:
        return Target.parse(text)
    except InvalidTarget:
        return None
