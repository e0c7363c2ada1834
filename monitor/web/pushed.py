"""A reader that is written to directly: no task, no lock and no wake-up between a message and its connection."""

from __future__ import annotations

from typing import Final

from monitor.live.filters import Filter
from monitor.live.frames import text_frame
from monitor.live.heartbeat import Heartbeat
from monitor.live.reader import CHUNK_BYTES, Batch, End, Reader
from monitor.live.session import told
from monitor.web.wire import Wire

STALL_S: Final = 20.0
"""A connection that takes nothing for so long is given up; its place is freed."""

# RFC 6455 §7.4.1 and its registry: try again later.
TOO_SLOW: Final = End(1013, "the connection takes nothing any more")


class PushedReader(Reader):
    """Writes what comes straight to its wire while that keeps up, and keeps a bounded rest while it does not.

    Its buffer is used only while the wire is full; what waits there goes out as soon as there is room.
    """

    def __init__(self, capacity: int, wanted: Filter, principal: str, wire: Wire, beat: Heartbeat) -> None:
        super().__init__(capacity, wanted, principal)
        self.wire = wire
        self._heartbeat = beat
        self._is_live = False
        self._full_since_s: float | None = None
        self._full_with = 0
        wire.on_room = self._flush

    def go_live(self) -> None:
        """Take over the wire: from here on nobody else writes messages to it."""
        self._is_live = True
        self._flush()

    def deliver(self, batch: Batch) -> None:
        """Write the batch, or what of it there is room for; the rest waits or is missed. Never waits."""
        if not (self._is_live and self.is_up_to_date and self.wire.has_room):
            super().deliver(batch)
        elif len(batch.chunks) <= 1:
            for chunk in batch.chunks:
                self.wire.write(chunk)
            self.sent += len(batch.messages)
            self.start(batch.to_seq)
        else:  # as far as there is room: a big batch may fill the wire
            for message in batch.messages:
                self.put(message)
            self.pass_over(batch.to_seq)
            self._flush()

    def tick(self, now_s: float) -> None:
        """Send the heartbeat if there is room for it; give the connection up if it has taken nothing for too long."""
        if not self._is_live:
            return
        if self.wire.has_room:
            self._full_since_s = None
            if self.is_up_to_date:
                self.wire.write(self._heartbeat.frame(self.position))
        elif self.wire.is_open:
            self._watch_stall(now_s)

    def _watch_stall(self, now_s: float) -> None:
        waiting = self.wire.waiting_bytes
        if self._full_since_s is None or waiting < self._full_with:
            self._full_since_s, self._full_with = now_s, waiting
        elif now_s - self._full_since_s >= STALL_S:
            self.wire.cut(*TOO_SLOW)
            self.end(TOO_SLOW)

    def _flush(self) -> None:
        """Write what waits, a chunk at a time, as long as there is room."""
        if not self._is_live:
            return
        while not self.is_up_to_date and self.wire.has_room:
            frames, size = [], 0
            for item in self.take():
                frames += [text_frame(message.text) for message in told([item])]
                size += len(frames[-1])
                if size >= CHUNK_BYTES:
                    break
            self.wire.write(b"".join(frames))
