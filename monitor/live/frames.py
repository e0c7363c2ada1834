"""Websocket frames from a server (RFC 6455 §5.2). They are not masked, so one frame serves every connection. Pure."""

from __future__ import annotations

import struct
from typing import Final

_FIN_TEXT: Final = 0x81
_SHORT: Final = 125
_MEDIUM: Final = 0xFFFF


def text_frame(text: bytes) -> bytes:
    """Return a whole text message in one frame; `text` is UTF-8."""
    length = len(text)
    if length <= _SHORT:
        return struct.pack("!BB", _FIN_TEXT, length) + text
    if length <= _MEDIUM:
        return struct.pack("!BBH", _FIN_TEXT, 126, length) + text
    return struct.pack("!BBQ", _FIN_TEXT, 127, length) + text
