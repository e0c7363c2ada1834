"""The state on disk: exact, and never trusted when it is damaged."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import LogError
from monitor.log import checkpoint
from monitor.log.checkpoint import (
    Checkpoint,
    decode_state,
    encode_state,
    read_any_checkpoint,
    read_checkpoint,
    write_checkpoint,
)

STATE: dict[str, Any] = {"numbers": [1, 2.5, None], "bytes": b"\x00\xff", "nested": {"a": {}}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "checkpoint", Checkpoint(42, "fingerprint", STATE))
    return tmp_path / "checkpoint"


def test_a_checkpoint_comes_back_as_it_was(file: Path) -> None:
    assert read_checkpoint(file, "fingerprint") == Checkpoint(42, "fingerprint", STATE)


def test_one_too_large_for_its_format_is_refused_and_leaves_the_one_before(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(state: Any) -> bytes:
        raise msgspec.EncodeError("Can't encode Ext objects with data longer than 2**32 - 1")

    monkeypatch.setattr(checkpoint, "encode_state", too_large)
    with pytest.raises(LogError, match=r"longer than .*; lower detection\.max_agents"):
        write_checkpoint(file, Checkpoint(43, "fingerprint", STATE))
    assert read_checkpoint(file, "fingerprint") == Checkpoint(42, "fingerprint", STATE)


def test_another_fingerprint_is_said(file: Path) -> None:
    assert "another configuration" in str(read_checkpoint(file, "other"))
    assert read_any_checkpoint(file) == Checkpoint(42, "fingerprint", STATE)


def test_a_newer_checkpoint_replaces_the_older(file: Path) -> None:
    write_checkpoint(file, Checkpoint(43, "fingerprint", {}))
    assert read_checkpoint(file, "fingerprint") == Checkpoint(43, "fingerprint", {})


def test_a_checkpoint_cut_at_any_byte_is_not_used(file: Path) -> None:
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        assert read_checkpoint(file, "fingerprint") == "the checkpoint is damaged"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_noticed(file: Path, data: st.DataObject) -> None:
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    copy = file.with_name("copy")
    shutil.copy(file, copy)
    copy.write_bytes(content)
    assert read_any_checkpoint(copy) == "the checkpoint is damaged"


def test_what_is_not_there_or_not_ours_is_said(tmp_path: Path) -> None:
    assert str(read_any_checkpoint(tmp_path / "none")).startswith("no checkpoint")
    (tmp_path / "foreign").write_bytes(b"something else entirely" * 10)
    assert read_any_checkpoint(tmp_path / "foreign") == "the checkpoint is damaged"


@pytest.mark.parametrize(
    "dtype", [np.float64, np.uint64, np.int8, np.bool_, [("a", "<f8", (2,)), ("b", "u1")]]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (4, 5)])
def test_arrays_come_back_bit_for_bit_and_writable(dtype: Any, shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    bits = np.random.default_rng(1).integers(0, 2, size, np.uint8)
    array = np.frombuffer(bits.tobytes(), dtype).reshape(shape) if size else np.zeros(shape, dtype)
    found = decode_state(encode_state({"x": array}))["x"]
    assert (found.shape, found.tobytes()) == (array.shape, array.tobytes())
    assert found.flags.writeable


def test_numpy_scalars_become_plain_and_other_objects_are_refused() -> None:
    assert decode_state(encode_state([np.int64(7), np.float64(0.1)])) == [7, 0.1]
    with pytest.raises(TypeError, match="object"):
        encode_state(object())
