"""Refused actions are kept with the reason, and stop nobody."""

from __future__ import annotations

import base64
import json
import logging
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from monitor.intake import dead_letters as module
from monitor.intake.dead_letters import MAX_DOCUMENT_BYTES, DeadLetter, DeadLetters


def kept(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "dead-letters.ndjson"


def test_a_letter_has_the_document_and_what_was_wrong_with_it(file: Path) -> None:
    letters = DeadLetters(file)
    letters.write([DeadLetter(b'{"ts": "never"}', "ts", "not a time"), DeadLetter(b"\xff", "", "not JSON")])
    letters.write([DeadLetter("naïve\n".encode(), "id", "x")])
    first, second, third = kept(file)
    assert (first["document"], first["field"], first["error"]) == ('{"ts": "never"}', "ts", "not a time")
    assert first["at"].endswith("Z")
    assert base64.b64decode(second["document_base64"]) == b"\xff"
    assert third["document"] == "naïve\n"
    assert letters.count == 3


def test_only_the_owner_may_read_raw_arguments(file: Path) -> None:
    DeadLetters(file).write([DeadLetter(b"x", "", "x")])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("document", [b"x" * (MAX_DOCUMENT_BYTES + 1), "é".encode() * MAX_DOCUMENT_BYTES])
def test_long_documents_are_cut_and_say_so(file: Path, document: bytes) -> None:
    DeadLetters(file).write([DeadLetter(document, "", "x")])
    (letter,) = kept(file)
    assert letter["cut_from_bytes"] == len(document)
    assert len(letter["document"].encode()) == MAX_DOCUMENT_BYTES


def test_junk_cannot_fill_the_disk(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 2000)
    letters = DeadLetters(file)
    for number in range(100):
        letters.write([DeadLetter(b"%d" % number, "", "x")])
    older = kept(file.with_suffix(".1"))
    documents = [letter["document"] for letter in [*older, *kept(file)]]
    assert documents == [str(number) for number in range(100 - len(documents), 100)]
    assert sum(path.stat().st_size for path in file.parent.iterdir()) < 5000


def test_many_threads_write_whole_lines(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 400_000)
    letters = DeadLetters(file)
    with ThreadPoolExecutor(8) as threads:
        for done in [
            threads.submit(letters.write, [DeadLetter(b"x" * 9000, "", "x")] * 2) for _ in range(40)
        ]:
            done.result()
    assert letters.count == 80
    assert {len(letter["document"]) for letter in kept(file)} == {9000}


def test_a_full_disk_is_reported_and_raises_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    letters = DeadLetters(tmp_path / "nowhere" / "dead-letters.ndjson")
    with caplog.at_level(logging.ERROR):
        letters.write([DeadLetter(b"x", "", "x")])
    assert letters.count == 1
    assert "could not be kept" in caplog.text
