"""The signed head: one statement about the last change and about all revocations after it.

Theory of operation
-------------------
Whoever may write to the store can take a revocation away. A point that held it keeps it (``view``); one that starts
afterwards has never seen it. So each change is written together with a *head*: its epoch, the hash of its log entry,
and a digest of the whole state hash as it is after it, signed by the writer's key. A point that holds public keys
allows nothing until it has seen a state that a head covers.

The digest must follow one change in O(1), whatever the number of revocations, and not depend on their order: it is the
sum of each record's SHAKE-256 output of 2,048 bits, modulo 2**2048. The sum of short hashes could be met by a clever
choice of junk (Wagner, *A generalized birthday problem*, CRYPTO 2002: with 2**k records about 2**(bits/(k+1)) work);
with 2,048 bits and a million records that is about 2**97.

Pure: no clock, no store, no keys; :mod:`killswitch.trust.certification` signs and verifies.

References
----------
Bellare, Micciancio, *A new paradigm for collision-free hashing: incrementality at reduced cost*, EUROCRYPT 1997
(AdHash).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from killswitch.errors import BadRecord
from killswitch.revocations import MAX_ID_CHARS, MAX_SECONDS

CONTEXT: Final = b"killcord head v1"
DIGEST_BYTES: Final = 256
EMPTY: Final = 0
"""The digest of no revocations at all."""

MAX_HEAD_BYTES: Final = 4_096  # security limit

_MODULUS: Final = 1 << (8 * DIGEST_BYTES)


@dataclass(frozen=True, slots=True)
class Head:
    """What a writer states about change ``epoch``.

    ``change_sha256`` is the hash of its log entry in hexadecimal, empty where there is none (the state was put back as
    a whole). ``state`` is the digest of all records after it; None if the writer could not vouch for them, because the
    head before was missing or not signed.
    """

    epoch: int
    change_id: str
    change_sha256: str
    state: int | None
    at_s: float


def digest(records: Mapping[bytes, bytes]) -> int:
    """Return the digest of a state hash, target to record as they lie in the store; O(n), about 3 µs a record."""
    return sum(_element(target, record) for target, record in records.items()) % _MODULUS


def moved(state: int, target: bytes, before: bytes, after: bytes) -> int:
    """Return the digest after one record (empty: none) was replaced by another; O(1)."""
    state += _element(target, after) if after else 0
    state -= _element(target, before) if before else 0
    return state % _MODULUS


def encode_head(head: Head) -> bytes:
    """Return the head as JSON, to be signed."""
    state = None if head.state is None else f"{head.state:0{2 * DIGEST_BYTES}x}"
    plain = {
        "v": 1,
        "epoch": head.epoch,
        "change_id": head.change_id,
        "change_sha256": head.change_sha256,
        "state": state,
        "at_s": head.at_s,
    }
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def decode_head(data: bytes) -> Head:
    """Return the head in `data`.

    Raises
    ------
    BadRecord
        For anything that is not a head of version 1.
    """
    if len(data) > MAX_HEAD_BYTES:
        raise BadRecord(f"{len(data)} bytes, more than {MAX_HEAD_BYTES}")
    try:
        plain: Any = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not JSON: {error}"[:200]) from error
    if type(plain) is not dict or plain.get("v") != 1 or plain.get("v") is True:
        raise BadRecord("not a head of version 1")
    return _head(plain)


def _head(plain: dict[str, Any]) -> Head:
    epoch: Any
    at_s: Any
    epoch, at_s = plain.get("epoch"), plain.get("at_s")
    change_id, change_sha256, state = plain.get("change_id"), plain.get("change_sha256"), plain.get("state")
    if type(epoch) is not int or not 0 < epoch < 1 << 63:
        raise BadRecord("epoch: expected a positive number")
    if type(at_s) not in (int, float) or not 0 <= at_s < MAX_SECONDS:
        raise BadRecord("at_s: expected seconds since 1970")
    if type(change_id) is not str or not 0 < len(change_id) <= MAX_ID_CHARS:
        raise BadRecord("change_id: expected text")
    if type(change_sha256) is not str or (change_sha256 and not _is_hex(change_sha256, 32)):
        raise BadRecord("change_sha256: expected a SHA-256 hash in hexadecimal, or nothing")
    if state is not None and not _is_hex(state, DIGEST_BYTES):
        raise BadRecord(f"state: expected {DIGEST_BYTES} bytes in hexadecimal, or null")
    return Head(epoch, change_id, change_sha256, None if state is None else int(state, 16), at_s)


def _is_hex(text: object, size_bytes: int) -> bool:
    return type(text) is str and len(text) == 2 * size_bytes and set(text) <= set("0123456789abcdef")


def _element(target: bytes, record: bytes) -> int:
    # The target's length keeps "ab" + "c" apart from "a" + "bc".
    framed = b"%d:" % len(target) + target + record
    return int.from_bytes(hashlib.shake_256(framed).digest(DIGEST_BYTES), "big")
