"""An entry of the record: the definition of the format, version 1. Pure.

An entry is a *leaf*, the JSON object (RFC 8259, UTF-8) whose hash the tree holds, and perhaps a *content*, another one
that can be deleted later. A leaf has at most 65,535 bytes. Its fields, in this order; what is unknown is left out:

``v``               1, the version of the format; whoever meets another one must not guess
``event_id``        where it comes from and its number there: unique, and the same for ever
``type``            one of `TYPES`
``timestamp``       when it happened; ``recorded_at`` when the daemon took it in. RFC 3339 in UTC, to the millisecond
``trace_id``        of the distributed trace that it belongs to
``parent_id``       of the event that led to it: an ``event_id``, or the producer's own word for it
``agent``           ``id``, ``version``, ``run`` (the session)
``on_behalf_of``    ``type``, ``id``: the human at the root of the chain; ``delegations``: those after, in order
``action``          ``id`` (the producer's), ``tool``, ``call_id``, ``resource``, ``side_effect``, ``args`` (names),
                    ``args_digest`` and ``proof_digest`` (keyed, "blake2b-128:" and hex), ``provenance``, ``result``
``authorization``   ``credential``, ``policy``, ``decision`` of an enforcement point (allowed, refused, held)
``risk``            ``p`` (how often so strange an action is seen), ``threshold_p`` (from which on it is an alert),
                    ``evidence`` (nats against the agent)
``actor``           ``type`` (user or system), ``id``: who did what is not an agent's action
``target``          what it is about, as the kill switch names it: ``agent:billing-bot``
``evidence``        ``action_ids``, ``alert_ids``: what it stands on
…                   fields of the type, as its form in `other_forms` has them
``content``         ``sha256`` of the content's bytes, in hex, and the ``fields`` in it
``cut``             true: texts or lists were shortened so that the leaf fits

``event_id`` is ``action-``, ``judgement-`` or ``withdrawal-`` and the number in the action log, ``transition-`` and the
epoch, ``feed-`` and the number on the feed, ``act-`` and the number in the audit trail, ``drill-`` and the drill's id,
``record-`` and a count.

The names are those of draft-klrc-aiagent-auth (what an audit event must have) and of
draft-kuehlewind-audit-architecture (its types of records). A content begins with a ``salt`` of 16 random bytes, so that
what was deleted cannot be guessed from its digest.

An entry is found by its *links*, texts such as ``agent:billing-bot``. They follow from the leaf alone: see `links`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from monitor.errors import LogError
from monitor.record.cutting import fitted
from monitor.record.links import links_of

__all__ = [
    "MAX_CONTENT_BYTES",
    "MAX_LEAF_BYTES",
    "TYPES",
    "VERSION",
    "Entry",
    "decode_content",
    "decode_leaf",
    "digest_of",
    "entry_of",
    "is_content_of",
    "links_of",
    "stamp",
]

VERSION: Final = 1
MAX_LEAF_BYTES: Final = 65_535
MAX_CONTENT_BYTES: Final = 1_000_000
"""Security limit: what an agent sends must not make a part of the record too large to be read."""

TYPES: Final = (
    "action",
    "judgement",
    "authorization_transition",
    "withdrawal",
    "alert",
    "acknowledgement",
    "triage",
    "mute",
    "drill",
    "operator_act",
    "record",
)

_MAX_TS_S: Final = 253_402_300_799
_MAX_SECONDS: Final = 4096  # of the texts below
_MILLISECONDS: Final = (*(f".{ms:03d}Z" for ms in range(1000)), ".999Z")
_HALF_US: Final = (
    0.0005  # in milliseconds: a time that was told to the millisecond is a little less as a float
)
_seconds: dict[int, str] = {}

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Entry(NamedTuple):
    """One entry.

    Parameters
    ----------
    leaf, content : bytes
        What is hashed; what can be deleted, empty if there is none.
    links : tuple of str
        By what it is found.
    ts_s : float
        When it happened, in seconds since 1970; the leaf has it to the millisecond.
    """

    leaf: bytes
    content: bytes
    links: tuple[str, ...]
    ts_s: float


def entry_of(leaf: dict[str, Any], ts_s: float) -> Entry:
    """Return the entry, without a content, of a leaf's fields after `v`; those that are None are left out."""
    known = {"v": VERSION, **{name: value for name, value in leaf.items() if value is not None}}
    data = _encode(known)
    if len(data) > MAX_LEAF_BYTES:
        data = fitted(known, MAX_LEAF_BYTES)
    return Entry(data, b"", links_of(data), ts_s)


def stamp(ts_s: float) -> str:
    """Return seconds since 1970 as RFC 3339 in UTC, cut to the millisecond; what is no such time becomes the nearest.

    About 0.3 µs where the second was seen before.
    """
    try:
        second = int(ts_s)
        return _seconds[second] + _MILLISECONDS[int((ts_s - second) * 1000 + _HALF_US)]
    except (KeyError, ValueError, OverflowError):  # not seen before, not a number, infinite
        return _new_stamp(ts_s)


def _new_stamp(ts_s: float) -> str:
    known_s = (ts_s if ts_s < _MAX_TS_S else _MAX_TS_S) if ts_s > 0 else 0
    second = int(known_s)
    text = datetime.fromtimestamp(second, UTC).isoformat()[:19]
    if len(_seconds) >= _MAX_SECONDS:
        _seconds.clear()
    if second:  # a time before 1970 has the second 0 too
        _seconds[second] = text
    return text + _MILLISECONDS[int((known_s - second) * 1000 + _HALF_US)]


def digest_of(content: bytes) -> str:
    """Return the digest that the leaf holds of its content."""
    return sha256(content).hexdigest()


def is_content_of(leaf: dict[str, Any], content: bytes) -> bool:
    """Return whether these are the bytes of the content that the leaf tells of; none if it tells of none."""
    told = leaf.get("content")
    return (told["sha256"] == digest_of(content)) if told else not content


def decode_leaf(leaf: bytes) -> dict[str, Any]:
    """Return the fields of a leaf; raises `LogError` if it is none that this version can read."""
    fields = _object(leaf)
    version = fields.get("v")
    if version != VERSION or version is True:
        raise LogError(f"v: an entry of the record has version {version!r:.80}, this daemon reads {VERSION}")
    return fields


def decode_content(content: bytes) -> dict[str, Any]:
    """Return the fields of a content, {} for an empty one; raises `LogError` if it is none."""
    return _object(content) if content else {}


def _object(data: bytes) -> dict[str, Any]:
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LogError(f"an entry of the record cannot be read: {error}") from error
