"""The keys of a chaos run: the daemon's, the operators', and the keyring that the points hold."""

from __future__ import annotations

from typing import Any


def guard_options(arguments: list[str]) -> dict[str, Any]:
    """Return what a point gives to :meth:`killswitch.Guard.connect` besides the store."""
    return {}
