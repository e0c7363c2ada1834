"""``GET /v1/feed/events``: the live feed as server-sent events, for those who cannot use websockets.

Each event's ``id`` is the number from which its reader can resume, so a browser's ``EventSource`` resumes by itself
(WHATWG HTML §9.2). The data is the message, the same as on the websocket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from monitor.errors import LogError
from monitor.live.reader import Message, Reader
from monitor.live.session import Session, Wish
from monitor.web.either import either
from monitor.web.endpoints import sender
from monitor.web.feed_queries import sequence, wanted
from monitor.web.live import end_unwelcome, wish_of
from monitor.web.pushed import STALL_S
from monitor.web.responses import services

log = logging.getLogger("killcord.feed")

RETRY_MS: Final = 1000


async def get_events(request: Request) -> Response:
    """Answer with the feed's messages, one event each, until the reader leaves or the daemon stops."""
    daemon = services(request)
    who = sender(request)
    wish = wish_of(request.query_params, daemon, who)
    resumed = sequence(request.headers, "last-event-id")
    if resumed is not None:  # a browser repeats the first query when it comes back, and adds where it was
        wish = Wish(resumed)
    reader = Reader(daemon.feed.client_buffer, wanted(request.query_params), who.name, "sse")
    return EventStream(request, Session(daemon.feed, reader, daemon.heartbeat), wish)


class EventStream(Response):
    """An answer that goes on; ends when its reader leaves, takes nothing for too long, or is sent away."""

    def __init__(self, request: Request, session: Session, wish: Wish) -> None:
        super().__init__(
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            media_type="text/event-stream",
        )
        del self.headers["content-length"]
        self._request = request
        self._session = session
        self._wish = wish

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it (ASGI)."""
        with self._session.feed.serving(self._session.reader):
            unwelcome = end_unwelcome(self._request, self._session.reader)
            await either(self._stream(send), _until_gone(receive), unwelcome)

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            await _send(send, b"retry: %d\n\n" % RETRY_MS)
            async for messages in self._session.opening(self._wish):
                await _send(send, events(messages))
            async for messages in self._session.live():
                await _send(send, events(messages))
        except TimeoutError:
            return  # without the end of the answer: the connection takes nothing, not even that
        except LogError as error:
            log.error("a reader of the feed was sent away: %s", error)
        with contextlib.suppress(TimeoutError):
            await _send(send, b"", more=False)


def events(messages: list[Message]) -> bytes:
    """Return the messages as events. JSON has no line breaks but escaped ones, so each is one line."""
    return b"".join(b"id: %d\ndata: %b\n\n" % message for message in messages)


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    if body or not more:
        async with asyncio.timeout(STALL_S):
            await send({"type": "http.response.body", "body": body, "more_body": more})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
