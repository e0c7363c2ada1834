"""The process between the supervisor and the program: it is the program's parent, and outlives the supervisor to kill.

A supervisor can be killed (``kill -9``, out of memory) or stopped (``kill -STOP``), and then nobody would hear a kill.
So the program is the child of a *keeper*, which does nothing but wait:

* If the supervisor ends, its end of the channel closes, and the keeper kills the whole tree.
* If the supervisor says nothing for one lease, the keeper freezes the tree and says so on the channel.
* If the keeper itself is killed, the program's first process dies with it (``PR_SET_PDEATHSIG``), everything else comes
  to the supervisor (it is a subreaper too), which kills it.

What remains: a program with the rights to kill both at the same instant leaves all but its first process running. Run
it as another user. Without subreapers (macOS) the keeper reaches only the program's process group.

The channel carries one JSON object a line. To the keeper: ``run``, ``beat``. From it: ``started`` (process id),
``failed`` (the errno of exec), ``stopped`` (by which signal, when the terminal stopped it), ``ended`` (wait status),
``frozen`` (what it stopped), ``empty`` (nothing is left).
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from killswitch.clocks import lease_clock_s
from killswitch.supervise.cgroups import Cgroup
from killswitch.supervise.processes import (
    GroupTree,
    Tree,
    WalkedTree,
    adopt_orphans,
    can_walk,
    die_with_parent,
)
from killswitch.supervise.terminals import Terminal

FREEZE_WITHIN_S: Final = 2.0
KILL_WITHIN_S: Final = 10.0
_MAX_READ: Final = 65_536
# What a terminal or an operator sends to a whole group must not end the keeper: it ends with what it keeps.
_IGNORED: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGPIPE")
)
_PYTHONS_OWN: Final = (signal.SIGPIPE, signal.SIGXFSZ)  # ignored by Python; programs expect them not to be


class Channel:
    """JSON lines over one end of a socket pair."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""
        self._is_open = True

    def is_open(self) -> bool:
        """Return whether the other end may still be there: reading has not yet come to an end."""
        return self._is_open

    def fileno(self) -> int:
        """Return what to wait on for reading."""
        return self._connection.fileno()

    def send(self, **word: Any) -> None:
        """Send one word; if nobody is there any more, reading says so."""
        with suppress(OSError):
            self._connection.sendall(json.dumps(word).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]]:
        """Return what has come, waiting if nothing has."""
        try:
            data = self._connection.recv(_MAX_READ)
        except OSError:
            data = b""
        if not data:
            self._is_open = False
            return []
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close it: to a keeper that means that its supervisor is gone."""
        self._connection.close()


class Keeper:
    """The supervisor's side: a keeper process that was forked by :meth:`start`."""

    def __init__(self, pid: int, channel: Channel) -> None:
        self.pid = pid
        self.channel = channel

    @classmethod
    def start(cls, silence_s: float) -> Keeper:
        """Fork the keeper. Call it before this process has threads or connections: it keeps a copy of everything.

        Parameters
        ----------
        silence_s : float
            Seconds without a word from the supervisor after which the keeper freezes the tree.
        """
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                ours.close()
                _Keeping(Channel(theirs), silence_s).run()
            except BaseException:
                traceback.print_exc()  # the process's root; the supervisor sees its end and kills
            finally:
                os._exit(1)
        theirs.close()
        adopt_orphans()
        return cls(pid, Channel(ours))

    def run(self, argv: list[str], cgroup: Cgroup | None, *, terminal: bool) -> None:
        """Have the program started; ``started`` or ``failed`` will come."""
        self.channel.send(run=argv, cgroup=None if cgroup is None else str(cgroup.path), terminal=terminal)

    def beat(self) -> None:
        """Say that the supervisor lives."""
        self.channel.send(beat=True)

    def end(self) -> None:
        """Close the channel and wait for the keeper's end; it kills first whatever is left."""
        self.channel.close()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class _Keeping:
    """The keeper's own side. Never returns to the caller's code."""

    def __init__(self, channel: Channel, silence_s: float) -> None:
        self._channel = channel
        self._silence_s = silence_s
        self._heard_s = lease_clock_s()
        self._main: int | None = None
        self._cgroup: Cgroup | None = None
        self._tree: Tree | None = None
        self._is_frozen = False
        self._inherited = {signum: signal.getsignal(signum) for signum in _IGNORED}

    def run(self) -> NoReturn:
        os.setpgid(0, 0)  # a signal to the supervisor's whole group must not take both
        adopt_orphans()
        for signum in _IGNORED:
            signal.signal(signum, signal.SIG_IGN)
        woken, waker = os.pipe()
        os.set_blocking(waker, False)
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready, _, _ = select.select([self._channel.fileno(), woken], [], [], self._wait_s())
            if woken in ready:
                os.read(woken, _MAX_READ)
            if self._channel.fileno() in ready:
                self._take()
            self._reap()
            self._notice_silence()

    def _wait_s(self) -> float | None:
        if self._tree is None or self._is_frozen:
            return None
        return max(0.0, self._heard_s + self._silence_s - lease_clock_s())

    def _take(self) -> None:
        words = self._channel.receive()
        self._heard_s, self._is_frozen = lease_clock_s(), False
        for word in words:
            if "run" in word:
                self._start(word)
        if not self._channel.is_open():
            self._end_all()

    def _notice_silence(self) -> None:
        if self._tree is None or self._is_frozen or lease_clock_s() < self._heard_s + self._silence_s:
            return
        self._is_frozen = True
        self._tree.freeze(lease_clock_s() + FREEZE_WITHIN_S)
        stopped = self._tree.stopped if isinstance(self._tree, WalkedTree) else []
        self._channel.send(frozen=stopped)

    def _end_all(self) -> NoReturn:
        if self._tree is not None:
            was_left = bool(self._tree.members())
            # A group's end cannot be seen before we have reaped it.
            self._tree.kill(lease_clock_s() + (KILL_WITHIN_S if can_walk() else 0.0))
            if was_left:
                print("killcord guard: the supervisor is gone, so the program was killed", file=sys.stderr)  # noqa: T201
        if self._cgroup is not None:
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            self._cgroup.remove()
        os._exit(0)

    # -- the program -----------------------------------------------------------------------------------------

    def _start(self, word: dict[str, Any]) -> None:
        self._cgroup = None if word["cgroup"] is None else Cgroup(Path(word["cgroup"]))
        told, tell = os.pipe()
        keeper = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(told)
                self._become(word["run"], keeper, terminal=word["terminal"])
            except OSError as error:
                os.write(tell, str(error.errno or 0).encode())
            finally:
                os._exit(127)
        os.close(tell)
        self._main = pid
        self._tree = WalkedTree(keeper, (), self._cgroup) if can_walk() else GroupTree(pid)
        with open(told, "rb") as failure:
            errno = failure.read()  # ends with exec, which closes the other end
        if errno:
            self._channel.send(failed=int(errno))
        else:
            self._channel.send(started=pid)

    def _become(self, argv: list[str], keeper: int, *, terminal: bool) -> None:
        """Turn this fresh child into the program."""
        signal.set_wakeup_fd(-1)
        os.setpgid(0, 0)
        if terminal:
            Terminal.lend_controlling(os.getpgrp())
        die_with_parent()
        if os.getppid() != keeper:  # it died before we asked to die with it
            os._exit(1)
        if self._cgroup is not None and not self._cgroup.join():
            raise OSError(1, "the control group cannot be joined")
        for signum in (*_IGNORED, *_PYTHONS_OWN, signal.SIGCHLD):
            keep = signum not in _PYTHONS_OWN and self._inherited.get(signum) == signal.SIG_IGN
            signal.signal(signum, signal.SIG_IGN if keep else signal.SIG_DFL)
        os.execvp(argv[0], argv)  # noqa: S606 - running the given program is what this is for

    def _reap(self) -> None:
        while self._main is not None:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                self._main = None
                self._channel.send(empty=True)
                return
            if pid == 0:
                return
            if pid == self._main and os.WIFSTOPPED(status):
                self._channel.send(stopped=os.WSTOPSIG(status))
            elif pid == self._main:
                self._channel.send(ended=status)
