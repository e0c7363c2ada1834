"""Which token is whose."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from monitor.access.roles import Principal, Role, principal


class Tokens:
    """Knows a token for each role; compares them in constant time."""

    def __init__(self, tokens: Mapping[Role, str]) -> None:
        self._tokens = {role: token.encode() for role, token in tokens.items() if token}

    def principal(self, token: str | None) -> Principal | None:
        """Return whose token this is; None for an unknown one."""
        if not token:
            return None
        offered = token.encode()
        found = None
        for role, known in self._tokens.items():
            if hmac.compare_digest(offered, known):
                found = principal(role, role)
        return found
