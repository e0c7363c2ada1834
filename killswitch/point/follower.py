"""The thread that keeps one enforcement point up to date with the store, session after session."""

from __future__ import annotations

import logging
import math
import os
import random
import threading
from collections.abc import Callable
from typing import Final

from killswitch.errors import KillswitchError
from killswitch.point.session import Session
from killswitch.point.view import View
from killswitch.registry import points
from killswitch.storage.store import Keys
from killswitch.targets import Target
from killswitch.trust.keyring import Keyring

log = logging.getLogger("killswitch")

MAX_PAUSE_S: Final = 1.0


class Follower:
    """What one point knows (``view``, ``lease_until_s``) and the thread that keeps it so.

    Readers take ``view`` and ``lease_until_s`` without a lock; only the thread writes them.

    Parameters
    ----------
    url : str
        The store.
    keys : Keys
        Its key names.
    record : PointRecord
        How the point registers; its ``lease_s`` sets the pace.
    keyring : Keyring or None
        Whose word it takes for a restoration and for the state it starts on; None trusts the store.
    on_change : callable
        Called in the follower's thread after each change of the view; must be quick and must not raise.
    refuses : callable
        Asks the point's own check about one target, for the acknowledgement.
    """

    def __init__(
        self,
        url: str,
        keys: Keys,
        record: points.PointRecord,
        *,
        keyring: Keyring | None,
        on_change: Callable[[], None],
        refuses: Callable[[Target], bool],
    ) -> None:
        self.url = url
        self.keys = keys
        self.pid = os.getpid()  # in another process (after a fork) there is no thread behind this object
        self.record = record
        self.keyring = keyring
        self.view = View(proven=keyring is None)
        self.lease_until_s = -math.inf  # never starts by allowing
        self.connected = False
        self.last_error = ""
        self.failures = 0
        self.ready = threading.Event()
        self.on_change = on_change
        self.refuses = refuses
        self._session: Session | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"killswitch-{record.name}", daemon=True)

    def start(self) -> None:
        """Start the thread; once."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop the thread, deregister the point, and refuse from now on. Waits up to `timeout_s` seconds."""
        self._stop.set()
        session = self._session
        if session is not None:
            session.push.close()  # wakes the thread
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self.lease_until_s = -math.inf

    @property
    def stopping(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    def _run(self) -> None:
        attempt = 0
        while not self.stopping:
            try:
                self._follow()
            except KillswitchError as error:
                self.note(error)
            except Exception as error:  # the thread's root: whatever happens, it must come back and try again
                self.note(error)
                log.exception("the follower of %s failed and starts anew", self.record.name)
            attempt = 0 if self.connected else attempt + 1
            self.connected = False
            pause_s = min(MAX_PAUSE_S, 0.05 * 2 ** min(attempt, 10))
            self._stop.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret

    def note(self, error: Exception) -> None:
        """Count a failure, and log it once for each new reason."""
        if self.stopping:
            return
        self.failures += 1
        if self.last_error != str(error):
            log.warning("%s: %s", self.record.name, error)
        self.last_error = str(error)

    def _follow(self) -> None:
        io_timeout_s = max(0.05, min(1.0, self.record.lease_s / 2))
        session = Session(self, io_timeout_s)
        self._session = session
        try:
            session.start()
            self.connected = True
            self.last_error = ""
            self.ready.set()
            while not self.stopping:
                session.step()
        finally:
            self._session = None
            session.end(leave=self.stopping)
