"""What can be asked about the feed over plain HTTP: the form of its messages, and those that a reader missed."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from monitor.errors import LogError
from monitor.live.message_types import feed_schema
from monitor.web.feed_queries import sequence, wanted
from monitor.web.queries import limit_of
from monitor.web.responses import Problem, json, services

MAX_MESSAGES = 1000


async def get_schema(_: Request) -> Response:
    """Answer with the JSON Schema of every message."""
    return json(feed_schema())


async def get_messages(request: Request) -> Response:
    """Answer with the messages of these numbers, oldest first, and the number to go on from."""
    query, feed = request.query_params, services(request).feed
    first, last = sequence(query, "from"), sequence(query, "to")
    if first is None:
        raise Problem(422, "say from which number on: /v1/feed/messages?from=…", "from")
    to_seq = feed.last_seq if last is None else last
    try:
        page = await feed.page(max(first, 1), to_seq, wanted(query), limit_of(request, MAX_MESSAGES))
    except LogError as error:
        raise Problem(503, f"old messages cannot be read: {error}") from error
    return json(
        {
            "messages": [msgspec.Raw(message.text) for message in page.messages],
            "next": page.next_seq,
            "gone_to": page.gone_to,
        }
    )
