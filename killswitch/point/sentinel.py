"""The sentinel: a file on the point's own host that stops agents without any network.

``touch /run/killcord/stop`` stops everything this host's points guard; a file with targets, one a line, stops those::

    agent:billing-bot
    # a comment
    tool:send_money

Theory of operation
-------------------
Only two things let an action pass: there is no file in a directory that is there, or the file was read and names
others. Whatever else is found, or takes longer than a second, stops everything: an unreadable source counts as a kill.
That includes a file that is just being written; to change a list without a moment of full stop, rename a new one into
its place.

A thread looks every 50 ms. If it has not looked for a second (the interpreter was held, the process forked), whoever
asks looks; if it is *in* a look that does not end (a network file system that hangs), nobody waits for it: that is
unreadable.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, Self

from killswitch.clocks import lease_clock_s
from killswitch.errors import InvalidRequest, InvalidTarget, SentinelRefused
from killswitch.targets import Kind, Target

log = logging.getLogger("killswitch.point.sentinel")

INTERVAL_S: Final = 0.05
STALE_S: Final = 1.0
MAX_BYTES: Final = 65_536  # security limit: it is read twenty times a second


@dataclass(frozen=True, slots=True)
class SentinelState:
    """What the file said at ``looked_at_s`` (on :func:`~killswitch.clocks.lease_clock_s`).

    ``barred``: everything is refused; ``problem`` says why if nobody asked for that. ``targets`` are refused.
    """

    path: str
    barred: bool
    targets: frozenset[Target]
    problem: str
    looked_at_s: float

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is refused."""
        return not self.barred and not self.targets

    def same_as(self, other: SentinelState) -> bool:
        """Return whether both say the same, whenever they were read."""
        return replace(self, looked_at_s=0.0) == replace(other, looked_at_s=0.0)


@lru_cache(maxsize=4)  # the same content is read twenty times a second
def parse_sentinel(data: bytes) -> tuple[bool, frozenset[Target], str]:
    """Return whether the content bars everything, the targets that it names, and what is wrong with it ("": nothing).

    Content that is wrong bars everything.
    """
    if len(data) > MAX_BYTES:
        return True, frozenset(), f"it has more than {MAX_BYTES} bytes"
    targets = set()
    for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if "\ufffd" in text:
            return True, frozenset(), f"line {number} is not UTF-8"
        try:
            targets.add(Target.parse(text))
        except InvalidTarget as error:
            return True, frozenset(), f"line {number}: {error}"
    return not targets or Target("fleet") in targets, frozenset(targets), ""


def look(path: Path, now_s: float) -> SentinelState:
    """Return what the file at `path` says; blocks only where the file system does."""
    barred, targets, problem = False, frozenset[Target](), ""
    try:
        content = _read(path)
        if content is None:
            problem = _absent_problem(path)
        else:
            barred, targets, problem = parse_sentinel(content)
    except OSError as error:
        problem = error.strerror or str(error)
    return SentinelState(str(path), barred or bool(problem), targets, problem, now_s)


def refusal(state: SentinelState, names: Mapping[Kind, object], now_s: float) -> SentinelRefused | None:
    """Return why an action that touches `names` is refused, or None if the sentinel has nothing against it.

    Parameters
    ----------
    names : mapping
        For each kind of target the name, or the list of names, or None.
    now_s : float
        The clock of ``state.looked_at_s``.
    """
    if now_s - state.looked_at_s > STALE_S:
        return SentinelRefused(
            f"the sentinel file {state.path} could not be looked at for {now_s - state.looked_at_s:.1f} s, so"
            " everything is refused; look at its file system, or at what holds up this process"
        )
    if state.problem:
        return SentinelRefused(
            f"the sentinel file {state.path} cannot be read, so everything is refused: {state.problem}; correct or"
            " remove it"
        )
    if state.barred:
        return SentinelRefused(
            f"the sentinel file {state.path} stops everything on this host; remove it to go on"
        )
    hit = next((target for target in _touched(names) if target in state.targets), None)
    if hit is None:
        return None
    return SentinelRefused(
        f"{hit} is stopped on this host by the sentinel file {state.path}; remove its line to go on"
    )


class Sentinel:
    """Looks after one file, in a thread of its own. Use as a context manager, or call :meth:`close`.

    The first look is taken at once, so that nobody starts by allowing. Any thread may ask.

    Parameters
    ----------
    path : Path
        The file. It need not be there, its directory must.
    interval_s : float
        Seconds between looks, in (0, 0.5].
    on_change : callable, optional
        Called with the new state when the file says something else than before; mostly from the sentinel's thread, so
        it must return soon.

    Raises
    ------
    InvalidRequest
        If `interval_s` is out of range.

    Attributes
    ----------
    quiet_until_s : float
        For the fast path: before this moment (:func:`~killswitch.clocks.lease_clock_s`) nothing is refused because of
        the file. After it, :meth:`refusal` knows.
    """

    def __init__(
        self,
        path: Path,
        *,
        interval_s: float = INTERVAL_S,
        on_change: Callable[[SentinelState], None] | None = None,
    ) -> None:
        if not 0 < interval_s <= STALE_S / 2:
            raise InvalidRequest(
                "interval_s", f"{interval_s!r} is not above 0 and at most {STALE_S / 2:g} seconds"
            )
        self.path = path
        self.quiet_until_s = 0.0
        self._interval_s = interval_s
        self._on_change = on_change
        self._looking = threading.Lock()
        _sentinels.add(self)
        self._stop = threading.Event()
        self._take(look(path, lease_clock_s()))
        self._thread = threading.Thread(target=self._run, name="killcord-sentinel", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def state(self) -> SentinelState:
        """What the last look found."""
        return self._state

    def refusal(self, names: Mapping[Kind, object], now_s: float | None = None) -> SentinelRefused | None:
        """Return why an action that touches `names` is refused by the file, or None; see :func:`refusal`."""
        at_s = lease_clock_s() if now_s is None else now_s
        if at_s - self._state.looked_at_s > STALE_S:
            self._look()
        return refusal(self._state, names, at_s)

    def close(self) -> None:
        """Stop looking. The last state goes stale, and then everything is refused."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(STALE_S)

    def forget_parent(self) -> None:
        """Look by oneself, in a child after a fork, even if the parent's thread was in a look."""
        self._looking = threading.Lock()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            try:
                self._look()
            except Exception:  # the root of this thread; what nobody looks at is refused a second later
                log.critical("the sentinel file %s could not be looked at", self.path, exc_info=True)

    def _look(self) -> None:
        """Look, unless somebody is at it."""
        if self._stop.is_set() or not self._looking.acquire(blocking=False):
            return
        try:
            before = self._state
            # The moment before the look: what is written after it is only seen by the next one.
            self._take(look(self.path, lease_clock_s()))
        finally:
            self._looking.release()
        if not self._state.same_as(before):
            log.warning("the sentinel file %s %s", self.path, _words(self._state))
            if self._on_change is not None:
                self._on_change(self._state)

    def _take(self, state: SentinelState) -> None:
        self._state = state
        self.quiet_until_s = state.looked_at_s + STALE_S if state.is_quiet else 0.0


def _read(path: Path) -> bytes | None:
    """Return the content, None if there is no such file."""
    try:
        # O_NONBLOCK: a FIFO without a writer would else hold us up for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path} is no regular file")
        return os.read(handle, MAX_BYTES + 1)
    finally:
        os.close(handle)


def _absent_problem(path: Path) -> str:
    """Return "" if there is just no such file: the state in which all is well."""
    if path.is_symlink():
        return "it is a link to nowhere"
    return (
        "" if path.parent.is_dir() else f"there is no directory {path.parent} in which anybody could put it"
    )


def _touched(names: Mapping[Kind, object]) -> Iterator[Target]:
    """Yield every target that the names stand for; what is no name is refused elsewhere."""
    agents = [name for name in _texts(names.get("agent")) if name]
    for kind, value in names.items():
        for name in _texts(value):
            values = [name]
            if kind == "agent_version":  # goes by itself (name@version) or with its agent
                values = [
                    candidate
                    for candidate in (name, *(f"{agent}@{name}" for agent in agents))
                    if "@" in candidate
                ]
            for text in values:
                try:
                    yield Target(kind, text)
                except InvalidTarget:
                    continue


def _texts(value: object) -> list[str]:
    found = value if isinstance(value, list | tuple) else (value,)
    return [str.__str__(item) for item in found if isinstance(item, str)]


def _words(state: SentinelState) -> str:
    if state.problem:
        return f"cannot be read ({state.problem}): everything is refused"
    if state.barred:
        return "stops everything"
    if state.targets:
        return "stops " + ", ".join(sorted(map(str, state.targets)))
    return "is gone: it stops nothing"


_sentinels: Final[weakref.WeakSet[Sentinel]] = weakref.WeakSet()


def _forget_parent() -> None:
    for sentinel in list(_sentinels):
        sentinel.forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
