"""Writes automatic revocations to the store: a thread of its own, so that nothing else can delay a kill.

A request that cannot be written is retried for ever with the same change id, which the store applies once; the leases
of the enforcement points do the killing meanwhile.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable

from killswitch import KillswitchError, StoreUnreachable, Switch, Target
from monitor.pipeline import RevocationRequest

log = logging.getLogger("killcord.killer")

FIRST_RETRY_S = 0.05
LAST_RETRY_S = 2.0
BY = "killcord/policy"


class Killer:
    """Takes requests from any thread and has them written in order. Use as a context manager.

    Parameters
    ----------
    on_refused
        Called from the killer's thread with a request that the store will never take, and the reason. Must not
        raise.
    """

    def __init__(self, switch: Switch, on_refused: Callable[[RevocationRequest, str], None]) -> None:
        self._switch = switch
        self._on_refused = on_refused
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        # Bounded by the blast-radius guard: no more automatic kills can be pending than it lets through.
        self._pending: deque[RevocationRequest] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer", daemon=True)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wake.put(None)
        self._thread.join(timeout=10)

    def submit(self, request: RevocationRequest) -> None:
        """Have the revocation written; returns at once."""
        self._pending.append(request)
        self._wake.put(None)

    def pending(self) -> list[RevocationRequest]:
        """Return the requests that are not confirmed by the store yet."""
        return list(self._pending)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.get()
            while self._pending and not self._stop.is_set():
                self._write_until_done(self._pending[0])
                if not self._stop.is_set():
                    self._pending.popleft()

    def _write_until_done(self, request: RevocationRequest) -> None:
        retry_s = FIRST_RETRY_S
        while not self._stop.is_set():
            try:
                write_revocation(self._switch, request)
            except StoreUnreachable as error:
                log.error("kill of %s is pending: %s", request.target, error)
                self._stop.wait(retry_s)
                retry_s = min(LAST_RETRY_S, retry_s * 2)
            except KillswitchError as error:
                log.critical("kill of %s was refused: %s", request.target, error)
                self._on_refused(request, str(error))
                return
            else:
                return


def write_revocation(switch: Switch, request: RevocationRequest) -> None:
    """Have the store apply the request, once however often it is asked; raises `KillswitchError`.

    A suspension lasts as long as the policy says, counted from now: time in which the store was away, or in which the
    action waited in a backlog, would else eat it up, and what ends in the past binds nobody and is refused.
    """
    ends = request.expires_at_s
    switch.revoke(
        Target.parse(request.target),
        reason=request.reason,
        by=BY,
        level=request.level,
        expires_at_s=None if ends is None else time.time() + (ends - request.at_s),
        change_id=request.change_id,
        evidence=request.evidence,
    )
