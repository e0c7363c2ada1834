"""The history of kills, read from the feed's log page by page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import LogError
from monitor.live.history import MAX_SEGMENTS, Page, transitions
from monitor.log.segments import Record, SegmentedLog


def message(kind: str, *, drill: bool = False, text: str = "") -> Record:
    content: dict[str, Any] = {"type": kind, "ts": "2026-01-01T00:00:00.000Z"}
    if kind == "transition":
        content["transition"] = {"target": "agent:x", "drill": drill}
    else:
        content["alert"] = {"title": text}
    return Record(json.dumps(content, separators=(",", ":")).encode())


def written(directory: Path, records: list[Record], segment_bytes: int = 300) -> None:
    log = SegmentedLog(directory, segment_bytes=segment_bytes)
    for record in records:
        log.append(record)
    log.sync()
    log.close()


def everything(directory: Path, limit: int, drills: bool) -> tuple[list[int], int]:
    """The numbers of all changes, following the cursor, and how many pages that took."""
    seqs: list[int] = []
    page, pages = Page([], None), 0
    while pages == 0 or page.next is not None:
        page = transitions(directory, before=page.next, limit=limit, drills=drills)
        assert len(page.transitions) <= limit
        seqs += [change["seq"] for change in page.transitions]
        pages += 1
        assert pages < 1000, "the cursor does not move on"
    return seqs, pages


@settings(max_examples=40, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(("alert", "kill", "drill")), max_size=80),
    limit=st.integers(1, 20),
    drills=st.booleans(),
)
def test_pages_hold_every_change_once_newest_first(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], limit: int, drills: bool
) -> None:
    directory = tmp_path_factory.mktemp("feed")
    records = [
        message("alert") if kind == "alert" else message("transition", drill=kind == "drill")
        for kind in kinds
    ]
    written(directory, records)
    wanted = [n for n, kind in enumerate(kinds, 1) if kind == "kill" or (drills and kind == "drill")]
    assert everything(directory, limit, drills)[0] == wanted[::-1]


def test_a_page_reads_a_bounded_part_of_a_long_log(tmp_path: Path) -> None:
    written(tmp_path / "feed", [message("transition"), *[message("alert", text="x" * 200)] * 40])
    first = transitions(tmp_path / "feed", before=None, limit=10, drills=False)
    assert first.transitions == []
    assert first.next is not None
    seqs, pages = everything(tmp_path / "feed", 10, False)
    assert seqs == [1]
    assert pages > 40 // MAX_SEGMENTS // 2


def test_an_alert_that_talks_of_a_transition_is_none(tmp_path: Path) -> None:
    written(tmp_path / "feed", [message("alert", text='"transition"'), message("transition")])
    page = transitions(tmp_path / "feed", before=None, limit=10, drills=True)
    assert [change["seq"] for change in page.transitions] == [2]


def test_damage_is_told_and_not_passed_over(tmp_path: Path) -> None:
    directory = tmp_path / "feed"
    written(directory, [message("transition")] * 20)
    oldest = min(directory.glob("*.seg"))
    oldest.write_bytes(oldest.read_bytes()[:-3])
    with pytest.raises(LogError, match="damaged"):
        transitions(directory, before=4, limit=10, drills=True)
