"""Who would be refused if a target were killed now, as far as their actions of the last hour tell. Pure.

It goes by what an enforcement point is told of an action: its agent, session, tool and credential, the first of
``on_behalf_of`` as the human and the others as delegations. Which tenant an action belongs to no action says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from killswitch import Target
from monitor.core.activity import Activity, Doing
from monitor.core.inventory import Inventory

WINDOW_S: Final = 3600.0
MAX_NAMED: Final = 1000
"""Of each kind at most so many are named, the latest first; `counts` has them all."""

UNKNOWN_TENANT: Final = (
    "no action says which tenant it belongs to: nobody can be named, and points refuse all the same"
)
AN_AGENT_ONLY: Final = "its delegates go on: kill delegation:{value} too to stop those who act on its behalf"


class Session(NamedTuple):
    """A session with actions that would be refused."""

    session_id: str
    agent_id: str
    last_ts: float


class BlastRadius:
    """Gathers what one target would stop; feed it one agent after the other.

    Parameters
    ----------
    now_s
        Our clock: what was noted before the last hour does not count.
    """

    def __init__(self, target: Target, activity: Activity, inventory: Inventory, now_s: float) -> None:
        self._target = target
        self._activity = activity
        self._inventory = inventory
        self._since_s = now_s - WINDOW_S
        self._agents: dict[str, float] = {}
        self._sessions: dict[tuple[str, str], float] = {}
        self._delegates: dict[str, float] = {}
        self._humans: dict[str, float] = {}

    def add(self, agent_id: str) -> None:
        """Look at one agent."""
        for doing in self._activity.doings(agent_id):
            if doing.at_s < self._since_s:
                continue
            if self._target.kind != "fleet" and self._is_delegate(doing):
                _note(self._delegates, agent_id, doing.last_ts)
            if not self._is_refused(agent_id, doing):
                continue
            _note(self._agents, agent_id, doing.last_ts)
            if doing.session_id is not None:
                _note(self._sessions, (doing.session_id, agent_id), doing.last_ts)
            for human in doing.on_behalf_of[:1]:
                _note(self._humans, human, doing.last_ts)

    def fields(self) -> dict[str, Any]:
        """Return what was found, the latest first."""
        found: dict[str, dict[Any, float]] = {
            "agents": self._agents,
            "sessions": self._sessions,
            "delegates": self._delegates,
            "humans": self._humans,
        }
        named = {name: list(_latest(seen)) for name, seen in found.items()}
        sessions = [
            Session(session_id, agent_id, self._sessions[session_id, agent_id])._asdict()
            for session_id, agent_id in named["sessions"]
        ]
        return {
            "target": str(self._target),
            **named,
            "sessions": sessions,
            "counts": {name: len(seen) for name, seen in found.items()},
            "note": self._note(),
        }

    def _note(self) -> str | None:
        if self._target.kind == "tenant":
            return UNKNOWN_TENANT
        if self._target.kind == "agent" and self._delegates:
            return AN_AGENT_ONLY.format(value=self._target.value)
        return None

    def _is_refused(self, agent_id: str, doing: Doing) -> bool:
        value = self._target.value
        match self._target.kind:
            case "fleet":
                return True
            case "agent":
                return agent_id == value
            case "agent_version":
                record = self._inventory.get(agent_id)
                return record is not None and f"{agent_id}@{record.version}" == value
            case "session":
                return doing.session_id == value
            case "human":
                return doing.on_behalf_of[:1] == (value,)
            case "delegation":
                return value in doing.on_behalf_of[1:]
            case "credential":
                return doing.credential == value
            case "tool":
                return doing.tool == value
            case "tenant":
                return False

    def _is_delegate(self, doing: Doing) -> bool:
        """Return whether this was done by somebody to whom the target had delegated."""
        if self._target.kind in ("agent", "delegation"):
            return self._target.value in doing.on_behalf_of[1:]
        return (
            self._target.kind == "human"
            and len(doing.on_behalf_of) > 1
            and doing.on_behalf_of[0] == self._target.value
        )


def _note(seen: dict[Any, float], key: Any, ts: float) -> None:
    seen[key] = max(ts, seen.get(key, ts))


def _latest(seen: dict[Any, float]) -> Iterator[Any]:
    yield from sorted(seen, key=lambda key: (-seen[key], key))[:MAX_NAMED]
