"""Writes automatic revocations to the store: a thread of its own, so that nothing else can delay a kill.

A request that cannot be written is retried for ever with the same change id, which the store applies once; the leases
of the enforcement points do the killing meanwhile. One that keeps failing never holds another one up.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from killswitch import InvalidRequest, InvalidTarget, KillswitchError, Switch, Target
from monitor.core.pipeline import RevocationRequest

log = logging.getLogger("killcord.killer")

FIRST_RETRY_S = 0.05
LAST_RETRY_S = 2.0
BY = "killcord/policy"
# A kill that was decided so long ago may be one that recovery repeats: people may have lifted it since.
FRESH_S = 2.0


class Killer:
    """Takes requests from any thread and has them written. Use as a context manager.

    Parameters
    ----------
    on_refused
        Called from the killer's thread with a request that can never be carried out, because it is none: never for
        what the store may take later. Must not raise.
    """

    def __init__(self, switch: Switch, on_refused: Callable[[RevocationRequest, str], None]) -> None:
        self._switch = switch
        self._on_refused = on_refused
        self.outcomes: Counter[str] = Counter()  # what became of requests that are settled
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
        retry_s = FIRST_RETRY_S
        while not self._stop.is_set():
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=retry_s if self._pending else None)
            has_failed = self._write_each_once()
            retry_s = min(LAST_RETRY_S, retry_s * 2) if has_failed else FIRST_RETRY_S

    def _write_each_once(self) -> bool:
        """Try every pending request once; return whether some are still pending. Only this thread takes any out."""
        has_failed = False
        for _ in range(len(self._pending)):
            if self._stop.is_set():
                return True
            if self._is_settled(self._pending[0]):
                self._pending.popleft()
            else:
                self._pending.rotate(-1)
                has_failed = True
        return has_failed

    def _is_settled(self, request: RevocationRequest) -> bool:
        """Write the revocation; return False if that has to be tried again."""
        try:
            write_revocation(self._switch, request)
        except (InvalidRequest, InvalidTarget) as error:
            log.critical("kill of %s is no request: %s", request.target, error)
            self.outcomes["refused"] += 1
            self._on_refused(request, str(error))
        except KillswitchError as error:
            log.error("kill of %s is pending: %s", request.target, error)
            return False
        except Exception:  # the root of this thread: without it no agent would be stopped any more
            log.critical("kill of %s failed; it is tried again", request.target, exc_info=True)
            return False
        else:
            self.outcomes["written"] += 1
        return True


def write_revocation(switch: Switch, request: RevocationRequest) -> None:
    """Have the store apply the request, once however often it is asked; raises `KillswitchError`.

    A suspension lasts as long as the policy says, counted from now: time in which the store was away, or in which the
    action waited in a backlog, would else eat it up, and what ends in the past binds nobody and is refused.
    """
    ends, now_s = request.expires_at_s, time.time()
    switch.revoke(
        Target.parse(request.target),
        reason=request.reason,
        by=BY,
        level=request.level,
        expires_at_s=None if ends is None else now_s + (ends - request.at_s),
        change_id=request.change_id,
        evidence=request.evidence,
        announce=0 <= now_s - request.at_s < FRESH_S,
    )
