"""The durable log: whatever a crash leaves behind, every whole record before it is there."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import LogError, LogFailed
from monitor.log.segments import (
    MAGIC,
    MAX_FRAME_BYTES,
    Frame,
    Record,
    SegmentedLog,
    read_log,
    segment_starts,
)

RECORDS = [Record(b"first", 3), Record(b"", 1), Record(b"third" * 20, 2), Record(b"last", 1)]
FRAMES = [Frame(1, 3, b"first"), Frame(4, 1, b""), Frame(5, 2, b"third" * 20), Frame(7, 1, b"last")]


def write(directory: Path, *records: Record, segment_bytes: int = 1 << 20) -> None:
    """Append the records one by one, so that each may begin a segment."""
    log = SegmentedLog(directory, segment_bytes=segment_bytes)
    for record in records:
        log.append(record)
    log.sync()
    log.close()


def frames(directory: Path, from_seq: int = 0) -> list[Frame]:
    log = SegmentedLog(directory)
    try:
        return list(log.read(from_seq))
    finally:
        log.close()


@pytest.fixture(scope="module")
def one_segment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("log") / "log"
    write(directory, *RECORDS)
    return directory


@pytest.fixture
def many_segments(tmp_path: Path) -> Path:
    directory = tmp_path / "log"
    write(directory, *RECORDS, segment_bytes=17)
    return directory


def ends(directory: Path) -> list[int]:
    """Where each frame of the only segment ends."""
    return list(itertools.accumulate([len(MAGIC), *(20 + len(record.payload) for record in RECORDS)]))


def damaged_copy(original: Path, to: Path, content: bytes) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(original, to)
    (segment,) = to.glob("*.seg")
    segment.write_bytes(content)
    return to


# -- order and numbers ----------------------------------------------------------------------------------------------


def test_records_come_back_in_order_with_their_numbers(one_segment: Path) -> None:
    assert frames(one_segment) == FRAMES


def test_a_log_is_read_beside_its_writer(many_segments: Path) -> None:
    """Without the lock, and also while the writer is about to write the next frame, or retention deletes a segment."""
    log = SegmentedLog(many_segments, segment_bytes=1 << 20)
    assert list(read_log(many_segments)) == FRAMES
    assert list(read_log(many_segments, 5)) == FRAMES[2:]
    assert segment_starts(many_segments) == [frame.first_seq for frame in FRAMES]
    log.append(Record(b"more"))
    newest = log.segments()[-1]
    os.truncate(newest, newest.stat().st_size - 1)
    reading = read_log(many_segments)
    assert next(reading) == FRAMES[0]
    log.segments()[1].unlink()
    assert list(reading) == FRAMES[2:]
    log.close()


def test_where_there_is_no_log_nothing_is_read_and_nothing_is_made(tmp_path: Path) -> None:
    assert list(read_log(tmp_path / "none")) == segment_starts(tmp_path / "none") == []
    assert list(tmp_path.iterdir()) == []


def test_several_records_are_appended_at_once(tmp_path: Path) -> None:
    log = SegmentedLog(tmp_path)
    assert log.append(*RECORDS) == [1, 4, 5, 7]
    assert log.append() == []
    assert (log.next_seq, log.first_seq) == (8, 1)
    log.close()
    assert frames(tmp_path) == FRAMES


def test_numbers_go_on_after_reopening(tmp_path: Path) -> None:
    for number in range(1, 4):
        log = SegmentedLog(tmp_path, segment_bytes=17)
        assert log.torn is None
        assert log.append(Record(b"x")) == [number]
        log.close()
    assert [frame.first_seq for frame in frames(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize("from_seq", range(9))
def test_reading_begins_at_the_frame_that_holds_a_number(
    one_segment: Path, many_segments: Path, from_seq: int
) -> None:
    wanted = [frame for frame in FRAMES if frame.first_seq + frame.entries > from_seq]
    assert frames(one_segment, from_seq) == wanted
    assert frames(many_segments, from_seq) == wanted


def test_a_full_segment_is_followed_by_another(many_segments: Path) -> None:
    names = sorted(path.stem for path in many_segments.glob("*.seg"))
    assert names == [f"{frame.first_seq:020d}" for frame in FRAMES]


def test_the_newest_segments_can_be_read_alone(many_segments: Path) -> None:
    log = SegmentedLog(many_segments)
    assert list(log.read_newest(segments=2)) == FRAMES[-2:]
    assert list(log.read_newest(segments=99)) == FRAMES
    log.close()


def test_a_record_over_the_limit_is_refused_and_nothing_written(tmp_path: Path) -> None:
    log = SegmentedLog(tmp_path)
    with pytest.raises(LogError, match="over the limit"):
        log.append(Record(b"fits"), Record(bytes(MAX_FRAME_BYTES + 1)))
    assert log.append(Record(b"next")) == [1]
    log.close()
    assert frames(tmp_path) == [Frame(1, 1, b"next")]


# -- one owner ------------------------------------------------------------------------------------------------------


def test_a_log_has_one_owner(tmp_path: Path) -> None:
    log = SegmentedLog(tmp_path)
    with pytest.raises(LogError, match="in use"):
        SegmentedLog(tmp_path)
    log.close()
    log.close()
    SegmentedLog(tmp_path).close()


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    log = SegmentedLog(tmp_path)
    log.close()
    with pytest.raises(LogFailed, match="closed"):
        log.append(Record(b"x"))


def test_a_foreign_file_is_refused_and_the_lock_released(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000001.seg").write_bytes(b"somebody else's file, longer than the magic")
    for _ in range(2):
        with pytest.raises(LogError, match="not a Killcord log"):
            SegmentedLog(tmp_path)


def test_a_file_with_a_foreign_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.seg").touch()
    with pytest.raises(LogError, match=r"notes\.seg"):
        SegmentedLog(tmp_path)


# -- what a crash leaves --------------------------------------------------------------------------------------------


def test_a_segment_cut_at_any_byte_keeps_every_whole_frame(one_segment: Path, tmp_path: Path) -> None:
    (segment,) = one_segment.glob("*.seg")
    content, boundaries = segment.read_bytes(), ends(one_segment)
    for length in range(len(content)):
        directory = damaged_copy(one_segment, tmp_path / "copy", content[:length])
        log = SegmentedLog(directory)
        whole = sum(end <= length for end in boundaries[1:])
        assert list(log.read()) == FRAMES[:whole], length
        is_torn = length not in boundaries
        assert (log.torn is not None) == is_torn, length
        if log.torn:
            start = max([end for end in boundaries if end <= length], default=0)
            assert (log.torn.offset, log.torn.bytes_cut) == (start, length - start)
            assert log.torn.segment.with_suffix(f".{start}.torn").read_bytes() == content[start:length]
        next_seq = FRAMES[whole].first_seq
        assert log.append(Record(b"after")) == [next_seq]
        log.close()
        assert frames(directory) == [*FRAMES[:whole], Frame(next_seq, 1, b"after")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_flipped_bits_cost_the_frames_from_there_on(
    one_segment: Path, tmp_path: Path, data: st.DataObject
) -> None:
    (segment,) = one_segment.glob("*.seg")
    content, boundaries = bytearray(segment.read_bytes()), ends(one_segment)
    at = data.draw(st.integers(len(MAGIC), len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    log = SegmentedLog(damaged_copy(one_segment, tmp_path / "copy", bytes(content)))
    whole = sum(end <= at for end in boundaries[1:])
    try:
        assert list(log.read()) == FRAMES[:whole]
        assert log.torn is not None
        assert log.torn.offset == boundaries[whole]
    finally:
        log.close()


@given(garbage=st.binary(min_size=1, max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_garbage_at_the_end_is_cut(one_segment: Path, tmp_path: Path, garbage: bytes) -> None:
    (segment,) = one_segment.glob("*.seg")
    log = SegmentedLog(damaged_copy(one_segment, tmp_path / "copy", segment.read_bytes() + garbage))
    assert list(log.read()) == FRAMES
    assert log.torn is not None
    assert log.torn.bytes_cut == len(garbage)
    log.close()


def test_a_crash_while_a_segment_is_begun_is_no_damage(many_segments: Path) -> None:
    (many_segments / "00000000000000000008.seg").write_bytes(MAGIC[:5])
    log = SegmentedLog(many_segments)
    assert list(log.read()) == FRAMES
    assert log.append(Record(b"after")) == [8]
    log.close()
    assert frames(many_segments)[-1] == Frame(8, 1, b"after")


# -- damage that is no crash ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["flip", "cut", "cut between frames", "lose"])
def test_damage_before_the_newest_segment_is_named(tmp_path: Path, harm: str) -> None:
    directory = tmp_path / "log"
    write(directory, *RECORDS, Record(b"newest"), segment_bytes=60)
    segments = sorted(directory.glob("*.seg"))
    victim = segments[1] if harm == "lose" else segments[0]
    content = bytearray(victim.read_bytes())
    if harm == "flip":
        content[-1] ^= 1
        victim.write_bytes(content)
    elif harm == "cut":
        victim.write_bytes(content[:-1])
    elif harm == "cut between frames":
        victim.write_bytes(content[: len(MAGIC) + 25])
    else:
        victim.unlink()
    log = SegmentedLog(directory)
    try:
        with pytest.raises(LogError, match=segments[0].name) as caught:
            list(log.read())
        assert "damaged at byte" in str(caught.value)
        assert list(log.read(FRAMES[-1].first_seq + 1)), "what is whole can still be read"
    finally:
        log.close()


# -- retention ------------------------------------------------------------------------------------------------------

OLD_S, NEW_S = 1_000.0, 2_000.0


@pytest.fixture
def aged(many_segments: Path) -> SegmentedLog:
    """Four segments of which the first two are old."""
    log = SegmentedLog(many_segments)
    for path, mtime_s in zip(log.segments(), [OLD_S, OLD_S, NEW_S, NEW_S], strict=True):
        os.utime(path, (mtime_s, mtime_s))
    return log


@pytest.mark.parametrize(
    ("seq", "older_than_s", "keep_bytes", "left"),
    [
        (8, 1_500.0, 1 << 30, [5, 7]),  # by age
        (8, 0.0, 1 << 30, [1, 4, 5, 7]),  # young and small
        (8, 0.0, 200, [5, 7]),  # by size, oldest first
        (8, 3_000.0, 0, [7]),  # the newest always stays
        (4, 3_000.0, 0, [4, 5, 7]),  # recovery still needs 4
        (3, 3_000.0, 0, [1, 4, 5, 7]),  # 1 to 3 stand in one segment
        (0, 3_000.0, 0, [1, 4, 5, 7]),
    ],
)
def test_retention_drops_only_what_it_may(
    aged: SegmentedLog, seq: int, older_than_s: float, keep_bytes: int, left: list[int]
) -> None:
    dropped = aged.drop_before(seq, older_than_s=older_than_s, keep_bytes=keep_bytes)
    assert [int(path.stem) for path in aged.segments()] == left
    assert len(dropped) == 4 - len(left)
    assert [frame.first_seq for frame in aged.read()] == left
    assert aged.first_seq == left[0]
    aged.close()


def test_a_reader_goes_on_when_retention_overtakes_it(aged: SegmentedLog) -> None:
    reading = aged.read()
    assert next(reading) == FRAMES[0]
    aged.drop_before(8, older_than_s=1_500.0, keep_bytes=1 << 30)
    assert list(reading) == FRAMES[2:]
    aged.close()


# -- a full disk ----------------------------------------------------------------------------------------------------

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from monitor.errors import LogError, LogFailed
from monitor.log.segments import Record, SegmentedLog

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = SegmentedLog(Path(sys.argv[1]))
log.append(Record(b"kept"))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    log.append(Record(b"x" * 500), Record(b"y"))
except LogFailed:
    sys.exit("failed for good")
except LogError as error:
    print(error)
assert log.append(Record(b"small enough")) == [2]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert log.append(Record(b"z" * 500)) == [3]
log.sync()
"""


def test_a_full_disk_takes_the_whole_write_back_and_the_log_goes_on(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, cwd=root, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert "is the disk full?" in ran.stdout
    assert [frame.payload for frame in frames(tmp_path)] == [b"kept", b"small enough", b"z" * 500]


def test_no_room_for_a_new_segment_leaves_the_log_as_it_was(
    many_segments: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = SegmentedLog(many_segments, segment_bytes=17)
    with monkeypatch.context() as patched:
        patched.setattr("monitor.log.segments._create", _no_space)
        with pytest.raises(LogError, match="is the disk full") as caught:
            log.append(Record(b"refused"))
        assert not isinstance(caught.value, LogFailed)
        log.sync()
    assert list(log.read()) == FRAMES
    assert log.append(Record(b"taken")) == [8]
    log.close()
    assert frames(many_segments)[-1] == Frame(8, 1, b"taken")


def test_a_write_that_cannot_be_taken_back_stops_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = SegmentedLog(tmp_path)
    log.append(Record(b"kept"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda handle, data: _write_half(handle, data))
        patched.setattr(os, "ftruncate", _no_space)
        with pytest.raises(LogError):
            log.append(Record(b"half of this"))
    for attempt in (lambda: log.append(Record(b"x")), log.sync):
        with pytest.raises(LogFailed, match="taken back"):
            attempt()
    log.close()
    assert frames(tmp_path) == [Frame(1, 1, b"kept")]


def test_after_a_failed_fsync_nothing_is_acknowledged_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = SegmentedLog(tmp_path)
    log.append(Record(b"x"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", _no_space)
        with pytest.raises(LogFailed, match="fsync failed"):
            log.sync()
    for attempt in (lambda: log.append(Record(b"y")), log.sync):
        with pytest.raises(LogFailed, match="restart the daemon"):
            attempt()
    log.close()


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


_real_write = os.write


def _write_half(handle: int, data: bytes) -> int:
    return _real_write(handle, data[: len(data) // 2])
