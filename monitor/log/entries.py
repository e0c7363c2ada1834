"""What the action log holds: everything that can change the pipeline's state, in one order.

Replaying the entries through the pipeline gives the state it had, so recovery is replay. Each entry carries its own
clock value: on replay that is the clock, not the wall.
"""

from __future__ import annotations

import msgspec

from monitor.errors import LogError
from monitor.intake.observation import Observation


class Actions(msgspec.Struct, frozen=True, array_like=True, tag="actions", gc=False):
    """Actions that were acknowledged together; each takes a sequence number of its own."""

    now_s: float
    observations: list[Observation]


class Judgement(msgspec.Struct, frozen=True, array_like=True, tag="judgement"):
    """What a person said of an alert: `dismissed` teaches the model, `confirmed` never does."""

    now_s: float
    alert_id: str
    verdict: str
    by: str
    reason: str


class Transition(msgspec.Struct, frozen=True, array_like=True, tag="transition"):
    """A change of the revocation state, encoded as the kill switch's own log has it."""

    now_s: float
    change: bytes


class Withdrawal(msgspec.Struct, frozen=True, array_like=True, tag="withdrawal"):
    """An automatic kill, decided at `at_s`, that the store can never carry out, because it is no request."""

    now_s: float
    change_id: str
    target: str
    at_s: float
    evidence: list[str]
    why: str


Entry = Actions | Judgement | Transition | Withdrawal

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """Return the entry's bytes for the log."""
    return _encoder.encode(entry)


def decode(payload: bytes) -> Entry:
    """Return the entry; raises `LogError` if this version cannot read it."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LogError(f"an entry of the log cannot be read by this version: {error}") from error


def count(entry: Entry) -> int:
    """Return how many sequence numbers the entry takes: one an action, one for anything else."""
    return len(entry.observations) if isinstance(entry, Actions) else 1
