"""One run of an agent as its sensor follows it: what the human asked, what tools answered, what the agent does.

It computes each action's information flow here, next to the agent, so that what tools answered never leaves the host.
Like the sensor it imports the standard library only, never waits for anything outside, and never raises into the agent:
what cannot be followed is counted, and the action goes without `flow`.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from monitor.flow import FLOW, SessionFlow, Trace

_Output = TypeVar("_Output")

MAX_TASK_CHARS: Final = 8_192
"""What an action's `task` may have; the flow is computed with twice as much."""

_MAX_BYTES = 65_536  # of an output that is no text, four for each character that is read

_to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode


class SensorSession:
    """Follows one run; made by `Sensor.session`. All methods are thread-safe, and none of them raises.

    Parameters
    ----------
    send
        Takes an action and returns at once whether it was taken.
    note
        Is told of what could not be followed, and why.
    task
        What the human asked for, in words; None if unknown.
    fields
        Fields that every action of the run carries.
    """

    def __init__(
        self,
        send: Callable[[Mapping[str, Any]], bool],
        note: Callable[[str, Exception], None],
        task: str | None,
        fields: Mapping[str, Any],
    ) -> None:
        self._send = send
        self._note = note
        self._lock = threading.RLock()  # the text of an argument is made by foreign code, which may call us
        self._flow = SessionFlow("")
        self._fields = dict(fields)
        if task is not None:
            self.asked(task)
        if isinstance(task, str) and task:
            self._fields["task"] = task[:MAX_TASK_CHARS]

    def asked(self, text: str) -> None:
        """Take in what the human says in the course of the run, so that doing it is no surprise. It stays here."""
        try:
            with self._lock:
                self._flow.asked(text)
        except Exception as error:  # whatever it is, the agent goes on
            self._note("what the human asked for", error)

    def action(self, tool: str, args: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        """Return the run's next action, to be sent once, before its call; 12 µs, then 30 to 150 with outputs.

        Parameters
        ----------
        tool, args
            What is about to be called, with what.
        fields
            Other fields of an action (`docs/actions.md`); `side_effect=False` for a call that only reads makes a
            difference. A `provenance` given here is believed.
        """
        run = {"id": uuid.uuid4().hex, "ts": time.time(), **self._fields}
        document = {**run, "tool": tool, "args": {} if args is None else args, **fields}
        trace = self._trace(document)
        if trace:
            document["provenance"] = trace.provenance
            document["flow"] = {name: number for name, number in zip(FLOW, trace.flow, strict=True) if number}
        return document

    def send(self, action: Mapping[str, Any]) -> bool:
        """Send an action that `action` made and return whether it was taken, as `Sensor.send` does."""
        return self._send(action)

    def saw(self, tool: str, output: _Output) -> _Output:
        """Take in what a tool answered, in whatever form the agent gets it, and return it. It stays here.

        A text is read up to 16,384 characters (about 0.1 ms for 1,500); anything else is read as its JSON.
        """
        try:
            text = _text(output)
            with self._lock:
                self._flow.saw(tool, text)
        except Exception as error:  # foreign objects may fail in any way; the agent goes on
            self._note("a tool's output", error)
        return output

    def call(self, tool: str, args: Mapping[str, Any] | None = None, **fields: Any) -> Call:
        """Send the run's next action and return a context for the call itself; parameters as for `action`.

        It is sent before the call, so that the call can still be stopped. An exception that leaves the context counts
        as what the tool answered: agents read those too.

        Examples
        --------
        >>> from monitor.sensor import Sensor
        >>> sensor = Sensor("http://127.0.0.1:1", token="ingest-token")  # nobody listens there
        >>> run = sensor.session(agent_id="billing-bot", task="pay the invoice of Acme")
        >>> with run.call("get_invoice", {"of": "Acme"}) as call:
        ...     call.saw("120 EUR to DE89 3704")
        '120 EUR to DE89 3704'
        >>> run.action("send_money", {"to": "DE89 3704"})["provenance"]
        {'to': 'tool:get_invoice'}
        >>> sensor.close(timeout_s=0.0)
        False
        """
        self._send(self.action(tool, args, **fields))
        return Call(self, tool)

    def _trace(self, action: Mapping[str, Any]) -> Trace | None:
        tool, args = action["tool"], action["args"]
        try:
            with self._lock:
                return self._flow.trace(tool, args, action.get("provenance"), action.get("side_effect"))
        except Exception as error:  # foreign objects may fail in any way; the agent goes on
            self._note("an action", error)
            return None


class Call:
    """One call under way: a context that the tool is called in."""

    def __init__(self, run: SensorSession, tool: str) -> None:
        self._run = run
        self._tool = tool

    def saw(self, output: _Output) -> _Output:
        """Take in what the tool answered, and return it."""
        return self._run.saw(self._tool, output)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self._run.saw(self._tool, error)


def _text(output: object) -> str:
    if isinstance(output, str):
        return output
    if output is None:
        return ""
    if isinstance(output, bytes | bytearray | memoryview):
        return bytes(output[:_MAX_BYTES]).decode("utf-8", "replace")
    if isinstance(output, Exception):
        return str(output)
    try:
        return _to_json(output)
    except (TypeError, ValueError, RecursionError):  # keys of mixed types, cycles, hostile nesting
        return str(output)
