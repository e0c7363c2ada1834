"""By what an entry is found: texts of a kind and a name, which follow from its leaf alone. Pure.

``type:T``  ``event:ID`` (its own)  ``parent:ID``  ``trace:ID``  ``action:ID`` (its producer's)  ``call:ID``
``agent:ID``  ``tool:NAME``  ``session:ID``  ``human:ID``  ``delegate:ID``  ``credential:ID``  ``resource:NAME``
``alert:ID`` (also of the group)  ``change:ID`` (of the revocation state)  ``by:PERSON``  ``target:T``, and beside it
what the target names: for ``target:agent_version:x@2`` that is ``agent:x``, for ``target:delegation:y`` ``delegate:y``.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from monitor.errors import LogError


class _Named(msgspec.Struct, frozen=True):
    id: str | None = None
    run: str | None = None
    call_id: str | None = None
    tool: str | None = None
    resource: str | None = None


class _Authorization(msgspec.Struct, frozen=True):
    credential: str | None = None


class _Response(msgspec.Struct, frozen=True):
    change_id: str | None = None


class _Alert(msgspec.Struct, frozen=True):
    id: str | None = None
    group: _Named = _Named()
    response: _Response = _Response()


class _Evidence(msgspec.Struct, frozen=True):
    action_ids: tuple[str, ...] = ()
    alert_ids: tuple[str, ...] = ()


class _Leaf(msgspec.Struct, frozen=True):
    """What links follow from; everything else is passed over unread."""

    event_id: str
    type: str
    parent_id: str | None = None
    trace_id: str | None = None
    agent: _Named = _Named()
    on_behalf_of: _Named = _Named()
    delegations: tuple[str, ...] = ()
    action: _Named = _Named()
    authorization: _Authorization = _Authorization()
    alert: _Alert = _Alert()
    actor: _Named = _Named()
    target: str | None = None
    change_id: str | None = None
    evidence: _Evidence = _Evidence()


_decode = msgspec.json.Decoder(_Leaf).decode


def links_of(leaf: bytes) -> tuple[str, ...]:
    """Return the links of an entry, each once; raises `LogError` if the leaf is none that this version can read."""
    try:
        fields = _decode(leaf)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LogError(f"an entry of the record cannot be read: {error}") from error
    return tuple(dict.fromkeys(f"{kind}:{name}" for kind, name in _pairs(fields) if name))


def _pairs(leaf: _Leaf) -> Iterator[tuple[str, str | None]]:
    yield "type", leaf.type
    yield "event", leaf.event_id
    yield "parent", leaf.parent_id
    yield "trace", leaf.trace_id
    yield "action", leaf.action.id
    yield "call", leaf.action.call_id
    yield "agent", leaf.agent.id
    yield "tool", leaf.action.tool
    yield "session", leaf.agent.run
    yield "human", leaf.on_behalf_of.id
    for name in leaf.delegations:
        yield "delegate", name
    yield "credential", leaf.authorization.credential
    yield "resource", leaf.action.resource
    yield "alert", leaf.alert.id
    yield "alert", leaf.alert.group.id
    for name in leaf.evidence.alert_ids:
        yield "alert", name
    for name in leaf.evidence.action_ids:
        yield "action", name
    yield "change", leaf.change_id
    yield "change", leaf.alert.response.change_id
    yield "by", leaf.actor.id
    if leaf.target:
        yield "target", leaf.target
        yield _named_by(leaf.target)


def _named_by(target: str) -> tuple[str, str]:
    kind, _, name = target.partition(":")
    if kind == "agent_version":
        return "agent", name.rpartition("@")[0] or name
    return ("delegate" if kind == "delegation" else kind), name
