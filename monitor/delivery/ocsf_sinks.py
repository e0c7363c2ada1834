"""Findings to a file that a collector follows, or to an address that takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from monitor.delivery.events import Event
from monitor.delivery.http_edge import HttpSender
from monitor.delivery.ocsf import detection_finding
from monitor.delivery.rotated_file import RotatedFile
from monitor.errors import DeliveryDelayed

MAX_LINES: Final = 500


class OcsfFileSink:
    """Appends each finding as a line of JSON; taken once it is on disk."""

    batch: Final = MAX_LINES
    attempts: Final = None

    def __init__(self, file: RotatedFile, product_version: str, dashboard_url: str) -> None:
        self._file = file
        self._about = (product_version, dashboard_url)

    def is_for(self, event: Event, is_wanted: bool) -> bool:
        """Return whether the event is sent: whatever the filter wants."""
        return is_wanted

    def form(self, event: Event) -> bytes:
        """Return the finding as a line of JSON."""
        return msgspec.json.encode(detection_finding(event, *self._about)) + b"\n"

    async def send(self, forms: Sequence[bytes]) -> None:
        """Append the lines."""
        try:
            await asyncio.to_thread(self._file.append, b"".join(forms))
        except OSError as error:
            raise DeliveryDelayed(f"cannot be written: {error}") from error

    async def close(self) -> None:
        """Close the file."""
        self._file.close()


class OcsfHttpSink:
    """Posts findings as lines of JSON, or, one at a time, as a JSON object each."""

    attempts: Final = None

    def __init__(
        self, sender: HttpSender, batch: int, authorization: str, product_version: str, dashboard_url: str
    ) -> None:
        self.batch = batch
        self._sender = sender
        self._headers = {"Content-Type": "application/json" if batch == 1 else "application/x-ndjson"}
        if authorization:
            self._headers["Authorization"] = authorization
        self._about = (product_version, dashboard_url)

    def is_for(self, event: Event, is_wanted: bool) -> bool:
        """Return whether the event is sent: whatever the filter wants."""
        return is_wanted

    def form(self, event: Event) -> bytes:
        """Return the finding as JSON."""
        return msgspec.json.encode(detection_finding(event, *self._about))

    async def send(self, forms: Sequence[bytes]) -> None:
        """Post them in one request."""
        body = forms[0] if self.batch == 1 else b"".join(form + b"\n" for form in forms)
        await self._sender.post(body, self._headers)

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()
