"""How far a route has come, on disk: the one thing that it must not forget."""

from __future__ import annotations

import copy
import logging
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

from monitor.errors import DaemonError
from monitor.state_dir import write_private

log = logging.getLogger("killcord.delivery")

SAVE_INTERVAL_S: Final = 1.0
"""So much may be repeated after a `kill -9`; each write is an fsync, of which the action log needs its share."""


class Place(msgspec.Struct):
    """Everything up to `seq` was delivered, left out by the filter, or set aside.

    The rest counts since the route began; `missed` are messages that retention deleted before the route came to them.
    """

    seq: int
    sent: int = 0
    failed: int = 0
    set_aside: int = 0
    missed: int = 0
    last_sent_at: str | None = None


class PlaceFile:
    """The file that keeps the place of the route `name`."""

    def __init__(self, file: Path, name: str) -> None:
        self._file = file
        self._name = name
        self._kept: Place | None = None
        self._due_s = 0.0
        self._lock = threading.Lock()  # a task that is cancelled leaves the thread at work that writes for it

    def read(self) -> Place | None:
        """Return the place that was kept, none for a new route; raises `DaemonError` if it cannot be read."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Place)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise DaemonError(
                f"{self._file} cannot be read ({error}): bring it back from a copy; without it the route begins anew"
            ) from error

    def keep(self, place: Place) -> None:
        """Write the place down, durably. If the disk does not take it, more would be repeated, nothing lost."""
        with self._lock:
            self._due_s = time.monotonic() + SAVE_INTERVAL_S
            now = copy.copy(place)
            try:
                write_private(self._file, msgspec.json.encode(now))
                self._kept = now
            except OSError as error:
                log.error("route %s: its place could not be written: %s", self._name, error)

    def holds(self, place: Place) -> bool:
        """Return whether this very place is on disk."""
        return self._kept == place

    def due_in_s(self) -> float:
        """Return how long it is until the place should be written again, 0 if it should be now."""
        return max(0.0, self._due_s - time.monotonic())
