"""Recorded streams of actions: NDJSON of our own format, or of public agent traces, as documents for the real ingest.

A trace from elsewhere names a few things differently (`principal`, `prov`); they are renamed. Labels, and whatever else
a detector must not see, are dropped here, so that they cannot reach the daemon at all.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from monitor.errors import ActionError

LABELS = frozenset({"label", "attack", "attack_role"})
_RENAMED: dict[str, str] = {"principal": "on_behalf_of", "prov": "provenance"}
_FOREIGN = frozenset({"step", "turn"})
_RESULT_FIELDS = ("ok", "chars", "duration_ms", "cost")

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def find_recording(path: Path) -> Path:
    """Return the file with the actions: the path itself, or the one in the directory.

    Raises
    ------
    ActionError
        If there is none.
    """
    if path.is_file():
        return path
    for name in ("actions.jsonl.gz", "actions.jsonl", "actions.ndjson"):
        if (path / name).is_file():
            return path / name
    raise ActionError(
        "", f"{path} is no recording: give an NDJSON file, or a directory with actions.jsonl[.gz]"
    )


def read_recording(file: Path) -> Iterator[dict[str, Any]]:
    """Yield each action as a document for `POST /v1/actions`, in the order of the file.

    An action without an `id` gets one from its place in the file, so that replaying it twice counts once.

    Raises
    ------
    ActionError
        At the first line that is not one JSON object, or where the file cannot be read any further.
    """
    stream_id = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rb") as lines:
            for number, line in enumerate(lines):
                if line.strip():
                    yield _document(line, f"{stream_id}-{number}")
    except (OSError, EOFError, zlib.error) as error:
        raise ActionError("", f"{file} cannot be read: {error}") from error


def _document(line: bytes, default_id: str) -> dict[str, Any]:
    try:
        fields = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ActionError("", f"{default_id} is not a line with one JSON object: {error}") from error
    kept: dict[str, Any] = {
        _RENAMED.get(name, name): value
        for name, value in fields.items()
        if name not in LABELS and name not in _FOREIGN and value is not None
    }
    kept.setdefault("id", default_id)
    if isinstance(kept.get("on_behalf_of"), str):
        kept["on_behalf_of"] = [kept["on_behalf_of"]]  # the short form is taken too, by a slower way
    if isinstance(kept.get("result"), dict):
        kept["result"] = {name: kept["result"][name] for name in _RESULT_FIELDS if name in kept["result"]}
    return kept
