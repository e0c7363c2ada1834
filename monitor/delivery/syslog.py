"""Syslog messages after RFC 5424, with the facts as structured data. Pure.

``<PRI>1 TIMESTAMP HOSTNAME killcord - alert [killcord@32473 id="…" …] MSG``. The facility is 13, log audit. The
structured data's enterprise number is the one that RFC 5612 sets aside for such use: Killcord has none of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from monitor.delivery.events import Event
from monitor.delivery.summary import headline, sentences
from monitor.delivery.texts import cut_bytes, plain

FACILITY: Final = 13
SD_ID: Final = "killcord@32473"
BOM: Final = b"\xef\xbb\xbf"  # RFC 5424 §6.4: what follows is UTF-8
MAX_DATAGRAM_BYTES: Final = 2048
"""RFC 5424 §6.1: what receivers should take."""
MAX_FRAME_BYTES: Final = 8192
"""RFC 5425 §4.3.1: what receivers should take over TLS."""

_SEVERITY: Final = {"critical": 2, "high": 3, "medium": 4, "low": 5}
_NOTICE: Final = 5
_VALUE_CHARS: Final = (256, 128, 64, 32, 16, 8)
_ESCAPED: Final = re.compile(r'(["\\\]])')
_NOT_IN_NAMES: Final = re.compile(r"[^!-~]")


def syslog_message(event: Event, hostname: str, limit_bytes: int) -> bytes:
    """Return the message in at most `limit_bytes` (480 or more): first the text gives way, then values are cut."""
    severity = (
        _SEVERITY.get(str(event.content.get("severity")), _NOTICE) if event.type == "alert" else _NOTICE
    )
    host = _NOT_IN_NAMES.sub("", hostname)[:255] or "-"
    head = f"<{FACILITY * 8 + severity}>1 {event.ts} {host} killcord - {event.type} ".encode()
    data = _structured_data(event, limit_bytes - len(head) - len(BOM) - 1)
    text = " - ".join([headline(event), *sentences(event)])
    room = limit_bytes - len(head) - len(data) - len(BOM) - 1
    message = cut_bytes(plain(text, limit_bytes), room).encode() if room > len("…".encode()) else b""
    return head + data + (b" " + BOM + message if message else b"")


def counted(message: bytes) -> bytes:
    """Return the message framed by octet counting (RFC 6587 §3.4.1, RFC 5425 §4.3)."""
    return b"%d %s" % (len(message), message)


def _structured_data(event: Event, room: int) -> bytes:
    """Return the element with the longest values that fit."""
    parameters = _parameters(event)
    for limit in _VALUE_CHARS:
        data = _element(parameters, limit)
        if len(data) <= room:
            return data
    return _element(parameters[:3], _VALUE_CHARS[-1])


def _element(parameters: Sequence[tuple[str, str]], limit: int) -> bytes:
    pairs = "".join(f' {name}="{_escaped(plain(value, limit))}"' for name, value in parameters)
    return f"[{SD_ID}{pairs}]".encode()


def _escaped(value: str) -> str:
    """Return the value with the three characters escaped that RFC 5424 §6.3.3 names."""
    return _ESCAPED.sub(r"\\\1", value)


def _parameters(event: Event) -> list[tuple[str, str]]:
    content = event.content
    response = content.get("response") or {}
    found = [
        ("seq", event.seq),
        ("id", event.group.id),
        ("state", event.group.state),
        ("agent", content["agent_id"]),
        ("severity", content.get("severity")),
        ("verdict", content.get("verdict")),
        ("tool", content.get("tool")),
        ("session", content.get("session_id")),
        ("human", ",".join(map(str, content.get("on_behalf_of") or ()))),
        ("taken", response.get("taken")),
        ("p", content.get("p")),
        ("count", event.group.count),
        ("change", content.get("change")),
        ("by", content.get("by")),
        ("reason", content.get("reason")),
    ]
    return [(name, str(value)) for name, value in found if value not in (None, "")]
