"""A websocket whose transport the application may write to: what many readers get is framed once for all of them.

Theory of operation
-------------------
ASGI has a coroutine, a copy and a frame of its own for every message to every client. The feed sends the same bytes to
all, so the protocol hands its transport to the application, as the extension `EXTENSION` of the ASGI scope. Only whole
frames go in, on the event loop, and none once either side has begun to close: so they cannot come between the parts of
another frame, and pings, pongs and closing handshakes stay uvicorn's. Where the extension is missing (another server),
the feed falls back to plain ASGI.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

log = logging.getLogger("killcord.feed")

EXTENSION: Final = "killcord.wire"
ABORT_AFTER_S: Final = 2.0
"""A reader that takes nothing has so long to take the close frame."""


class Wire:
    """The sending half of one websocket; belongs to its event loop."""

    def __init__(self, protocol: WireProtocol) -> None:
        self._protocol = protocol
        self.on_room: Callable[[], None] | None = None
        """Called when a connection that was full takes something again."""

    @property
    def is_open(self) -> bool:
        """Whether data may still be sent (RFC 6455 §5.5.1: none after a close frame)."""
        protocol = self._protocol
        return protocol.conn.state is State.OPEN and not protocol.transport.is_closing()

    @property
    def has_room(self) -> bool:
        """Whether data may be sent, and the connection keeps up with it."""
        return self._protocol.writable.is_set() and self.is_open

    @property
    def waiting_bytes(self) -> int:
        """How much the connection has not taken yet."""
        return int(self._protocol.transport.get_write_buffer_size())

    def write(self, frames: bytes) -> None:
        """Send whole frames. Look at `has_room` before: this only refuses what may not be sent at all."""
        if self.is_open:
            self._protocol.transport.write(frames)

    async def room(self) -> None:
        """Return when the connection keeps up, or is gone."""
        await self._protocol.writable.wait()

    def cut(self, code: int, why: str) -> None:
        """Close a connection that takes nothing, which an orderly close would wait for."""
        protocol = self._protocol
        if self.is_open:
            protocol.conn.send_close(code, why)
            protocol.transport.write(b"".join(protocol.conn.data_to_send()))
            protocol.close_sent = True
            protocol.transport.close()
        protocol.loop.call_later(ABORT_AFTER_S, protocol.transport.abort)

    def resumed(self) -> None:
        """Tell whoever writes that there is room again."""
        if self.on_room and self.has_room:
            self.on_room()


class WireProtocol(WebSocketsSansIOProtocol):
    """uvicorn's websocket protocol, with its `Wire` in the scope of the application."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.wire = Wire(self)

    def resume_writing(self) -> None:
        """Go on sending (asyncio)."""
        super().resume_writing()
        self.wire.resumed()

    async def run_asgi(self) -> None:
        """Run the application for this connection."""
        extensions: Any = self.scope["extensions"]
        extensions[EXTENSION] = {"wire": self.wire}
        await super().run_asgi()


async def room(wire: Wire, timeout_s: float) -> bool:
    """Return whether there is room, waiting for it no longer than that."""
    try:
        async with asyncio.timeout(timeout_s):
            await wire.room()
    except TimeoutError:
        return False
    return wire.is_open
