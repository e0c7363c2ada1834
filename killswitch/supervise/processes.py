"""Every process that a supervised program has become: found, frozen, thawed and killed as one tree.

Theory of operation
-------------------
On Linux the tree is everything below the supervisor in ``/proc``, whatever group or session it moved to; the supervisor
and its keeper are *subreapers* (``PR_SET_CHILD_SUBREAPER``), so that a process whose parent died stays below them.
One look at ``/proc`` is not a moment: a process may fork behind the reader's back. So freezing goes in
rounds, each stopping whatever still runs, until two rounds in a row find nothing that runs: a process that was stopped
before a round began cannot have forked in it. A cgroup (``cgroups``), where one may be made, does the
same at one stroke, and the rounds then find only what left it.

A process id may come to name another process. Each is known by its id *and* its start time, and signals go through a
pidfd that was opened before the start time was read again: what is signalled is what was seen.

Elsewhere (macOS) there is only the program's process group: what left it is not reached, and the method says "group".
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from killswitch.clocks import lease_clock_s
from killswitch.supervise.cgroups import Cgroup

_STAT_BYTES: Final = 2_048  # one line of some fifty numbers and a short name
_PAUSE_S: Final = 0.0005
_CLEAN_ROUNDS: Final = 2
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>
_PR_SET_CHILD_SUBREAPER: Final = 36

DEAD: Final = "ZX"
STOPPED: Final = "Tt"
WAITING: Final = "D"


@dataclass(frozen=True, slots=True)
class Process:
    """One process as it was seen: its id, start time (clock ticks since boot), parent, state and short name.

    ``generation`` is 1 for what the root started, 2 for what that started, and so on.
    """

    pid: int
    start_ticks: int
    parent: int
    state: str
    name: str
    generation: int = 0


class Tree(Protocol):
    """What can be done to a running program as a whole. Deadlines are on the lease clock.

    ``seen`` collects the processes that were met, by process id and start time; whoever reads it clears it.
    """

    method: str
    seen: dict[tuple[int, int], Process]

    def members(self) -> list[Process]:
        """Return its living processes, as far as they can be seen."""

    def freeze(self, deadline_s: float) -> bool:
        """Stop all of it; return whether all was seen stopped in time."""

    def thaw(self) -> None:
        """Let what :meth:`freeze` stopped go on, and nothing else."""

    def send(self, signum: int) -> None:
        """Send a signal to each process."""

    def kill(self, deadline_s: float) -> bool:
        """Kill all of it; return whether all was seen gone in time."""


def can_walk() -> bool:
    """Return whether this platform shows its processes in ``/proc`` as Linux does."""
    return Path("/proc/self/stat").exists()


class WalkedTree:
    """All processes below `root`, by walking ``/proc``; with a cgroup for most of them, if there is one.

    Parameters
    ----------
    root : int
        The process id above the tree; not part of it.
    spare : iterable of int
        Process ids that are not part of it either, though what is below them is.
    cgroup : Cgroup, optional
        What the program was started in.
    """

    def __init__(self, root: int, spare: Iterable[int] = (), cgroup: Cgroup | None = None) -> None:
        self.method = "subreaper" if cgroup is None else "cgroup"
        self.seen: dict[tuple[int, int], Process] = {}
        self._root = root
        self._spare = frozenset(spare)
        self._cgroup = cgroup
        self._stopped: set[tuple[int, int]] = set()

    def members(self) -> list[Process]:
        """Return the living processes below the root; a walk of ``/proc``, about 10 µs for each process there."""
        living = [process for process in _below(self._root, self._spare) if process.state not in DEAD]
        for (
            process
        ) in living:  # as it was first met: whose parent was killed before it comes up the generations
            self.seen.setdefault((process.pid, process.start_ticks), process)
        return living

    def freeze(self, deadline_s: float) -> bool:
        """Stop all of it, in rounds; see the module."""
        frozen = True if self._cgroup is None else self._cgroup.freeze(deadline_s)
        return self._stop_rounds(deadline_s) and frozen

    def _stop_rounds(self, deadline_s: float) -> bool:
        clean = 0
        while clean < _CLEAN_ROUNDS:
            held = frozenset() if self._cgroup is None else self._cgroup.pids()
            running = [
                process for process in self.members() if process.pid not in held and self._runs(process)
            ]
            for process in running:
                if send(process, signal.SIGSTOP):
                    self._stopped.add((process.pid, process.start_ticks))
            clean = 0 if running else clean + 1
            if clean < _CLEAN_ROUNDS and lease_clock_s() >= deadline_s:
                return False
            if running:
                time.sleep(_PAUSE_S)
        return True

    def _runs(self, process: Process) -> bool:
        if process.state in STOPPED:
            return False
        # In an uninterruptible wait (a vfork's parent, a hung disk) it stops before its next instruction.
        return process.state != WAITING or (process.pid, process.start_ticks) not in self._stopped

    def adopt(self, stopped: Iterable[tuple[int, int]]) -> None:
        """Count these (process id, start time) as stopped by us: another hand of ours did it."""
        self._stopped.update(stopped)

    @property
    def stopped(self) -> list[tuple[int, int]]:
        """What was stopped by signal and will be continued by :meth:`thaw`: (process id, start time)."""
        return sorted(self._stopped)

    def thaw(self) -> None:
        """Let what was stopped here go on."""
        for pid, start_ticks in self._stopped:
            process = look_up(pid)
            if process is not None and process.start_ticks == start_ticks:
                send(process, signal.SIGCONT)
        self._stopped.clear()
        if self._cgroup is not None:
            self._cgroup.thaw()

    def send(self, signum: int) -> None:
        """Send a signal to each process, the youngest generation last."""
        for process in self.members():
            send(process, signum)

    def kill(self, deadline_s: float) -> bool:
        """Kill all of it, in rounds; what a process forks before it dies is met in the next."""
        if self._cgroup is not None:
            self._cgroup.freeze(lease_clock_s())  # takes hold while we look, once, at what is killed
            self.members()
            self._cgroup.kill()
        clean = 0
        while clean < _CLEAN_ROUNDS:
            living = self.members()
            for process in living:
                send(process, signal.SIGKILL)
            clean = 0 if living else clean + 1
            if living and lease_clock_s() >= deadline_s:
                return False
            if living:
                time.sleep(_PAUSE_S)
        return True


class GroupTree:
    """The program's process group, where nothing better is to be had. What left the group is not reached."""

    method = "group"

    def __init__(self, group: int = 0) -> None:
        self.group = group  # 0 before there is one
        self.seen: dict[tuple[int, int], Process] = {}

    def members(self) -> list[Process]:
        """Return one entry that stands for the group while it has a living process."""
        if not self._send(0):
            return []
        self.seen[self.group, 0] = Process(self.group, 0, 0, "", "group", 1)
        return [self.seen[self.group, 0]]

    def freeze(self, deadline_s: float) -> bool:
        """Stop the group; a group cannot fork out of a signal that all of it gets at once."""
        return self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the group go on."""
        self._send(signal.SIGCONT)

    def send(self, signum: int) -> None:
        """Send a signal to the group."""
        self._send(signum)

    def kill(self, deadline_s: float) -> bool:
        """Kill the group and wait until it is gone; its keeper reaps it."""
        while self._send(signal.SIGKILL):
            if lease_clock_s() >= deadline_s:
                return False
            time.sleep(_PAUSE_S)
        return True

    def _send(self, signum: int) -> bool:
        if not self.group:
            return False
        try:
            os.killpg(self.group, signum)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def send(process: Process, signum: int) -> bool:
    """Send a signal to that very process, not to another that has its id now; return whether it was there."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        now = look_up(process.pid)
        if now is None or now.start_ticks != process.start_ticks:
            return False
        signal.pidfd_send_signal(descriptor, signum)
    except OSError:  # it ended, or changed to a user whom we may not signal
        return False
    finally:
        os.close(descriptor)
    return True


def adopt_orphans() -> bool:
    """Become the parent of every descendant whose own parent dies; return whether the system can do that."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Be killed when the parent ends, where the system can do that. For a child between fork and exec."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> bool:
    try:
        return int(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)) == 0
    except (OSError, AttributeError):  # not Linux
        return False


def look_up(pid: int) -> Process | None:
    """Return what ``/proc/PID/stat`` says (proc_pid_stat(5)), or None if there is no such process."""
    line = _stat(pid)
    if line is None:
        return None
    # The name is the program's choice and may hold anything, also parentheses: it ends at the last one.
    opened, closed = line.index(b"("), line.rindex(b")")
    rest = line[closed + 2 :].split()
    name = line[opened + 1 : closed].decode(errors="replace")
    state, threads = rest[0].decode(), int(rest[17])
    if state in DEAD and threads > 1:
        state = WAITING  # only its first thread ended; the others live, and how they do is not told here
    return Process(pid, int(rest[19]), int(rest[1]), state, name)


def _stat(pid: int) -> bytes | None:
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, _STAT_BYTES) or None
    except OSError:  # it ended between the two
        return None
    finally:
        os.close(descriptor)


def _children() -> dict[int, list[int]]:
    """Return the children of every process there is, by process id."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        line = _stat(int(name)) if name.isdigit() else None
        if line is not None:
            at = line.rindex(b")")
            found.setdefault(int(line[at + 4 : line.index(b" ", at + 4)]), []).append(int(name))
    return found


def _below(root: int, spare: frozenset[int]) -> list[Process]:
    """Return what is below `root`, generation by generation; `spare` is left out, and counts as no generation."""
    children = _children()
    found: list[Process] = []
    waiting, met = deque([(root, 0)]), {root}
    while waiting:
        parent, generation = waiting.popleft()
        for pid in children.get(parent, ()):
            if pid in met:  # ids that were reused while we read; never walk in a circle
                continue
            met.add(pid)
            process = None if pid in spare else look_up(pid)
            if pid in spare:
                waiting.append((pid, generation))
            elif process is not None:
                waiting.append((pid, generation + 1))
                found.append(replace(process, generation=generation + 1))
    return found
