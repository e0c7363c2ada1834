"""Reads the daemon's live feed in a thread, so that the story can wait for what is shown there."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from monitor.demo.errors import StoryFailed

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
        self._address = f"ws{url.removeprefix('http')}/v1/feed?since=0"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._open = contextlib.ExitStack()
        self._thread = threading.Thread(target=self._read, name="demo-feed", daemon=True)

    def __enter__(self) -> Self:
        """Open the feed; raises `StoryFailed` if it cannot be."""
        try:
            connection = connect(
                self._address,
                additional_headers=self._headers,
                compression=None,
                proxy=None,
                open_timeout=_OPEN_S,
            )
            self._socket = self._open.enter_context(connection)
        except (OSError, WebSocketException) as error:
            raise StoryFailed(f"the feed cannot be opened: {error}") from error
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()
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

    def _read(self) -> None:
        try:
            for text in self._socket:
                self._take(json.loads(text))
        except WebSocketException as error:
            self._note(str(error))
        self._note("the feed was closed")

    def _note(self, problem: str) -> None:
        with self._changed:
            self.problem = self.problem or f"({problem})"
            self._changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        with self._changed:
            match message["type"]:
                case "alert":
                    self.alerts.append(message["alert"])
                case "transition":
                    if not message["transition"].get("drill"):  # the daemon rehearses while the agents work
                        self.transitions.append(message["transition"])
                case "acknowledgement":
                    ack = message["acknowledgement"]
                    self.confirmed.setdefault(ack["epoch"], set()).add(ack["point"])
            self._changed.notify_all()
