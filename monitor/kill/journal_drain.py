"""Carries out the kills that were kept in the journal while the store could not be reached: for ever, in order.

A thread of its own, so that neither an automatic kill nor a request over HTTP waits behind a long journal. Other
processes (`killcord kill`) add to the same directory, so it is looked at all the time: once a second, which costs one
look at an empty directory.
"""

from __future__ import annotations

import logging
import threading
import time

from killswitch import StoreUnreachable, Switch
from killswitch.errors import JournalError
from killswitch.revocations import LEVELS, Request
from killswitch.storage.journal import Drained, Journal, drain

log = logging.getLogger("killcord.journal")

LOOK_INTERVAL_S = 1.0
SAY_AGAIN_S = 60.0


class JournalDrain:
    """Drains one journal into one store. Use as a context manager.

    Parameters
    ----------
    switch
        Writes to the store. One with a journal of its own will do: what it would keep again stays where it is.
    """

    def __init__(self, journal: Journal, switch: Switch) -> None:
        self._journal = journal
        self._switch = switch
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._problem_due_s = 0.0
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def __enter__(self) -> JournalDrain:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=10)

    def wake(self) -> None:
        """Look at the journal now."""
        self._wake.set()

    def pending(self) -> int:
        """Return how many kills wait in the journal."""
        try:
            return len(self._journal)
        except JournalError:
            return 0  # said by the thread, which cannot read it either

    def damaged(self) -> int:
        """Return how many files in the journal were set aside, because nobody could have carried them out."""
        return self._journal.damaged

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._tell(flush(self._journal, self._switch, stop=self._stop))
            except JournalError as error:
                self._say(str(error))
            except (
                Exception
            ):  # the root of this thread: without it no kept kill would be carried out any more
                log.critical("the journal could not be drained; it is tried again", exc_info=True)
            self._wake.wait(LOOK_INTERVAL_S)
            self._wake.clear()

    def _tell(self, drained: Drained) -> None:
        for entry in drained.applied:
            log.warning("the kept %s of %s is carried out", entry.request.kind, entry.request.target)
        for entry in drained.expired:
            log.warning("the kept suspension of %s is dropped: it is over by now", entry.request.target)
        for entry, why in drained.refused:
            log.critical("the kept %s of %s can never be carried out, and was set aside as %s.damaged: %s",
                         entry.request.kind, entry.request.target, entry.name, why)  # fmt: skip
        if drained.waiting and not self._stop.is_set():
            self._say(f"{len(drained.waiting)} kept kills wait: {drained.problem}")

    def _say(self, problem: str) -> None:
        """Once a minute: it is tried every second."""
        if time.monotonic() >= self._problem_due_s:
            self._problem_due_s = time.monotonic() + SAY_AGAIN_S
            log.error("%s", problem)


def flush(journal: Journal, switch: Switch, *, stop: threading.Event | None = None) -> Drained:
    """Try every kept kill once and return what became of each; also what `killcord kill --flush` does.

    Raises
    ------
    JournalError
        If the journal's directory cannot be read.
    """
    return drain(
        journal,
        lambda request: apply_kept(switch, request),
        now_s=time.time(),
        should_stop=(stop or threading.Event()).is_set,
    )


def apply_kept(switch: Switch, request: Request) -> None:
    """Have the store apply a kept kill, once however often it is asked; raises `KillswitchError` if it did not."""
    level = next(level for level in LEVELS if level == request.kind)  # the journal keeps nothing else
    outcome = switch.revoke(
        request.target,
        reason=request.reason,
        by=request.by,
        level=level,
        expires_at_s=request.expires_at_s,
        change_id=request.change_id,
        evidence=request.evidence,
        announce=False,  # it may have been applied and lifted since: a notice would stop the target once more
    )
    if outcome.pending:
        raise StoreUnreachable("the store cannot be reached", change_id=request.change_id)
