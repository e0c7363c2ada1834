"""Runs any program under supervision: takes in what happens, asks the table, does what it says.

:mod:`killswitch.supervise.supervision` has the theory of operation and the table.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from killswitch.clocks import lease_clock_s
from killswitch.errors import LeaseExpired, NotReady, Refused, Revoked, StepUpRequired
from killswitch.running.watch import Watch
from killswitch.supervise.keeper import FREEZE_WITHIN_S, KILL_WITHIN_S, Keeper
from killswitch.supervise.processes import GroupTree, Process, Tree, WalkedTree, can_walk, look_up, send
from killswitch.supervise.stop_report import StopReport
from killswitch.supervise.supervision import TRANSITIONS, Action, Ending, Event, State, Supervision
from killswitch.supervise.terminals import Terminal

if TYPE_CHECKING:
    from killswitch.guard import Guard
    from killswitch.supervise.cgroups import Cgroup

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_PASSED: Final = (*_ENDING, signal.SIGUSR1, signal.SIGUSR2)
_JOB_CONTROL: Final = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_FROZEN_TICK_S: Final = 0.05  # no push says that a suspension ran out or that the lease was renewed
_REFREEZE_S: Final = 0.25  # somebody outside may continue what we stopped
_KILL_AGAIN_S: Final = 1.0
_READ_BYTES: Final = 4096


class _Bell(Watch):
    """Wakes the supervisor after each change, from the guard's thread, and notes when a refusal was first heard.

    ``revoked`` is a revocation that was in force, even if it was restored before the supervisor came to look: the
    point has confirmed it.
    """

    def __init__(self, guard: Guard, names: dict[str, Any], ring: Callable[[], None]) -> None:
        super().__init__(guard, names)
        self._point = guard
        self._who = names
        self._ring = ring
        self.heard_s: float | None = None
        self.revoked: Revoked | None = None

    def look(self) -> None:
        """Note and ring; the guard calls this after each change."""
        if self.heard_s is None:
            self.heard_s = lease_clock_s()
        event, refused = _verdict(self._point, self._who)
        if event == "revoked" and isinstance(refused, Revoked):
            self.revoked = refused
        self._ring()


def _verdict(guard: Guard, names: dict[str, Any]) -> tuple[Event, Refused | None]:
    """Return what the enforcement point says now, as an event."""
    try:
        guard.check(**names)
    except StepUpRequired as refused:
        return "held", refused
    except Revoked as refused:
        # Freezing can be undone, killing cannot: an announcement may come to nothing, so only the record kills.
        final = refused.revocation.level == "revoke" and not guard.is_announced(refused.revocation)
        return ("revoked" if final else "held"), refused
    except (LeaseExpired, NotReady) as refused:
        return "given_up", refused
    except Refused as refused:
        return "lost", refused
    return "allowed", None


class Supervisor:
    """Runs one program; the keeper must have been started before the guard was.

    Parameters
    ----------
    report : StopReport
        Where everything that is done is written down.
    on_stop : callable
        Called when the program was frozen, thawed or is gone; to save and show the report. It must not block: a
        kill may be the next thing to do.
    """

    def __init__(
        self,
        guard: Guard,
        keeper: Keeper,
        supervision: Supervision,
        report: StopReport,
        *,
        cgroup: Cgroup | None = None,
        terminal: Terminal | None = None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.state: State = "starting"
        self._guard = guard
        self._keeper = keeper
        self._how = supervision
        self._report = report
        self._cgroup = cgroup
        self._terminal = terminal
        self._on_stop = on_stop
        spare = {keeper.pid}
        self._tree: Tree = WalkedTree(os.getpid(), spare, cgroup) if can_walk() else GroupTree()
        self._main: int | None = None
        self._first: Process | None = None
        self._has_yielded = False
        self._status = 0
        self._refused: Refused | None = None
        self._passing: int = signal.SIGTERM
        self._grace_until_s = float("inf")
        self._refreeze_s = 0.0
        self._beat_s = 0.0
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        self._bell = _Bell(guard, supervision.names, self._wake)

    # -- the loop --------------------------------------------------------------------------------------------

    def run(self) -> Ending:
        """Run the program until nothing is left of it. In the main thread: signals come here."""
        handled = (*_PASSED, signal.SIGCHLD, signal.SIGCONT, signal.SIGTTOU)
        before = {signum: signal.getsignal(signum) for signum in handled}
        waker = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for signum, handler in before.items():
            if handler is not signal.SIG_IGN or signum == signal.SIGCHLD:  # nohup stays nohup
                signal.signal(signum, lambda *_: None)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # `stty tostop` must not stop us for saying something
        self._guard.add_watch(self._bell)
        try:
            self._judge()
            while self.state != "gone":
                self._turn()
        finally:
            self._guard.remove_watch(self._bell)
            for signum, handler in before.items():
                signal.signal(signum, handler)
            signal.set_wakeup_fd(waker)
            self._keeper.end()
            # The pipe stays open: the guard's thread may be about to ring, and its number must not mean another file.
        return self._ending()

    def _turn(self) -> None:
        channel = self._keeper.channel
        watched = [self._woken, channel.fileno()] if channel.is_open() else [self._woken]
        ready, _, _ = select.select(watched, [], [], self._wait_s())
        self._beat()
        self._judge()
        if self._woken in ready:
            for signum in self._signals():
                self._judge()  # asked to end after a revocation was confirmed, it ends by that
                self._take_signal(signum)
        if len(watched) > 1 and channel.fileno() in ready:
            for word in channel.receive():
                self._take_word(word)
            if not channel.is_open():
                self._lose_keeper()
        self._judge()
        self._look_after()

    def _wait_s(self) -> float:
        now_s = lease_clock_s()
        if self.state == "running":
            return max(0.0, min(self._guard.lease_until_s(), self._beat_s) - now_s)
        return max(0.0, min(_FROZEN_TICK_S, self._grace_until_s - now_s))

    def _beat(self) -> None:
        now_s = lease_clock_s()
        if now_s >= self._beat_s:
            self._keeper.beat()
            self._beat_s = now_s + self._how.lease_s / 5

    def _judge(self) -> None:
        """Ask the enforcement point, and go where its answer leads."""
        revoked = self._bell.revoked
        event, refused = ("revoked", revoked) if revoked else _verdict(self._guard, self._how.names)
        if event == "given_up" and not self._how.kill_on_lease_loss:
            event = "lost"
        if self.state == "starting":
            self._refused = refused
        self._step(event, refused)
        self._bell.heard_s = None

    def _look_after(self) -> None:
        """Do what time asks for: the end of the grace, stopping again what somebody continued, reaping."""
        now_s = lease_clock_s()
        if now_s >= self._grace_until_s:
            self._step("grace_over")
        if self.state == "frozen" and now_s >= self._refreeze_s:
            self._tree.freeze(now_s + FREEZE_WITHIN_S)
            self._refreeze_s = lease_clock_s() + _REFREEZE_S
        if not self._keeper.channel.is_open() and self.state != "gone" and _reap_all():
            self._step("tree_gone")

    # -- what comes in ---------------------------------------------------------------------------------------

    def _wake(self) -> None:
        with suppress(OSError):  # full: it will wake anyway. Closed: it is over
            os.write(self._waker, b"\0")

    def _signals(self) -> list[int]:
        try:
            return [signum for signum in os.read(self._woken, _READ_BYTES) if signum]
        except BlockingIOError:
            return []

    def _take_signal(self, signum: int) -> None:
        if signum in _ENDING:
            self._passing = signum
            self._step("signal")
        elif signum in _PASSED and self.state == "running":
            self._passing = signum
            self._pass_on()

    def _take_word(self, word: dict[str, Any]) -> None:
        if "failed" in word:
            self._status = 127 if word["failed"] == 2 else 126  # as a shell says it: not found, cannot be run
            self._report.failed_errno = word["failed"]
        elif "stopped" in word and word["stopped"] in _JOB_CONTROL:
            self._step("terminal_stop")
        elif "frozen" in word:
            if isinstance(self._tree, WalkedTree):
                self._tree.adopt((pid, start_ticks) for pid, start_ticks in word["frozen"])
            self._step("lost")  # it was we who were silent; the next verdict says how it goes on
        elif "ended" in word:
            self._ended(word["ended"])
            self._step("child_exited")
        elif "empty" in word and not (isinstance(self._tree, GroupTree) and self._tree.members()):
            self._step("tree_gone")

    def _ended(self, wait_status: int) -> None:
        if self._report.failed_errno is None:
            code = os.waitstatus_to_exitcode(wait_status)
            self._status = 128 - code if code < 0 else code

    # -- what is done ----------------------------------------------------------------------------------------

    def _step(self, event: Event, refused: Refused | None = None) -> None:
        self.state, action = TRANSITIONS[self.state, event]
        if action != "none":
            _ACTIONS[action](self, event, refused)

    def _start(self, event: Event, refused: Refused | None) -> None:
        channel = self._keeper.channel
        self._keeper.run(list(self._how.argv), self._cgroup, terminal=self._terminal is not None)
        words: list[dict[str, Any]] = []
        while not words and channel.is_open():
            words = channel.receive()
        self._main = words[0].get("started") if words else None
        self._first = None if self._main is None else look_up(self._main)
        if isinstance(self._tree, GroupTree):
            self._tree.group = self._main or 0
        self._report.started(self._tree)
        for word in words:
            self._take_word(word)
        if not channel.is_open():
            self._lose_keeper()

    def _lose_keeper(self) -> None:
        if self.state != "gone":
            self._report.keeper_lost = True
            self._step("keeper_lost")

    def _freeze(self, event: Event, refused: Refused | None) -> None:
        stop = self._report.begin(event, refused, self._heard_s(), self._tree)
        stop.frozen(complete=self._tree.freeze(lease_clock_s() + FREEZE_WITHIN_S))
        self._refreeze_s = lease_clock_s() + _REFREEZE_S
        self._on_stop()

    def _yield_terminal(self, event: Event, refused: Refused | None) -> None:
        """Stop ourselves as the program was (Ctrl-Z), with all of it frozen; go on when a shell continues us."""
        self._tree.freeze(lease_clock_s() + FREEZE_WITHIN_S)
        self._has_yielded = True
        if self._terminal is not None:
            self._terminal.take_back(restore=False)
        os.killpg(0, signal.SIGTSTP)  # all of our group, as Ctrl-Z would without us; the shell waits for it
        self._terminal = Terminal.held() or self._terminal  # `fg` gives it to us, `bg` does not
        if self._terminal is not None and self._main is not None:
            self._terminal.lend(self._main)

    def _thaw(self, event: Event, refused: Refused | None) -> None:
        self._tree.thaw()
        if self._has_yielded and self._main is not None:
            self._has_yielded = False
            with suppress(OSError):
                os.killpg(self._main, signal.SIGCONT)  # what the terminal stopped
        if self._report.latest is not None:
            self._report.resumed()
            self._on_stop()

    def _pass_on(self, event: Event = "signal", refused: Refused | None = None) -> None:
        if self._first is not None:
            send(self._first, self._passing)
        elif self._main is not None and not can_walk():
            with suppress(OSError):
                os.kill(self._main, self._passing)

    def _terminate(self, event: Event, refused: Refused | None) -> None:
        self._refused = refused
        self._report.begin(event, refused, self._heard_s(), self._tree)
        if self._how.grace_s <= 0:
            self._step("grace_over")
            return
        self._tree.send(signal.SIGTERM)
        self._tree.thaw()  # after the signal: it is the first thing that a frozen program finds
        self._grace_until_s = lease_clock_s() + self._how.grace_s

    def _kill(self, event: Event, refused: Refused | None) -> None:
        stop = self._report.latest or self._report.begin(event, refused, self._heard_s(), self._tree)
        if self._tree.kill(lease_clock_s() + KILL_WITHIN_S):
            stop.gone()
        self._grace_until_s = lease_clock_s() + _KILL_AGAIN_S

    def _heard_s(self) -> float:
        return lease_clock_s() if self._bell.heard_s is None else self._bell.heard_s

    def _ending(self) -> Ending:
        if self._terminal is not None:
            self._terminal.take_back(restore=self._report.latest is not None)
        status = self._status
        if self._refused is not None:
            status = 3 if isinstance(self._refused, LeaseExpired | NotReady) else 1
        elif self._report.keeper_lost:
            status = 1
        self._report.finished(status)
        self._on_stop()
        return Ending(status, self._refused, ran=self._main is not None)


_ACTIONS: Final[dict[Action, Callable[[Supervisor, Event, Refused | None], None]]] = {
    "start": Supervisor._start,
    "freeze": Supervisor._freeze,
    "yield_terminal": Supervisor._yield_terminal,
    "thaw": Supervisor._thaw,
    "pass_on": Supervisor._pass_on,
    "terminate": Supervisor._terminate,
    "kill": Supervisor._kill,
}


def _reap_all() -> bool:
    """Reap what came to us when the keeper died; return whether nothing is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False
