"""A labelled stream of real agents' actions, taken apart into what a detector may see and what it may not.

A stream is a directory of gzip files with one JSON object a line: `actions.jsonl.gz` in the order of time,
`sessions.jsonl.gz` with each session's prompt, `outputs.jsonl.gz` with the tools' outputs by id, `tools.json` with a
``side_effect`` flag by suite and tool, and, where there are any, `authorised_twins.jsonl.gz`: sessions in which the
user himself asks for what an attack does. Detectors are given `Step`, which has no label and no way to one.

The twins have no time. Each gets one after the end of the stream, as if it came next: `TWIN_AFTER_S` later, its actions
`TWIN_GAP_S` apart (what the gaps inside recorded sessions are in the median).
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from benchmarks.labelled import Label
from monitor.intake.action import EpochSeconds, Instant
from monitor.intake.recordings import find_recording

TWIN_AFTER_S: Final = 3600.0
TWIN_GAP_S: Final = 3.0

_Line = TypeVar("_Line")


class StreamError(ValueError):
    """A file of the stream is missing, or a line of it is not what it should be; the message names it."""


class Seen(NamedTuple):
    """What is known of an action before the call."""

    id: str
    ts_s: float
    agent_id: str
    session_id: str
    principal: str | None
    tool: str
    args: dict[str, Any]
    prov: dict[str, str]
    """By argument where its value was first visible: ``user``, ``tool:<name>`` or ``model``."""
    task: str | None
    """What the user asked for, in his words."""
    side_effect: bool | None


class Output(NamedTuple):
    """What an action's call returned: handed over after the action itself was taken, never before."""

    agent_id: str
    session_id: str
    tool: str
    text: str
    """Empty where the stream has not kept it: `chars` counts what was there."""
    chars: int
    is_ok: bool


class Step(NamedTuple):
    """An action and what came of it: all that a detector is ever given, in two pieces."""

    seen: Seen
    output: Output | None


class Record(NamedTuple):
    """One action of the stream: the side of the detectors, and the side of the judge."""

    step: Step
    label: Label
    suite: str


class Stream(NamedTuple):
    """Everything in a stream's directory; `sha256` is that of the file with the actions."""

    records: list[Record]
    twins: list[list[Step]]
    sha256: str

    def without_hijacked(self) -> Stream:
        """Return the traffic that there would have been without attacks: hijacked sessions and twins are left out."""
        hijacked = {(label.agent_id, label.session_id) for _, label, _ in self.records if label.is_attack}
        honest = [
            record
            for record in self.records
            if (record.label.agent_id, record.label.session_id) not in hijacked
        ]
        return Stream(honest, [], self.sha256)


class _Session(msgspec.Struct):
    session_id: str
    agent_id: str
    suite: str
    prompt: str | None = None


class _Text(msgspec.Struct):
    id: str
    text: str


class _Tool(msgspec.Struct):
    side_effect: bool | None = None


class _Result(msgspec.Struct):
    ok: bool = True
    chars: int = 0
    out: str | None = None


class _Call(msgspec.Struct, kw_only=True):
    """What actions and twins have in common."""

    id: str | None = None
    agent_id: str
    session_id: str
    principal: str | None = None
    tool: str
    args: dict[str, Any] = {}
    prov: dict[str, str] | None = None
    result: _Result | None = None


class _Action(_Call, kw_only=True):
    ts: Instant | EpochSeconds
    label: str
    attack: str | None = None
    attack_role: str | None = None


class _Twin(_Call, kw_only=True):
    prompt: str | None = None


class _Reader:
    """Puts actions together with what other files know of their sessions, tools and outputs."""

    def __init__(self, directory: Path) -> None:
        sessions = list(_lines(directory / "sessions.jsonl.gz", _Session))
        self._prompts = {session.session_id: session.prompt for session in sessions}
        self._suites = {session.agent_id: session.suite for session in sessions}
        self._texts = {text.id: text.text for text in _lines(directory / "outputs.jsonl.gz", _Text)}
        self._tools = _tools(directory / "tools.json")

    def record(self, number: int, action: _Action) -> Record:
        """Return an action of the stream."""
        ts_s = action.ts.timestamp() if isinstance(action.ts, datetime) else action.ts
        prompt = self._prompts.get(action.session_id)
        return Record(
            self._step(action, action.id or f"action-{number}", ts_s, prompt),
            Label(
                action.agent_id,
                action.session_id,
                is_attack=action.label == "attack",
                attack=action.attack,
                is_goal=action.attack_role == "goal",
            ),
            self.suite(action.agent_id),
        )

    def twin(self, number: int, actions: Iterable[_Twin], start_s: float) -> list[Step]:
        """Return a twin's actions, the first of which carries the prompt."""
        calls = list(actions)
        return [
            self._step(call, f"twin-{number}-{place}", start_s + place * TWIN_GAP_S, calls[0].prompt)
            for place, call in enumerate(calls)
        ]

    def suite(self, agent_id: str) -> str:
        """Return the suite of tasks that an agent works on; empty if it has no session."""
        return self._suites.get(agent_id, "")

    def _step(self, call: _Call, action_id: str, ts_s: float, prompt: str | None) -> Step:
        tool = self._tools.get(self.suite(call.agent_id), {}).get(call.tool)
        seen = Seen(
            action_id,
            ts_s,
            call.agent_id,
            call.session_id,
            call.principal,
            call.tool,
            call.args,
            call.prov or {},
            prompt,
            tool.side_effect if tool else None,
        )
        return Step(seen, self._output(call, call.result) if call.result else None)

    def _output(self, call: _Call, result: _Result) -> Output:
        text = self._texts.get(result.out or "", "")
        return Output(call.agent_id, call.session_id, call.tool, text, result.chars, result.ok)


def read_stream(directory: Path, limit: int | None = None) -> Stream:
    """Return the stream in a directory.

    Parameters
    ----------
    limit
        How many actions to take from its beginning; None takes all. The twins are taken whole.

    Raises
    ------
    StreamError, ActionError
        If a file is missing, cannot be read, or holds something else.
    """
    file = find_recording(directory)
    reader = _Reader(file.parent)
    actions = islice(enumerate(_lines(file, _Action)), limit)
    records = [reader.record(number, action) for number, action in actions]
    if not records:
        raise StreamError(f"{file.name} holds no action")
    start_s = records[-1].step.seen.ts_s + TWIN_AFTER_S
    sessions = groupby(_twins(file.parent), key=lambda twin: (twin.agent_id, twin.session_id))
    twins = [reader.twin(number, calls, start_s) for number, (_, calls) in enumerate(sessions)]
    return Stream(records, twins, hashlib.sha256(file.read_bytes()).hexdigest())


def _twins(directory: Path) -> Iterator[_Twin]:
    file = directory / "authorised_twins.jsonl.gz"
    return _lines(file, _Twin) if file.exists() else iter(())


def _tools(file: Path) -> dict[str, dict[str, _Tool]]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, _Tool]])
    except (OSError, msgspec.DecodeError) as error:
        raise StreamError(f"{file.name}: {error}") from error


def _lines(file: Path, kind: type[_Line]) -> Iterator[_Line]:
    """Yield each line as the kind it should be; unknown fields are ignored."""
    decode = msgspec.json.Decoder(kind).decode
    number = 0
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    yield decode(line)
    except (OSError, EOFError, zlib.error, msgspec.DecodeError) as error:
        raise StreamError(f"{file.name}, line {number}: {error}") from error
