"""The information flow of actions whose sender hands over content instead of computing it."""

from __future__ import annotations

from collections import OrderedDict

from monitor.flow import Sessions, Trace
from monitor.intake.action import Action

MAX_SESSIONS = 10_000
"""Security limit on memory, as is the number of characters in `Sessions`."""

MAX_REPEATED = 10_000
"""Latest actions that are known when they are sent again; more than any sender has under way at once."""


class SessionFlows:
    """Follows what sessions were asked and have read, by the tasks and outputs that come with their actions.

    It is memory only: a session that was forgotten, or began before the daemon did, goes on as if it began now.
    """

    def __init__(self) -> None:
        self._sessions = Sessions(MAX_SESSIONS)
        self._taken: OrderedDict[tuple[str, str], Trace | None] = OrderedDict()

    def take(self, action: Action) -> Trace | None:
        """Return the action's flow, and hand its output to its session; None where there is nothing to go by.

        About 40 µs, and 0.1 ms for an output of 1,500 characters; some 10 ms where both are made to cost as much as
        they can.
        """
        if action.session_id is None:
            return None
        key = (action.agent_id, action.id)
        if key in self._taken:  # sent again because the answer was lost: the session must not move twice
            return self._taken[key]
        task = action.task if action.task and _is_in_words(action.task) else ""
        output = action.result.text if action.result else None
        is_known = self._sessions.find(action.agent_id, action.session_id) is not None
        if not (is_known or task or output):
            return None
        session = self._sessions.of(action.agent_id, action.session_id, task)
        # Without outputs its numbers would say that nobody ever told the agent anything.
        has_read = session.output_chars > 0
        trace = session.trace(action.tool, action.args, action.provenance, action.side_effect)
        if output:
            self._sessions.saw(action.agent_id, action.session_id, action.tool, output)
        found = self._taken[key] = trace if has_read else None
        if len(self._taken) > MAX_REPEATED:
            self._taken.popitem(last=False)
        return found


def _is_in_words(task: str) -> bool:
    """Return whether a task says something; a single word is a reference, with which nothing can be compared."""
    return len(task.split(maxsplit=1)) > 1
