"""``/v1/feed``: the live feed over a websocket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from monitor.access.browsers import SUBPROTOCOL
from monitor.access.roles import Principal
from monitor.errors import LogError
from monitor.live.filters import Filter
from monitor.live.frames import text_frame
from monitor.live.message_types import Me
from monitor.live.reader import End, Message, Reader, chunked
from monitor.live.session import Session, Wish
from monitor.services import Services
from monitor.web.authentication import until_unwelcome, welcome
from monitor.web.either import either
from monitor.web.feed_queries import flag, sequence, wanted
from monitor.web.pushed import STALL_S, TOO_SLOW, PushedReader
from monitor.web.responses import Problem, problem_response
from monitor.web.wire import EXTENSION, room

log = logging.getLogger("killcord.feed")

# RFC 6455 §7.4.1.
BROKEN = End(1011, "old messages cannot be read")
NOT_ALLOWED = End(1008, "the token or the session has ended")


async def feed_socket(websocket: WebSocket) -> None:
    """Serve one reader until it leaves."""
    daemon: Services = websocket.app.state.services
    try:
        sender = welcome(websocket)
        if isinstance(sender, Problem):
            raise sender
        wish, filtered = wish_of(websocket.query_params, daemon, sender), wanted(websocket.query_params)
    except Problem as problem:
        await websocket.send_denial_response(await problem_response(websocket, problem))
        return
    subprotocol = SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None
    await websocket.accept(subprotocol)
    with contextlib.suppress(WebSocketDisconnect, asyncio.CancelledError):
        await _serve(websocket, daemon, sender, filtered, wish)


def wish_of(query: Mapping[str, str], daemon: Services, sender: Principal) -> Wish:
    """Return what the query asks for; with a snapshot, `since` says nothing that the snapshot does not."""
    since = sequence(query, "since")
    if not flag(query, "snapshot"):
        return Wish(since)
    me = Me(name=sender.name, role=sender.role, permissions=tuple(sorted(sender.permissions)))
    return Wish(None, daemon.book, me)


async def _serve(
    websocket: WebSocket, daemon: Services, sender: Principal, filtered: Filter, wish: Wish
) -> None:
    """Send until the reader leaves or is sent away."""
    extension = websocket.scope["extensions"].get(EXTENSION)
    capacity = daemon.feed.client_buffer
    if extension:
        reader: Reader = PushedReader(capacity, filtered, sender.name, extension["wire"], daemon.heartbeat)
    else:
        reader = Reader(capacity, filtered, sender.name)
    session = Session(daemon.feed, reader, daemon.heartbeat)
    with daemon.feed.serving(reader):
        sending = (
            _push(session, reader, wish)
            if isinstance(reader, PushedReader)
            else _send(websocket, session, wish)
        )
        await either(sending, _drain(websocket), end_unwelcome(websocket, reader))
    await _say_goodbye(websocket, reader)


async def _push(session: Session, reader: PushedReader, wish: Wish) -> None:
    """Write the past to the wire as fast as it takes it; then the feed writes to it directly."""
    wire = reader.wire
    try:
        async for messages in session.opening(wish):
            for chunk in chunked([text_frame(message.text) for message in messages]):
                if not await room(wire, STALL_S):
                    wire.cut(*TOO_SLOW)
                    reader.end(TOO_SLOW)
                    return
                wire.write(chunk)
    except LogError as error:
        _cannot_read(reader, error)
        return
    reader.go_live()
    while not reader.ended:
        await reader.wake.wait()
        reader.wake.clear()


async def _send(websocket: WebSocket, session: Session, wish: Wish) -> None:
    """Send everything through ASGI, message by message: for servers that do not hand out their wire."""
    try:
        async for messages in session.opening(wish):
            await _send_each(websocket, messages)
        async for messages in session.live():
            await _send_each(websocket, messages)
    except TimeoutError:
        session.reader.end(TOO_SLOW)
    except LogError as error:
        _cannot_read(session.reader, error)


async def _send_each(websocket: WebSocket, messages: list[Message]) -> None:
    for message in messages:
        async with asyncio.timeout(STALL_S):
            await websocket.send_text(message.text.decode())


async def _drain(websocket: WebSocket) -> None:
    """Wait for the reader to leave; what it says means nothing."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


async def _say_goodbye(websocket: WebSocket, reader: Reader) -> None:
    """Close in order, if it was we who ended it and the connection takes anything."""
    end = reader.ended
    if end is None or end is TOO_SLOW or websocket.client_state is WebSocketState.DISCONNECTED:
        return
    with contextlib.suppress(RuntimeError, TimeoutError):  # it left, or was closed, in this moment
        async with asyncio.timeout(STALL_S):
            await websocket.close(end.code, end.why)


def _cannot_read(reader: Reader, error: LogError) -> None:
    log.error("a reader of the feed was sent away: %s", error)
    reader.end(BROKEN)


async def end_unwelcome(connection: HTTPConnection, reader: Reader) -> None:
    """Send the reader away once it may read no more."""
    await until_unwelcome(connection)
    reader.end(NOT_ALLOWED)
