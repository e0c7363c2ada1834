"""Reading the live feed from Python: every message once and in order, across disconnections and restarts.

    async with contextlib.aclosing(FeedClient(url, token, filter="severity:>=high").messages()) as messages:
        async for message in messages:
            if isinstance(message, AlertMessage):
                print(message.alert.title)

It keeps no queue of its own: whoever reads slowly is sent no faster, and what the daemon then leaves out is fetched
from it as soon as it says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import math
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from monitor.errors import DaemonError, FeedLost, FeedRefused, FeedReset
from monitor.live.message_types import FeedMessage, Reset, Span, Status, StatusMessage, decode_message

OPEN_TIMEOUT_S: Final = 10.0
SILENCE_S: Final = 15.0
"""The daemon says something every second: a connection that is silent for so long is dead."""
MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
"""Security limit; a snapshot of 200 groups is far smaller."""
ANNOUNCED_WITHIN_S: Final = 10.0
FIRST_PAUSE_S: Final = 0.05
MAX_PAUSE_S: Final = 5.0
PAGE: Final = 500

_REFUSALS: Final = frozenset({400, 401, 403, 404, 422})


class Contact(Protocol):
    """Where a daemon is, a token for it, and how to know its certificate (None: as the system does)."""

    @property
    def url(self) -> str:
        """Its address, ``http`` or ``https``."""

    @property
    def token(self) -> str:
        """Of anybody who may read."""

    @property
    def tls(self) -> ssl.SSLContext | None:
        """For a daemon whose certificate the system does not trust."""


class _Fixed(NamedTuple):
    url: str
    token: str
    tls: ssl.SSLContext | None


class _StatusHead(msgspec.Struct):
    missed: Span | None = None
    reset: Reset | None = None


class _Head(msgspec.Struct):
    """As much of a message as following the feed takes."""

    seq: int
    type: str
    ts: str = ""
    status: _StatusHead | None = None


class _Page(msgspec.Struct):
    messages: list[msgspec.Raw]
    next: int | None = None
    gone_to: int | None = None


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_page = msgspec.json.Decoder(_Page).decode


class FeedClient:
    """One reader of a daemon's feed, as an asynchronous iterator over its messages. Belongs to one event loop.

    Parameters
    ----------
    url
        Of the daemon (``http://127.0.0.1:8787``), or a function that returns its `Contact`: asked before each
        connection, so that a daemon that comes back elsewhere is found. It raises `DaemonError` while there is none.
    token
        Of anybody who may read.
    since
        Begin after this number; None begins with what is new.
    filter
        Only what matches; the language of ``docs/api.md``.
    snapshot
        Begin with what is open now. `since` then means nothing.
    heartbeats
        Whether the daemon's `status` messages are wanted too.
    patient
        Whether the first connection may fail and be tried again; the later ones always may.
    give_up_after_s
        Raise `FeedLost` after so long without any connection.
    on_break
        Told, in words, that the feed broke off, before it is tried again.
    tls
        For a daemon whose certificate the system does not trust.
    """

    def __init__(
        self,
        url: str | Callable[[], Contact],
        token: str = "",
        *,
        since: int | None = None,
        filter: str = "",
        snapshot: bool = False,
        heartbeats: bool = False,
        patient: bool = False,
        give_up_after_s: float = math.inf,
        on_break: Callable[[str], None] = lambda why: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._may_move = callable(url)
        self._find = url if callable(url) else lambda: _Fixed(url, token, tls)
        self._filter = filter
        self._wants_snapshot = snapshot
        self._heartbeats = heartbeats
        self._patient = patient
        self._give_up_after_s = give_up_after_s
        self._on_break = on_break
        self._pause_s = FIRST_PAUSE_S
        self._heard_s = 0.0
        self.position = None if snapshot else since
        """Everything up to this number was handed over, or left out by the filter; None before the first contact."""
        self.connections = 0
        self.unknown = 0
        """How many messages were of a type that this version does not know; they are left out."""

    def __aiter__(self) -> AsyncIterator[FeedMessage]:
        return self.messages()

    async def messages(self) -> AsyncGenerator[FeedMessage, None]:
        """Yield the messages, typed. What the daemon can give no more is told as a `StatusMessage` with `missed`.

        Raises
        ------
        FeedRefused
            If the daemon would refuse the same request again.
        FeedReset
            If the daemon's log ends before `position`. Iterating again goes on after its end.
        FeedLost
            If the first connection fails (unless `patient`), or there was none for `give_up_after_s`.
        """
        async with contextlib.aclosing(self.texts()) as texts:
            async for text in texts:
                try:
                    message = decode_message(text)
                except msgspec.ValidationError:  # of a newer daemon
                    self.unknown += 1
                else:
                    yield message

    async def texts(self) -> AsyncGenerator[bytes, None]:
        """Yield the same as JSON texts, as the daemon sent them."""
        self._heard_s = time.monotonic()
        while True:
            try:
                contact = self._find()
                async with self._connect(contact) as socket:
                    self.connections += 1
                    while True:
                        text = await self._receive(socket)
                        async for found in self._take(contact, text):
                            yield found
            except (OSError, WebSocketException, TimeoutError, DaemonError) as error:
                await self._after(error)

    # -- one connection -----------------------------------------------------------------------------------------

    def _connect(self, contact: Contact) -> connect:
        query: dict[str, Any] = {"filter": self._filter} if self._filter else {}
        if self.position is not None:
            query["since"] = self.position
        elif self._wants_snapshot:
            query["snapshot"] = 1
        return connect(
            f"ws{contact.url.removeprefix('http')}/v1/feed?{urlencode(query)}",
            additional_headers=_authorization(contact),
            compression=None,
            proxy=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=1.0,
            max_size=MAX_MESSAGE_BYTES,
            ssl=(contact.tls or True) if contact.url.startswith("https") else None,
        )

    async def _receive(self, socket: ClientConnection) -> bytes:
        async with asyncio.timeout(SILENCE_S):
            text = await socket.recv(decode=False)
        self._heard_s, self._pause_s = time.monotonic(), FIRST_PAUSE_S
        return text

    async def _take(self, contact: Contact, text: bytes) -> AsyncIterator[bytes]:
        """Yield what one message of the daemon brings: itself, nothing if it is a repeat, or all that was missed."""
        head = _decode_head(text)
        if head.status and head.status.reset:
            self.position = head.status.reset.last_seq
            raise FeedReset(head.status.reset.since, head.status.reset.last_seq)
        if head.status and head.status.missed:
            async for found in self._fetch(contact, head.status.missed, head.ts):
                yield found
        elif head.type == "status":
            self.position = max(self.position or 0, head.seq)
            if self._heartbeats:
                yield text
        elif head.type == "snapshot" or self.position is None or head.seq > self.position:
            self.position = head.seq
            yield text

    async def _after(self, error: Exception) -> None:
        """Raise what trying again does not help with; otherwise wait before the next try, longer each time."""
        silent_s = time.monotonic() - self._heard_s
        is_refused = isinstance(error, InvalidStatus) and error.response.status_code in _REFUSALS
        # A local daemon's token ends with it; the new one listens a moment before it announces its own.
        may_have_moved = self._may_move and self.connections and silent_s < ANNOUNCED_WITHIN_S
        if isinstance(error, InvalidStatus) and is_refused and not may_have_moved:
            raise _refusal(error.response.status_code, error.response.body) from error
        if (not self.connections and not self._patient) or silent_s >= self._give_up_after_s:
            raise FeedLost(
                f"the feed cannot be read: {error or type(error).__name__}; is the daemon up?"
            ) from error
        self._on_break(str(error) or type(error).__name__)
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the load, hides nothing
        self._pause_s = min(self._pause_s * 2, MAX_PAUSE_S)

    # -- what was missed ----------------------------------------------------------------------------------------

    async def _fetch(self, contact: Contact, missed: Span, ts: str) -> AsyncIterator[bytes]:
        """Yield the messages that the daemon left out, page by page."""
        first: int | None = max(missed.from_seq, (self.position or 0) + 1)
        while first is not None and first <= missed.to_seq:
            query = {"from": first, "to": missed.to_seq, "limit": PAGE, "filter": self._filter}
            page = await asyncio.to_thread(_page, contact, urlencode(query))
            if page.gone_to is not None:
                yield _gone(first, page.gone_to, ts)
            for raw in page.messages:
                text = bytes(raw)
                self.position = _decode_head(text).seq
                yield text
            first = page.next
        self.position = missed.to_seq


def _gone(first: int, last: int, ts: str) -> bytes:
    span = Span(from_seq=first, to_seq=last)
    return msgspec.json.encode(StatusMessage(seq=last, ts=ts, status=Status(missed=span)))


def _refusal(status: int, body: bytes | bytearray | None) -> FeedRefused:
    try:
        said = msgspec.json.decode(body or b"", type=dict[str, Any])
    except msgspec.MsgspecError:
        said = {}
    field = said.get("field")
    return FeedRefused(status, str(said.get("error") or "no reason given"), field and str(field))


def _authorization(contact: Contact) -> dict[str, str]:
    return {"Authorization": f"Bearer {contact.token}"}


def _page(contact: Contact, query: str) -> _Page:
    parts = urlsplit(contact.url)
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=OPEN_TIMEOUT_S, context=contact.tls
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=OPEN_TIMEOUT_S)
    try:
        connection.request("GET", f"/v1/feed/messages?{query}", headers=_authorization(contact))
        answer = connection.getresponse()
        body = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{contact.url} broke off its answer: {error!r}") from error
    finally:
        connection.close()
    if answer.status in _REFUSALS:
        raise _refusal(answer.status, body)
    if answer.status != 200:
        raise OSError(f"{contact.url} answered {answer.status}")
    return _decode_page(body)
