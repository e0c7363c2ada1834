"""A control group of our own around a program, where the system lets us make one: frozen and killed at one stroke.

Version 2 only (``cgroup.freeze``, ``cgroup.kill``; Linux 5.2 and 5.14, Documentation/admin-guide/cgroup-v2.rst): its
files say when all is frozen. A process that may write to another group can leave (root can; a user inside a delegated
tree can), which is why the tree is walked all the same.
"""

from __future__ import annotations

import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

from killswitch.clocks import lease_clock_s

_PAUSE_S: Final = 0.0002
_REMOVE_TRIES: Final = 50


class Cgroup:
    """One control group, made by :meth:`create`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls) -> Cgroup | None:
        """Return a new group below this process's own, or None where that cannot be done."""
        parent = _own_group()
        if parent is None:
            return None
        path = parent / f"killcord-guard-{uuid.uuid4().hex[:12]}"
        try:
            path.mkdir()
        except OSError:  # read-only, not ours, or a parent that may hold no more
            return None
        group = cls(path)
        if all(os.access(path / name, os.W_OK) for name in ("cgroup.procs", "cgroup.freeze", "cgroup.kill")):
            return group
        group.remove()
        return None

    def join(self) -> bool:
        """Move the calling process in; return whether that went well."""
        return _write(self.path / "cgroup.procs", "0")

    def freeze(self, deadline_s: float) -> bool:
        """Freeze all of it; return whether the system says that it is frozen in time."""
        if not _write(self.path / "cgroup.freeze", "1"):
            return False
        while not self._is_frozen():
            if lease_clock_s() >= deadline_s:
                return False
            time.sleep(_PAUSE_S)
        return True

    def thaw(self) -> None:
        """Let it go on."""
        _write(self.path / "cgroup.freeze", "0")

    def kill(self) -> None:
        """Kill all of it, frozen or not, whatever forks meanwhile."""
        _write(self.path / "cgroup.kill", "1")

    def pids(self) -> frozenset[int]:
        """Return the process ids in it and in the groups below it."""
        found: set[int] = set()
        for folder, _, _ in os.walk(self.path):
            with suppress(OSError):
                found.update(map(int, (Path(folder) / "cgroup.procs").read_text().split()))
        return frozenset(found)

    def remove(self) -> None:
        """Remove the group; a process that was just reaped may keep it busy for a moment."""
        for _ in range(_REMOVE_TRIES):
            try:
                for folder, _, _ in os.walk(self.path, topdown=False):
                    os.rmdir(folder)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(_PAUSE_S)

    def _is_frozen(self) -> bool:
        with suppress(OSError):
            return "frozen 1" in (self.path / "cgroup.events").read_text().splitlines()
        return False


def _own_group() -> Path | None:
    """Return the directory of this process's group of version 2, wherever it is mounted."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields, _, kind = line.partition(" - ")
            if kind.split()[0] == "cgroup2" and fields.split()[3] == "/":
                return Path(fields.split()[4]) / own
    return None


def _write(path: Path, text: str) -> bool:
    try:
        path.write_text(text)
    except OSError:
        return False
    return True
