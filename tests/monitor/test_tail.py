"""Reading a log that grows: everything once, in order, in bounded pieces, whatever the segments do."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import LogError
from monitor.log.segments import Record, SegmentedLog
from monitor.log.tail import LogTail


def grow(log: SegmentedLog, count: int) -> None:
    for _ in range(count):
        log.append(Record(b"x" * 40))
    log.sync()


def read_all(tail: LogTail, up_to: int, frames: int = 1000, payload_bytes: int = 1 << 20) -> list[int]:
    found: list[int] = []
    while tail.next_seq <= up_to:
        found += [frame.first_seq for frame in tail.read(up_to, frames=frames, payload_bytes=payload_bytes)]
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), max_size=8), st.integers(1, 7), st.integers(0, 5))
def test_a_reader_sees_each_frame_once_while_the_log_grows(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], frames: int, after: int
) -> None:
    log = SegmentedLog(tmp_path_factory.mktemp("log"), segment_bytes=200)
    tail, found = LogTail(log.directory, after), []
    for step in steps:
        grow(log, step)
        found += read_all(tail, log.next_seq - 1, frames)
    log.close()
    assert found == list(range(after + 1, sum(steps) + 1))


def test_no_more_is_read_than_asked_for(tmp_path: Path) -> None:
    log = SegmentedLog(tmp_path, segment_bytes=200)
    grow(log, 20)
    tail = LogTail(tmp_path, 0)
    assert [frame.first_seq for frame in tail.read(20, frames=3, payload_bytes=1000)] == [1, 2, 3]
    assert [frame.first_seq for frame in tail.read(20, frames=99, payload_bytes=100)] == [4, 5, 6]
    assert [frame.first_seq for frame in tail.read(8, frames=99, payload_bytes=1000)] == [7, 8]
    assert tail.read(8, frames=99, payload_bytes=1000) == []
    log.close()


@pytest.mark.parametrize("read_first", [0, 1, 4])
def test_what_retention_deleted_is_leapt_over(tmp_path: Path, read_first: int) -> None:
    log = SegmentedLog(tmp_path, segment_bytes=200)
    grow(log, 30)
    tail = LogTail(tmp_path, 0)
    tail.read(30, frames=read_first, payload_bytes=1000) if read_first else None
    for segment in log.segments()[:3]:
        segment.unlink()
    first = log.first_seq
    assert read_all(tail, 30) == list(range(first, 31))
    log.close()


def test_damage_is_told_by_its_place_and_never_skipped(tmp_path: Path) -> None:
    log = SegmentedLog(tmp_path, segment_bytes=200)
    grow(log, 30)
    first = log.segments()[0]
    content = bytearray(first.read_bytes())
    content[70] ^= 1
    first.write_bytes(content)
    tail = LogTail(tmp_path, 0)
    with pytest.raises(LogError, match=f"{first.name} is damaged at byte"):
        read_all(tail, 30)
    assert tail.next_seq < 30
    log.close()


def test_a_log_that_is_gone_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no log"):
        LogTail(tmp_path, 0).read(5, frames=1, payload_bytes=10)


def test_the_end_of_a_log_is_waited_for_not_taken_for_damage(tmp_path: Path) -> None:
    log = SegmentedLog(tmp_path)
    tail = LogTail(tmp_path, 0)
    for count in itertools.islice(itertools.count(1), 5):
        grow(log, 1)
        assert read_all(tail, count) == [count]
    log.close()
