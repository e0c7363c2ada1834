"""Syslog over UDP (RFC 5426), TCP (RFC 6587) and TLS (RFC 5425).

Syslog has no acknowledgement. Over UDP what gets lost is lost unseen. Over TCP and TLS a batch counts as taken once the
other machine's kernel has confirmed every byte (where this one can tell: Linux) and has not hung up; a collector that
dies with unread messages has lost them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import sys
from collections.abc import Sequence
from typing import Final, Literal

from monitor.delivery.events import Event
from monitor.delivery.syslog import MAX_DATAGRAM_BYTES, MAX_FRAME_BYTES, counted, syslog_message
from monitor.errors import DeliveryDelayed

PORTS: Final = {"udp": 514, "tcp": 601, "tls": 6514}
_LOOK_S: Final = 0.005
_SIOCOUTQ: Final = 0x5411  # linux/sockios.h: bytes that the other side has not acknowledged


class SyslogSink:
    """Sends to one collector, and connects anew whenever the connection is gone. For one event loop."""

    attempts: Final = None

    def __init__(
        self,
        host: str,
        port: int,
        transport: Literal["udp", "tcp", "tls"],
        *,
        tls: ssl.SSLContext | None,
        hostname: str,
    ) -> None:
        self._address = (host, port or PORTS[transport])
        self._is_udp = transport == "udp"
        self._tls = tls
        self._hostname = hostname
        self._stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._sending = asyncio.Lock()  # a test may come between
        self.batch = 1 if self._is_udp else 100

    def is_for(self, event: Event, is_wanted: bool) -> bool:
        """Return whether the event is sent: whatever the filter wants."""
        return is_wanted

    def form(self, event: Event) -> bytes:
        """Return the event as a syslog message, framed for a stream if it goes over one."""
        if self._is_udp:
            return syslog_message(event, self._hostname, MAX_DATAGRAM_BYTES)
        return counted(syslog_message(event, self._hostname, MAX_FRAME_BYTES))

    async def send(self, forms: Sequence[bytes]) -> None:
        """Send them all; a connection on which that did not work, or was cancelled half way, is not used again."""
        async with self._sending:
            try:
                await (self._send_datagrams(forms) if self._is_udp else self._send_stream(b"".join(forms)))
            except (OSError, EOFError) as error:
                self._drop()
                raise DeliveryDelayed(f"cannot be sent: {error or type(error).__name__}") from error
            except BaseException:
                self._drop()
                raise

    async def close(self) -> None:
        """Close the connection."""
        self._drop()

    async def _send_datagrams(self, forms: Sequence[bytes]) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=self._address
        )
        try:
            for form in forms:
                transport.sendto(form)
        finally:
            transport.close()

    async def _send_stream(self, data: bytes) -> None:
        reader, writer = self._stream = await self._connected()
        writer.write(data)
        await writer.drain()
        while _unconfirmed(writer) and not reader.at_eof():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(_LOOK_S)
        if reader.at_eof():
            raise EOFError("the collector hung up")

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._stream:
            await asyncio.sleep(0)  # let the loop see that the other side hung up
            if not self._stream[0].at_eof() and not self._stream[1].is_closing():
                return self._stream
            self._drop()
        host, port = self._address
        return await asyncio.open_connection(host, port, ssl=self._tls, limit=4096)

    def _drop(self) -> None:
        if self._stream:
            with contextlib.suppress(OSError, RuntimeError):
                self._stream[1].transport.abort()
        self._stream = None


def _unconfirmed(writer: asyncio.StreamWriter) -> int:
    """Return how many bytes are on their way to the other machine's kernel; 0 where that cannot be known."""
    waiting = writer.transport.get_write_buffer_size()
    handle = writer.get_extra_info("socket")
    if waiting or handle is None or sys.platform != "linux":
        return waiting
    import fcntl

    answer = fcntl.ioctl(handle.fileno(), _SIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
