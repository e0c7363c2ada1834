"""Reads the daemon's live feed in a thread, so that the story can wait for what is shown there."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar

import msgspec

from monitor.demo.errors import StoryFailed
from monitor.errors import MonitorError
from monitor.feed_client import FeedClient
from monitor.live.message_types import AcknowledgementMessage, AlertMessage, FeedMessage, TransitionMessage

_OPEN_S = 10.0

T = TypeVar("T")


class FeedReader:
    """Keeps the feed's alerts and transitions, and which point confirmed which epoch. A context manager.

    The fleet of the demo is small; a reader for a real one would not keep everything.

    Parameters
    ----------
    url, token
        Of the daemon; any token that may read.
    """

    def __init__(self, url: str, token: str) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.transitions: list[dict[str, Any]] = []
        self.confirmed: dict[int, set[str]] = {}
        self.problem: str | None = None
        self._changed = threading.Condition()
        self._client = FeedClient(url, token, since=0, heartbeats=True, give_up_after_s=_OPEN_S)
        self._is_open = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="demo-feed", daemon=True)

    def __enter__(self) -> Self:
        """Open the feed; raises `StoryFailed` if it cannot be."""
        self._reading = self._loop.create_task(self._read())
        self._thread.start()
        self._is_open.wait(_OPEN_S)
        if self.problem or not self._is_open.is_set():
            self.__exit__()
            raise StoryFailed(f"the feed cannot be opened: {self.problem or 'no answer'}")
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._reading.cancel)
        self._thread.join(_OPEN_S)

    def wait_for(self, find: Callable[[], T | None], what: str, timeout_s: float) -> T:
        """Return what `find` finds in the attributes, once it does; raises `StoryFailed`."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while (found := find()) is None:
                left_s = deadline_s - time.monotonic()
                if self.problem or left_s <= 0:
                    raise StoryFailed(
                        f"the feed did not show {what} within {timeout_s:g} s {self.problem or ''}"
                    )
                self._changed.wait(left_s)
            return found

    def kills(self) -> list[dict[str, Any]]:
        """Return all transitions so far that stopped something."""
        with self._changed:
            return [one for one in self.transitions if one["kind"] in ("revoke", "suspend")]

    def _run(self) -> None:
        with contextlib.closing(self._loop), contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._reading)

    async def _read(self) -> None:
        try:
            async with contextlib.aclosing(self._client.messages()) as messages:
                async for message in messages:
                    self._take(message)
        except MonitorError as error:
            self._note(f"({error})")
        finally:
            self._is_open.set()

    def _note(self, problem: str) -> None:
        with self._changed:
            self.problem = self.problem or problem
            self._changed.notify_all()

    def _take(self, message: FeedMessage) -> None:
        with self._changed:
            match message:
                case AlertMessage(alert=alert):
                    self.alerts.append(msgspec.to_builtins(alert))
                case TransitionMessage(transition=change) if (
                    not change.drill
                ):  # the daemon rehearses meanwhile
                    self.transitions.append(msgspec.to_builtins(change))
                case AcknowledgementMessage(acknowledgement=ack):
                    self.confirmed.setdefault(ack.epoch, set()).add(ack.point)
            self._changed.notify_all()
        self._is_open.set()
