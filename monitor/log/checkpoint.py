"""The pipeline's state on disk, with the place in the log that it stands for.

A checkpoint only saves time: without one, or with one that cannot be used, recovery replays the log from its start.
So a damaged or foreign checkpoint is reported and ignored, never fatal.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from monitor.errors import LogError
from monitor.state_dir import write_private

MAGIC = b"KILLCORD CHECKPOINT 1\n"
FOREIGN = "the checkpoint was made under another configuration or version"
_DIGEST_BYTES = 32
_ARRAY = 1


class Checkpoint(NamedTuple):
    """State after the entry `seq` of the log. `fingerprint` names the configuration that it was made under."""

    seq: int
    fingerprint: str
    state: dict[str, Any]


def write_checkpoint(file: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint durably in place of the one before; `LogError` if it is too large for its format."""
    try:
        body = encode_state(list(checkpoint))
    except msgspec.EncodeError as error:  # an array of 4 GiB: the models of 1,100,000 agents
        raise LogError(f"{error}; lower detection.max_agents") from error
    write_private(file, MAGIC + hashlib.sha256(body).digest() + body)


def read_checkpoint(file: Path, fingerprint: str) -> Checkpoint | str:
    """Return the checkpoint, or in one sentence why there is none to use."""
    found = read_any_checkpoint(file)
    if isinstance(found, Checkpoint) and found.fingerprint != fingerprint:
        return FOREIGN
    return found


def read_any_checkpoint(file: Path) -> Checkpoint | str:
    """Return the checkpoint whatever it was made under, or in one sentence why it cannot be read."""
    try:
        content = file.read_bytes()
    except OSError as error:
        return f"no checkpoint ({error.strerror})"
    body = content[len(MAGIC) + _DIGEST_BYTES :]
    if (
        not content.startswith(MAGIC)
        or content[len(MAGIC) : -len(body) or None] != hashlib.sha256(body).digest()
    ):
        return "the checkpoint is damaged"
    try:
        return Checkpoint(*decode_state(body))
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        return f"the checkpoint cannot be read: {error}"


def encode_state(state: Any) -> bytes:
    """Return plain values and numpy arrays as MessagePack, exactly."""
    return msgspec.msgpack.encode(state, enc_hook=_from_array)


def decode_state(body: bytes) -> Any:
    """Return what `encode_state` was given; arrays are writable copies."""
    return msgspec.msgpack.decode(body, ext_hook=_to_array)


def _from_array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        header = msgspec.msgpack.encode([value.dtype.str, value.shape])
        return msgspec.msgpack.Ext(_ARRAY, len(header).to_bytes(2, "little") + header + value.tobytes())
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot stand in a checkpoint")


def _to_array(code: int, data: memoryview) -> Any:
    if code != _ARRAY:
        raise ValueError(f"unknown extension {code}")
    split = 2 + int.from_bytes(data[:2], "little")
    dtype, shape = msgspec.msgpack.decode(data[2:split])
    return np.frombuffer(data[split:], dtype=dtype).reshape(shape).copy()
