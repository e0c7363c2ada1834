"""Recorded streams become documents for the real ingest."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import ActionError
from monitor.intake.action import action_from_fields
from monitor.intake.recordings import LABELS, find_recording, read_recording

FOREIGN: dict[str, Any] = {
    "ts": 1.0,
    "agent_id": "x",
    "tool": "t",
    "args": {},
    "principal": "alice",
    "prov": {"to": "user"},
    "step": 3,
    "turn": 1,
    "label": 1,
    "attack": "exfiltration",
    "attack_role": "goal",
    "task": None,
    "result": {"ok": True, "chars": 3, "text": "secret"},
}


def recording(folder: Path, *documents: Any, name: str = "actions.jsonl") -> Path:
    file = folder / name
    text = "\n".join(json.dumps(document) for document in documents).encode() + b"\n\n"
    file.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return file


@pytest.mark.parametrize("name", ["actions.jsonl", "actions.jsonl.gz", "actions.ndjson"])
def test_a_file_or_its_directory_is_read(tmp_path: Path, name: str) -> None:
    file = recording(tmp_path, FOREIGN, FOREIGN, name=name)
    assert find_recording(tmp_path) == find_recording(file) == file
    assert len(list(read_recording(file))) == 2


def test_what_is_no_recording_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ActionError, match="NDJSON"):
        find_recording(tmp_path)


def test_a_foreign_trace_becomes_an_action_without_its_labels(tmp_path: Path) -> None:
    (document,) = read_recording(recording(tmp_path, FOREIGN))
    action = action_from_fields(document)
    assert (action.on_behalf_of, action.provenance) == (("alice",), {"to": "user"})
    assert document["result"] == {"ok": True, "chars": 3}
    assert not set(document) & (LABELS | {"step", "turn", "principal", "prov", "task"})
    assert action.extra == {}


def test_ids_are_kept_or_made_from_the_place_in_the_file(tmp_path: Path) -> None:
    file = recording(tmp_path, FOREIGN, {**FOREIGN, "id": "own"}, FOREIGN)
    ids = [document["id"] for document in read_recording(file)]
    assert ids[1] == "own"
    assert len(set(ids)) == 3
    assert ids == [document["id"] for document in read_recording(file)]


@pytest.mark.parametrize("line", [b"nonsense", b"[1]", b'{"a": "\xff"}', b"[" * 5000])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "actions.jsonl"
    file.write_bytes(json.dumps(FOREIGN).encode() + b"\n" + line)
    reading = read_recording(file)
    assert next(reading)
    with pytest.raises(ActionError, match="-1 is not a line"):
        next(reading)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_a_damaged_archive_raises_our_error(tmp_path: Path, data: st.DataObject) -> None:
    file = recording(tmp_path, *[FOREIGN] * 20, name="actions.jsonl.gz")
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(ActionError):
        list(read_recording(file))
