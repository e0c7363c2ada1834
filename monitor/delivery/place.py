"""How far a route has come, on disk: the one thing that it must not forget."""

from __future__ import annotations

from pathlib import Path

import msgspec

from monitor.errors import DaemonError
from monitor.state_dir import write_private


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


def read_place(file: Path) -> Place | None:
    """Return the place that was kept, none for a new route; raises `DaemonError` if it cannot be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Place)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DaemonError(
            f"{file} cannot be read ({error}): bring it back from a copy, or delete it and the route begins anew"
        ) from error


def write_place(file: Path, place: Place) -> None:
    """Keep the place, durably."""
    write_private(file, msgspec.json.encode(place))
