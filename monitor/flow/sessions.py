"""The flows of many sessions, for a daemon that computes them itself."""

from __future__ import annotations

from collections import OrderedDict

from monitor.flow.session import SessionFlow


class Sessions:
    """The flows of the latest sessions; the one silent longest gives way. Not thread-safe.

    Parameters
    ----------
    most
        How many sessions are kept.
    most_chars
        How many characters of outputs all of them keep together: about 20 bytes of memory each, 50 at worst.
    """

    def __init__(self, most: int = 10_000, most_chars: int = 8_000_000) -> None:
        self._most = most
        self._most_chars = most_chars
        self._chars = 0
        self._flows: OrderedDict[tuple[str, str], SessionFlow] = OrderedDict()

    def __len__(self) -> int:
        return len(self._flows)

    def find(self, agent_id: str, session_id: str) -> SessionFlow | None:
        """Return the session's flow, if it is known."""
        key = (agent_id, session_id)
        found = self._flows.get(key)
        if found is not None:
            self._flows.move_to_end(key)
        return found

    def of(self, agent_id: str, session_id: str, task: str) -> SessionFlow:
        """Return the session's flow, a new one for a new session; a known one hears of a new task."""
        found = self.find(agent_id, session_id)
        if found is None:
            found = self._flows[agent_id, session_id] = SessionFlow(task)
            self._make_room()
        elif task:
            found.asked(task)
        return found

    def saw(self, agent_id: str, session_id: str, tool: str, output: str) -> None:
        """Hand what a tool answered to a session that is known."""
        found = self.find(agent_id, session_id)
        if found is not None:
            before = found.output_chars
            found.saw(tool, output)
            self._chars += found.output_chars - before
            self._make_room()

    def _make_room(self) -> None:
        while len(self._flows) > self._most or (self._chars > self._most_chars and len(self._flows) > 1):
            _, gone = self._flows.popitem(last=False)
            self._chars -= gone.output_chars
