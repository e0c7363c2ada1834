"""What was done to a supervised program, when, to which processes and why: one JSON object, kept as evidence."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from killswitch.clocks import lease_clock_s, wall_s
from killswitch.errors import Refused, Revoked
from killswitch.supervise.processes import Process, Tree

REACHES: Final = {
    "cgroup": "every process of the program, by a control group and by walking what left it",
    "subreaper": "every process of the program, by walking its descendants",
    "group": "the program's process group; what left it is not reached on this platform",
    "none": "nothing: it was never run",
}
MAX_PROCESSES: Final = 10_000  # security limit: a fork bomb's report must still fit on a disk


@dataclass
class Stop:
    """One time that the program was stopped: times on the lease clock, in seconds.

    ``complete`` says that all of it was seen frozen, or gone, within the time given.
    """

    cause: str
    refused: Refused | None
    heard_s: float
    tree: Tree
    acted_s: float = field(default_factory=lease_clock_s)
    frozen_s: float | None = None
    gone_s: float | None = None
    thawed_s: float | None = None
    complete: bool = False
    processes: list[Process] = field(default_factory=list)

    def frozen(self, *, complete: bool) -> None:
        """Note that all of it is frozen, or that not all was within the time given."""
        self.frozen_s, self.complete = lease_clock_s(), complete
        self._note_processes()

    def gone(self) -> None:
        """Note that nothing is left; the first time counts."""
        if self.gone_s is None:
            self.gone_s, self.complete = lease_clock_s(), True
            self._note_processes()

    def _note_processes(self) -> None:
        self.processes = list(self.tree.seen.values())[:MAX_PROCESSES]

    def plain(self, wall_offset_s: float) -> dict[str, Any]:
        """Return it as JSON holds it; `wall_offset_s` turns the lease clock's times into seconds since 1970."""
        revocation = self.refused.revocation if isinstance(self.refused, Revoked) else None
        processes = self.processes
        heard_at_s = self.heard_s + wall_offset_s
        return {
            "cause": self.cause,
            "refusal": None if self.refused is None else str(self.refused),
            "revocation": None
            if revocation is None
            else {**asdict(revocation), "target": str(revocation.target)},
            "heard_at_s": round(heard_at_s, 6),
            "written_to_heard_ms": None if revocation is None else _ms(revocation.at_s, heard_at_s),
            "first_signal_ms": _ms(self.heard_s, self.acted_s),
            "all_frozen_ms": None if self.frozen_s is None else _ms(self.heard_s, self.frozen_s),
            "all_gone_ms": None if self.gone_s is None else _ms(self.heard_s, self.gone_s),
            "complete": self.complete,
            "resumed_after_ms": None if self.thawed_s is None else _ms(self.heard_s, self.thawed_s),
            "generations": max((process.generation for process in processes), default=0),
            "processes": [
                {
                    "pid": process.pid,
                    "parent": process.parent,
                    "generation": process.generation,
                    "name": process.name,
                }
                for process in processes
            ],
        }


class StopReport:
    """Collects what happens to one supervised program.

    Parameters
    ----------
    argv : sequence of str
        Its command line. Only the program and a digest of all of it are kept: arguments may hold secrets. (A digest
        proves what was run to whoever knows it, and lets a short secret be guessed.)
    names : dict
        What it acts as.
    point : str
        The enforcement point's name.
    """

    def __init__(self, argv: Sequence[str], names: dict[str, Any], point: str) -> None:
        self.failed_errno: int | None = None
        self.keeper_lost = False
        self.stops: list[Stop] = []
        self._argv = tuple(argv)
        self._names = names
        self._point = point
        self._method = "none"
        self._wall_offset_s = wall_s() - lease_clock_s()
        self._started_s: float | None = None
        self._gone_s: float | None = None
        self._status: int | None = None

    @property
    def latest(self) -> Stop | None:
        """The last time it was stopped, if it has not resumed since."""
        return self.stops[-1] if self.stops and self.stops[-1].thawed_s is None else None

    def started(self, tree: Tree) -> None:
        """Note that it runs, and how it would be stopped."""
        self._started_s, self._method = lease_clock_s(), tree.method

    def begin(self, cause: str, refused: Refused | None, heard_s: float, tree: Tree) -> Stop:
        """Note that it is being stopped, just before the first signal.

        A change that was announced, and stopped it, and is now written, goes on with the same stop.
        """
        latest = self.latest
        if (
            latest is not None
            and _change_id(refused) is not None
            and _change_id(latest.refused) == _change_id(refused)
        ):
            latest.cause, latest.refused = cause, refused
            return latest
        tree.seen.clear()
        self.stops.append(Stop(cause, refused, heard_s, tree))
        return self.stops[-1]

    def resumed(self) -> None:
        """Note that it goes on."""
        if self.latest is not None:
            self.latest.thawed_s = lease_clock_s()

    def finished(self, status: int) -> None:
        """Note that nothing is left of it."""
        self._gone_s, self._status = lease_clock_s(), status
        if self.latest is not None:
            self.latest.gone()

    def plain(self) -> dict[str, Any]:
        """Return all of it as JSON holds it; durations in milliseconds from when the point heard."""
        return {
            "v": 1,
            "command": self._argv[0],
            "argv_sha256": hashlib.sha256(
                "\0".join(self._argv).encode("utf-8", "surrogateescape")
            ).hexdigest(),
            "names": self._names,
            "point": self._point,
            "method": self._method,
            "reaches": REACHES[self._method],
            "started_at_s": self._wall(self._started_s),
            "gone_at_s": self._wall(self._gone_s),
            "exit_status": self._status,
            "failed_errno": self.failed_errno,
            "keeper_lost": self.keeper_lost,
            "stops": [stop.plain(self._wall_offset_s) for stop in self.stops],
        }

    def text(self) -> str:
        """Return all of it as it is saved."""
        return json.dumps(self.plain(), indent=2) + "\n"

    def line(self) -> str:
        """Return the last thing that happened, for a terminal."""
        return _line(self.stops[-1], self._gone_s is not None) if self.stops else "nothing was stopped"

    def _wall(self, at_s: float | None) -> float | None:
        return None if at_s is None else round(at_s + self._wall_offset_s, 6)


def save(text: str, path: Path) -> None:
    """Write `text` to `path` for the owner's eyes only; on disk when this returns, whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _line(stop: Stop, is_gone: bool) -> str:
    why = stop.cause if stop.refused is None else str(stop.refused)
    if stop.thawed_s is not None:
        return f"goes on after {_ms(stop.heard_s, stop.thawed_s) / 1e3:.1f} s ({why})"
    done_s = stop.gone_s if is_gone else stop.frozen_s
    took_ms = 0.0 if done_s is None else _ms(stop.heard_s, done_s)
    count = len(stop.processes)
    what = "ended" if is_gone else "frozen" if stop.complete else "frozen, but not all was seen to stop"
    return f"{what}, {count} process{'' if count == 1 else 'es'} in {took_ms:.1f} ms: {why}"


def _change_id(refused: Refused | None) -> str | None:
    return refused.revocation.change_id if isinstance(refused, Revoked) else None


def _ms(from_s: float, to_s: float) -> float:
    return round((to_s - from_s) * 1e3, 3)
