"""Reading a log while it grows, from a place that is kept: always from disk, never more than asked for."""

from __future__ import annotations

from pathlib import Path

from monitor.errors import LogError
from monitor.log.segments import Frame, SegmentReader, segment_path, segment_starts


def log_end(directory: Path) -> int:
    """Return the number of the last entry of a log, 0 if there is none; reads its last segment."""
    starts = segment_starts(directory)
    if not starts:
        return 0
    last = SegmentReader(segment_path(directory, starts[-1]))
    for _ in last:
        pass
    return last.next_seq - 1


class LogTail:
    """The frames of a log in `directory` after `after`, some at a time. For one reader; takes no lock.

    Memory does not depend on how far behind the reader is. What retention has deleted is passed over: `next_seq`, the
    number that is read next, then leaps.
    """

    def __init__(self, directory: Path, after: int) -> None:
        self._directory = directory
        self._segment: SegmentReader | None = None
        self.next_seq = after + 1

    def read(self, up_to: int, *, frames: int, payload_bytes: int) -> list[Frame]:
        """Return the next frames, none after `up_to`, which must be on disk; ends with the one that fills the bytes.

        Raises
        ------
        LogError
            At a damaged frame.
        """
        found: list[Frame] = []
        while self.next_seq <= up_to:
            segment = self._segment = self._segment or self._find()
            try:
                for frame in segment:
                    if frame.first_seq < self.next_seq:
                        continue
                    found.append(frame)
                    self.next_seq = frame.first_seq + frame.entries
                    payload_bytes -= len(frame.payload)
                    if self.next_seq > up_to or len(found) >= frames or payload_bytes <= 0:
                        return found
            except FileNotFoundError:  # retention overtook us
                self._segment = None
            else:
                self._segment = self._following(segment)
        return found

    def _find(self) -> SegmentReader:
        starts = segment_starts(self._directory)
        if not starts:
            raise LogError(f"there is no log in {self._directory} any more")
        start = max((start for start in starts if start <= self.next_seq), default=starts[0])
        self.next_seq = max(self.next_seq, start)
        return SegmentReader(segment_path(self._directory, start))

    def _following(self, segment: SegmentReader) -> SegmentReader | None:
        """Return the segment that follows one that was read to its end; none if retention took it."""
        starts = segment_starts(self._directory)
        if starts and starts[0] > segment.next_seq:
            return None
        if segment.damage or segment.next_seq not in starts:
            what = segment.damage or f"it ends before {segment.next_seq}"
            raise LogError(f"{segment.path.name} is damaged at byte {segment.offset}: {what}")
        return SegmentReader(segment_path(self._directory, segment.next_seq))
