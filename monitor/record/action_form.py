"""The entries of actions, made of what the action log holds. Pure, and quick: every action passes here.

What an agent was told and sent goes into the content, which can be deleted: the task, arguments, unknown fields, and
what the tool answered, as far as they are kept at all. The leaf names the arguments and has their keyed digest.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from monitor.errors import LogError
from monitor.intake.action import Decision, Result
from monitor.log.entries import Judgement, Transition, Withdrawal
from monitor.record.cutting import fitted
from monitor.record.entry import (
    MAX_CONTENT_BYTES,
    MAX_LEAF_BYTES,
    VERSION,
    Entry,
    decode_content,
    decode_leaf,
    stamp,
)
from monitor.record.links import links_of

MAX_ID_CHARS: Final = 256
"""What claims to be the id of a trace and is longer is none."""


class RecordedAction(Struct, frozen=True, array_like=True, gc=False):
    """An `Observation` as the log has it, whose numbers for the models stay unread."""

    id: str
    ts_s: float
    agent_id: str
    tool: str
    features: Raw
    arg_names: tuple[str, ...]
    args_digest: bytes
    agent_version: str | None = None
    session_id: str | None = None
    resource: str | None = None
    side_effect: bool | None = None
    result: Result | None = None
    provenance: dict[str, str] | None = None
    on_behalf_of: tuple[str, ...] = ()
    task: str | None = None
    credential: str | None = None
    policy: str | None = None
    proof_digest: bytes | None = None
    args: dict[str, Any] | None = None
    extra: dict[str, Any] = {}
    call_id: str | None = None
    decision: Decision | None = None
    trace_id: str | None = None


class RecordedActions(Struct, frozen=True, array_like=True, tag="actions", gc=False):
    """Actions that were acknowledged together, as `log.entries.Actions` has them."""

    now_s: float
    observations: list[RecordedAction]


LogEntry = RecordedActions | Judgement | Transition | Withdrawal


class _Agent(Struct, frozen=True, omit_defaults=True, gc=False):
    id: str
    version: str | None = None
    run: str | None = None


class _Human(Struct, frozen=True, tag_field="type", tag="user", gc=False):
    id: str


class _Action(Struct, frozen=True, omit_defaults=True, gc=False):
    id: str
    tool: str
    call_id: str | None = None
    resource: str | None = None
    side_effect: bool | None = None
    args: tuple[str, ...] = ()
    args_digest: str = ""
    proof_digest: str | None = None
    provenance: dict[str, str] | None = None
    result: Result | None = None


class _Authorization(Struct, frozen=True, omit_defaults=True, gc=False):
    credential: str | None = None
    policy: str | None = None
    decision: Decision | None = None


class _Risk(Struct, frozen=True, omit_defaults=True, gc=False):
    p: float | None = None
    threshold_p: float | None = None
    evidence: float | None = None


class _Reference(Struct, frozen=True, gc=False):
    sha256: str
    fields: tuple[str, ...]


class _Leaf(Struct, frozen=True, omit_defaults=True, tag_field="v", tag=VERSION, gc=False):
    event_id: str
    type: str
    timestamp: str
    recorded_at: str
    trace_id: str | None = None
    parent_id: str | None = None
    agent: _Agent | None = None
    on_behalf_of: _Human | None = None
    delegations: tuple[str, ...] = ()
    action: _Action | None = None
    authorization: _Authorization | None = None
    risk: _Risk | None = None
    content: _Reference | None = None


class _Content(Struct, frozen=True, omit_defaults=True, gc=False):
    salt: str
    task: str | None = None
    args: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None
    result_text: str | None = None


_TASK: Final = ("task",)
_received_at: dict[float, str] = {}  # the last one: many actions are received together
_encode = msgspec.json.Encoder().encode
_decode: Final[Callable[[bytes], LogEntry]] = msgspec.msgpack.Decoder(LogEntry).decode
_entry = tuple.__new__  # the class itself costs twice as much


def decode_entry(payload: bytes) -> LogEntry:
    """Return an entry of the action log; raises `LogError` if this version cannot read it."""
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LogError(f"an entry of the log cannot be read by this version: {error}") from error


def action_entry(
    observation: RecordedAction,
    *,
    seq: int,
    now_s: float,
    p: float | None,
    threshold_p: float | None,
    evidence: float | None,
    salt: bytes,
) -> Entry:
    """Return the entry of an action; 4 to 8 µs, by how much there is to say; the content's digest is one of them.

    Parameters
    ----------
    seq
        Its number in the action log.
    now_s
        When it was received, in seconds since 1970.
    p, threshold_p, evidence
        How it was scored, see `Outcomes`; None or NaN where it was not, or not yet.
    salt
        16 random bytes, of this action alone.
    """
    # One long function, because at this rate each call would show.
    action, event_id = observation, f"action-{seq}"
    own_id, agent, tool, session = action.id, action.agent_id, action.tool, action.session_id
    resource, chain, credential = action.resource or None, action.on_behalf_of, action.credential
    delegations = chain[1:]
    trace_id, call_id = action.trace_id, action.call_id
    parent_id = extra = None
    if action.extra:
        trace_id, parent_id, extra = _told(action.extra, trace_id)
    task, result = action.task, action.result
    content, reference = b"", None
    if extra is not None or action.args or (result is not None and result.text is not None):
        content, reference, result = _detached(action, extra, salt)
    elif task is not None:
        content = _encode(_Content(salt.hex(), task))
        reference = _Reference(sha256(content).hexdigest(), _TASK)
    leaf = _encode(
        _Leaf(
            event_id,
            "action",
            stamp(action.ts_s),
            _received_at.get(now_s) or _new_received(now_s),
            trace_id,
            parent_id,
            _Agent(agent, action.agent_version, session),
            _Human(chain[0]) if chain else None,
            delegations,
            _Action(
                own_id,
                tool,
                call_id,
                resource,
                action.side_effect,
                action.arg_names,
                "blake2b-128:" + action.args_digest.hex(),
                "blake2b-128:" + action.proof_digest.hex() if action.proof_digest else None,
                action.provenance or None,
                result,
            ),
            _authorization(credential, action.policy, action.decision),
            _risk(p, threshold_p, evidence),
            reference,
        )
    )
    if len(leaf) > MAX_LEAF_BYTES:
        leaf = fitted(decode_leaf(leaf), MAX_LEAF_BYTES)
        return Entry(leaf, content, links_of(leaf), action.ts_s)
    # As `links_of` has them, which would take as long as all this.
    links = ["type:action", f"event:{event_id}"]
    if parent_id is not None:
        links.append(f"parent:{parent_id}")
    if trace_id is not None:
        links.append(f"trace:{trace_id}")
    links.append(f"action:{own_id}")
    if call_id is not None:
        links.append(f"call:{call_id}")
    links += (f"agent:{agent}", f"tool:{tool}")
    if session is not None:
        links.append(f"session:{session}")
    if chain:
        links.append(f"human:{chain[0]}")
        for name in delegations if len(chain) < 3 else dict.fromkeys(delegations):
            links.append(f"delegate:{name}")
    if credential is not None:
        links.append(f"credential:{credential}")
    if resource is not None:
        links.append(f"resource:{resource}")
    return _entry(Entry, (leaf, content, tuple(links), action.ts_s))


def _new_received(now_s: float) -> str:
    _received_at.clear()
    text = _received_at[now_s] = stamp(now_s)
    return text


def _detached(
    action: RecordedAction, extra: dict[str, Any] | None, salt: bytes
) -> tuple[bytes, _Reference, Result | None]:
    """Return the content, what the leaf says of it, and the result without what the tool answered."""
    task, args, result = action.task, action.args or None, action.result
    text = None if result is None else result.text
    kept = (("task", task), ("args", args), ("extra", extra), ("result_text", text))
    content = _encode(_Content(salt.hex(), task, args, extra, text))
    if len(content) > MAX_CONTENT_BYTES:
        content = fitted(decode_content(content), MAX_CONTENT_BYTES)
    fields = tuple(name for name, value in kept if value is not None)
    if result is not None and text is not None:
        result = replace(result, text=None)
    return content, _Reference(sha256(content).hexdigest(), fields), result


def _authorization(
    credential: str | None, policy: str | None, decision: Decision | None
) -> _Authorization | None:
    if credential is None and policy is None and decision is None:
        return None
    return _Authorization(credential, policy, decision)


def _risk(p: float | None, threshold_p: float | None, evidence: float | None) -> _Risk | None:
    if p is not None and p - p != 0:  # not finite, in the quickest way
        p = None
    if threshold_p is not None and threshold_p - threshold_p != 0:
        threshold_p = None
    if evidence is not None and evidence - evidence != 0:
        evidence = None
    if p is None and threshold_p is None and evidence is None:
        return None
    return _Risk(p, threshold_p, evidence)


def _told(
    extra: dict[str, Any], trace_id: str | None
) -> tuple[str | None, str | None, dict[str, Any] | None]:
    """Return trace id and parent id, as far as unknown fields say what no known one does, and what is left of these."""
    rest = dict(extra)
    trace_id = (
        trace_id
        or _taken(rest, "trace_id")
        or _of_traceparent(rest.get("traceparent"))
        or _taken(rest, "txn")
    )
    return trace_id, _taken(rest, "parent_id"), rest or None


def _taken(extra: dict[str, Any], name: str) -> str | None:
    value = extra.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_CHARS:
        return None
    del extra[name]
    return value


def _of_traceparent(value: object) -> str | None:
    """Return the trace id of a W3C Trace Context header, ``00-<trace id>-<span id>-<flags>``."""
    parts = value.split("-") if isinstance(value, str) else []
    is_one = len(parts) >= 4 and len(parts[1]) == 32 and parts[1].isalnum()
    return parts[1] if is_one else None
