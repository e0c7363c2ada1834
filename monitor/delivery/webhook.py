"""Signed webhooks in the form of the Standard Webhooks specification, which receivers have libraries for.

The body is the feed's message as it is. ``webhook-id`` is the same for each attempt and each repeat: what has it twice
keeps one. ``webhook-signature`` is ``v1,`` and the base64 of HMAC-SHA-256 over ``id.timestamp.body``; a receiver checks
it, and refuses a ``webhook-timestamp`` (Unix seconds of the attempt) that is too old.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from monitor.delivery.events import Event
from monitor.delivery.http_edge import HttpSender
from monitor.errors import ConfigError

PREFIX: Final = "whsec_"
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64  # Standard Webhooks, "Signature scheme"


class Posted(NamedTuple):
    """What is sent for an event: its id and the body."""

    id: str
    body: bytes


class WebhookSink:
    """Posts each message by itself, signed anew for each attempt."""

    batch: Final = 1
    attempts: Final = None

    def __init__(self, sender: HttpSender, key: bytes) -> None:
        self._sender = sender
        self._key = key

    def is_for(self, event: Event, is_wanted: bool) -> bool:
        """Return whether the event is sent: whatever the filter wants."""
        return is_wanted

    def form(self, event: Event) -> Posted:
        """Return the body and its id."""
        return Posted(event.id, event.text.encode())

    async def send(self, forms: Sequence[Posted]) -> None:
        """Post each of them."""
        for posted in forms:
            await self._sender.post(posted.body, signed_headers(posted, self._key, int(time.time())))

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()


def signed_headers(posted: Posted, key: bytes, at_s: int) -> dict[str, str]:
    """Return the headers of an attempt at this moment. Pure."""
    signed = b"%s.%d.%s" % (posted.id.encode(), at_s, posted.body)
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "Content-Type": "application/json",
        "webhook-id": posted.id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": f"v1,{signature}",
    }


def read_key(secret: str, field: str) -> bytes:
    """Return the key of a secret as Standard Webhooks writes it; raises `ConfigError` about `field`."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ConfigError(field, f"write the secret as {PREFIX} and the key in base64") from error
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ConfigError(
            field, f"the key has {len(key)} bytes: make one of {MIN_KEY_BYTES} to {MAX_KEY_BYTES}"
        )
    return key
