"""One agent action, validated once at the edge and immutable from there on (architecture §3).

Names follow the OpenTelemetry GenAI conventions where those have one, so that mapping is renaming. Whatever
bytes arrive, parsing raises nothing but `ActionError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from killswitch.targets import value_problem
from monitor.errors import ActionError

VERSION = 1
"""The version of the format. A document that names another one is refused: guessing would misread it."""

MAX_EXTRA_BYTES = 4096
"""Security limit: unknown fields of one action are kept, up to this many bytes of JSON."""

MAX_TEXT_CHARS = 65_536
"""Security limit: what a tool answered, where it is sent at all."""

MAX_DEPTH = 64
"""Security limit: how deep values may be nested. What is taken in must be readable again when the log is replayed."""

Id = Annotated[str, Meta(min_length=1, max_length=128)]
"""As long as the kill switch takes an id as evidence: an action must not be able to make its own kill invalid."""
Name = Annotated[str, Meta(min_length=1, max_length=512)]
Short = Annotated[str, Meta(min_length=1, max_length=256)]
Text = Annotated[str, Meta(max_length=8192)]
Code = Annotated[int, Meta(ge=0, le=15)]
EpochSeconds = Annotated[float, Meta(ge=0, le=4_102_444_800)]
Instant = Annotated[datetime, Meta(tz=True)]
Decision = Literal["allowed", "refused", "held"]
"""What an enforcement point said of the call: it may go ahead, it did not happen, it waits for a person."""


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became of the call; known only afterwards and never used to score the same action."""

    ok: bool | None = None
    chars: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    duration_ms: Annotated[float, Meta(ge=0)] | None = None
    cost: Annotated[float, Meta(ge=0)] | None = None
    text: Annotated[str, Meta(max_length=MAX_TEXT_CHARS)] | None = None
    """What the tool answered. Read once, for the flow of the session's next actions; not stored by default."""


class FlowCodes(Struct, frozen=True, kw_only=True, gc=False):
    """The numbers of `monitor.flow.FLOW`, in that order; those that are missing count as 0, others are ignored."""

    side_effect: Code = 0
    untied: Code = 0
    from_user: Code = 0
    from_tools: Code = 0
    from_model: Code = 0
    seen: Code = 0
    told: Code = 0
    near: Code = 0
    prose: Code = 0
    age: Code = 0
    foreign: Code = 0
    echo_told: Code = 0
    echo: Code = 0
    asked: Code = 0
    orders: Code = 0
    step: Code = 0
    repeats: Code = 0
    new_tool: Code = 0


class Action(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One call by one agent. See the field table in `docs/actions.md`."""

    id: Id
    ts: Instant | EpochSeconds
    agent_id: Name
    tool: Short
    args: dict[str, Any] = {}
    agent_version: Short | None = None
    session_id: Short | None = None
    resource: Annotated[str, Meta(max_length=2048)] | None = None
    side_effect: bool | None = None
    result: Result | None = None
    provenance: dict[str, Short] | None = None
    flow: FlowCodes | None = None
    on_behalf_of: Annotated[tuple[Name, ...], Meta(max_length=32)] = ()
    task: Text | None = None
    credential: Short | None = None
    policy: Short | None = None
    proof: Text | None = None
    call_id: Short | None = None
    decision: Decision | None = None
    trace_id: Short | None = None
    v: int = VERSION
    extra: dict[str, Any] = {}
    """Fields this version does not know: kept in the record, ignored by everything else."""

    @property
    def ts_s(self) -> float:
        """When the agent acted, in epoch seconds."""
        return self.ts.timestamp() if isinstance(self.ts, datetime) else self.ts


_KNOWN = frozenset(Action.__struct_fields__) - {"extra"}
_MAX_TS_S = 4_102_444_800.0
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
_decode_json = msgspec.json.Decoder().decode
_decode_action = msgspec.json.Decoder(Action).decode
_encode_json = msgspec.json.Encoder().encode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_AT_PATH = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(.+?)`")


def parse_action(document: bytes | str | msgspec.Raw) -> Action:
    """Return the action that one JSON object describes.

    Raises
    ------
    ActionError
        Whatever is wrong with the document, with the field's path. Costs about 1 µs when all is well.
    """
    try:
        action = _decode_action(document)
    except _UNREADABLE:
        return _parse_with_care(document)
    # A document that carries a field *named* "extra" must not pass its content off as ours.
    return _parse_with_care(document) if action.extra else _checked(action)


def _parse_with_care(document: bytes | str | msgspec.Raw) -> Action:
    """Parse what the fast path would not take: unknown fields, a bare name as chain, and all that is wrong."""
    try:
        fields = _decode_json(document)
    except _UNREADABLE as error:
        raise ActionError("", f"not one JSON value: {error}") from error
    return action_from_fields(fields)


def action_from_fields(fields: object) -> Action:
    """Return the action for an already decoded JSON object; raises `ActionError` like `parse_action`."""
    if not isinstance(fields, dict):
        raise ActionError("", f"an action is a JSON object, not {_json_type(fields)}")
    unknown = fields.keys() - _KNOWN
    if unknown:
        fields = _with_extra(fields, unknown)
    try:
        return _checked(msgspec.convert(_one_human_is_a_chain(fields), Action, strict=True))
    except msgspec.ValidationError as error:
        raise _named(error) from error
    except RecursionError as error:
        raise ActionError("", f"values are nested deeper than {MAX_DEPTH}") from error


def _checked(action: Action) -> Action:
    """Return the action if the rules hold that its types cannot say."""
    if not 0 <= action.ts_s <= _MAX_TS_S:
        raise ActionError("ts", "the time is outside 1970 to 2099")
    if action.v != VERSION:
        raise ActionError("v", f"version {action.v} is not known here; this daemon reads version {VERSION}")
    if not action.id.strip():
        raise ActionError("id", "is blank")
    _require_stoppable(action)
    if _is_deeper(action.args, MAX_DEPTH + 1):
        raise ActionError("args", f"values are nested deeper than {MAX_DEPTH}")
    if action.extra and _is_deeper(action.extra, MAX_DEPTH + 1):
        raise ActionError("extra", f"values are nested deeper than {MAX_DEPTH}")
    return action


def _require_stoppable(action: Action) -> None:
    """Refuse names that the kill switch could not take: what cannot be stopped must not act."""
    names = (action.agent_id, action.tool, action.session_id, action.credential, *action.on_behalf_of)
    for name in names:
        if name and not name.isprintable():  # quick, and wider than what is refused
            problem = value_problem(name)
            if problem:
                raise ActionError(_field_of(action, name), problem)


def _field_of(action: Action, name: str) -> str:
    for field in ("agent_id", "tool", "session_id", "credential"):
        if getattr(action, field) == name:
            return field
    return f"on_behalf_of[{action.on_behalf_of.index(name)}]"


def _is_deeper(container: Any, levels: int) -> bool:
    """Return whether containers stand in each other more than `levels` deep; a plain loop, since every action pays."""
    if levels == 0:
        return True
    for item in container.values() if container.__class__ is dict else container:
        kind = item.__class__
        if (kind is dict or kind is list) and _is_deeper(item, levels - 1):
            return True
    return False


def parse_document(body: bytes) -> Iterator[Action | ActionError]:
    """Yield an action or an error for each element of an object, an array or NDJSON; a bad one costs only itself.

    A body that starts with ``[`` is an array, anything else is read line by line; blank lines are skipped.
    """
    stripped = body.lstrip()
    if not stripped.startswith(b"["):
        yield from _parse_each(line for line in _documents(stripped) if line.strip())
        return
    try:
        elements = _decode_array(stripped)
    except _UNREADABLE as error:
        yield ActionError("", f"not a JSON array: {error}", body)
        return
    yield from _parse_each(elements)


def _documents(body: bytes) -> list[bytes]:
    """Return the lines of NDJSON, or the whole body where it is one object spread over several lines."""
    lines = body.splitlines()
    if len(lines) > 1 and lines[0].strip() == b"{":
        try:
            _decode_json(body)
        except _UNREADABLE:
            return lines  # a first line that was cut short costs only itself
        return [body]
    return lines


def _parse_each(documents: Any) -> Iterator[Action | ActionError]:
    for document in documents:
        try:
            yield parse_action(document)
        except ActionError as error:
            error.document = bytes(document)
            yield error


def _with_extra(fields: dict[str, Any], unknown: set[str]) -> dict[str, Any]:
    extra = {name: fields[name] for name in sorted(unknown)}
    if len(_encode_json(extra)) > MAX_EXTRA_BYTES:
        raise ActionError(min(unknown), f"unknown fields take more than {MAX_EXTRA_BYTES} bytes together")
    return {**{name: value for name, value in fields.items() if name in _KNOWN}, "extra": extra}


def _one_human_is_a_chain(fields: dict[str, Any]) -> dict[str, Any]:
    """Accept a bare name where the chain has one link only."""
    chain = fields.get("on_behalf_of", ())
    if isinstance(chain, str):
        return {**fields, "on_behalf_of": (chain,)}
    return {**fields, "on_behalf_of": ()} if chain is None else fields


def _named(error: msgspec.ValidationError) -> ActionError:
    text = str(error)
    at_path = _AT_PATH.search(text)
    field = at_path.group(1) if at_path else ""
    missing = _MISSING.search(text)
    if missing:
        field = f"{field}.{missing.group(1)}" if field else missing.group(1)
    return ActionError(field, _AT_PATH.sub("", text))


def _json_type(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
