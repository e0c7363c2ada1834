"""``/v1/feed``: the live feed over a websocket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from monitor.access.browsers import SUBPROTOCOL
from monitor.live.feed import Message, Missed, now_text
from monitor.services import Services
from monitor.web.authentication import until_unwelcome, welcome
from monitor.web.responses import Problem, problem_response

STATUS_INTERVAL_S = 1.0
SEND_TIMEOUT_S = 20.0
"""A reader whose socket takes nothing for so long is gone; its place is freed."""

# RFC 6455 §7.4.1 and its registry: try again later.
TOO_SLOW = 1013
NOT_ALLOWED = 1008


async def feed_socket(websocket: WebSocket) -> None:
    """Serve one reader until it leaves."""
    daemon: Services = websocket.app.state.services
    sender = welcome(websocket)
    if isinstance(sender, Problem):
        await websocket.send_denial_response(await problem_response(websocket, sender))
        return
    subprotocol = SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None
    await websocket.accept(subprotocol)
    with contextlib.suppress(WebSocketDisconnect, asyncio.CancelledError):
        await _serve(websocket, daemon)


async def _serve(websocket: WebSocket, daemon: Services) -> None:
    """Run the loops of a reader; the first to end ends the others."""
    sending = asyncio.Lock()
    loops = [
        asyncio.create_task(_send_messages(websocket, daemon, sending)),
        asyncio.create_task(_send_status(websocket, daemon, sending)),
        asyncio.create_task(_drain(websocket)),
        asyncio.create_task(until_unwelcome(websocket)),
    ]
    try:
        done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
        is_unwelcome = done == {loops[-1]}
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    if is_unwelcome:
        await websocket.close(NOT_ALLOWED, "the token or the session has ended")


async def _send_messages(websocket: WebSocket, daemon: Services, sending: asyncio.Lock) -> None:
    since = websocket.query_params.get("since", "")
    start = int(since) if re.fullmatch("[0-9]{1,18}", since) else None
    reader = daemon.feed.reader()
    async for item in daemon.feed.follow(reader, start):
        text = item.text if isinstance(item, Message) else _missed(daemon, item)
        await _send(websocket, text, sending)


async def _send_status(websocket: WebSocket, daemon: Services, sending: asyncio.Lock) -> None:
    while True:
        await _send(websocket, _status(daemon, daemon.status()), sending)
        await asyncio.sleep(STATUS_INTERVAL_S)


async def _drain(websocket: WebSocket) -> None:
    """Wait for the reader to leave; what it says means nothing."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


async def _send(websocket: WebSocket, text: str, sending: asyncio.Lock) -> None:
    async with sending:
        try:
            # Not `wait_for`: before Python 3.12 it forgets that it was cancelled if the send ends at that moment.
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await websocket.send_text(text)
        except TimeoutError:
            await websocket.close(TOO_SLOW, "the connection takes nothing any more")
            raise WebSocketDisconnect(TOO_SLOW) from None


def _missed(daemon: Services, missed: Missed) -> str:
    return _status(daemon, {"missed": {"from": missed.from_seq, "to": missed.to_seq}})


def _status(daemon: Services, content: dict[str, Any]) -> str:
    message = {"seq": daemon.feed.last_seq, "type": "status", "ts": now_text(), "status": content}
    return msgspec.json.encode(message).decode()
