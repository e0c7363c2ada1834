"""What can be asked about the feed over plain HTTP: the form of its messages, and those that a reader missed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from monitor.live.message_types import feed_schema
from monitor.web.responses import json


async def get_schema(_: Request) -> Response:
    """Answer with the JSON Schema of every message."""
    return json(feed_schema())
