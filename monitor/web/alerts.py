"""Alerts over HTTP: groups of them, what became of each, and changes by people."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from monitor.alerts.book import Book
from monitor.alerts.group import Group
from monitor.alerts.life import MAX_NAME_CHARS, MAX_TEXT_CHARS, Change
from monitor.errors import ChangeRefused, LogError
from monitor.live.filters import Filter
from monitor.live.message_types import Change as Kind
from monitor.live.message_types import CloseReason
from monitor.web.endpoints import sender
from monitor.web.feed_queries import sequence, wanted
from monitor.web.kills import decode_body
from monitor.web.queries import limit_of
from monitor.web.responses import Problem, json, services

MAX_GROUPS = 1000
MAX_IDS = 500
YIELD_AFTER_S = 0.003
"""After so long the event loop gets a turn: a filter that matches little looks at every group."""

Id = Annotated[str, Meta(min_length=1, max_length=200)]


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/alerts/changes``."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=MAX_IDS)]
    change: Kind
    assignee: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)] | None = None
    reason: CloseReason | None = None
    comment: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)] | None = None


async def get_alerts(request: Request) -> Response:
    """List the groups that pass the filter, newest first."""
    most, book, now_s = limit_of(request, MAX_GROUPS), services(request).desk.book, time.time()
    asked, before_seq = wanted(request.query_params), sequence(request.query_params, "before")
    found = await _matching(book, asked, before_seq, now_s, most + 1)
    page = [group.fields(book.muted_by(group, now_s)) for group in found[:most]]
    return json({"alerts": page, "next": found[most - 1].last_seq if len(found) > most else None})


async def get_alert(request: Request) -> Response:
    """Answer with everything about a group; the id of any of its alerts finds it."""
    book, now_s = services(request).desk.book, time.time()
    group = book.group(request.path_params["alert_id"])
    if group is None:
        raise Problem(404, "there is no such alert, or it was closed long ago", "id")
    return json(
        {
            **group.fields(book.muted_by(group, now_s)),
            "alerts": book.alerts_of(group),
            "history": group.history_fields(),
            "precedents": [other.precedent_fields() for other in book.precedents(group)],
        }
    )


async def post_changes(request: Request) -> Response:
    """Apply one change to many groups; answered when it is on disk, with what was refused and why."""
    body = await decode_body(request, Changes)
    change = Change(
        kind=body.change,
        by=sender(request).name,
        at_s=time.time(),
        assignee=body.assignee,
        reason=body.reason,
        comment=body.comment,
    )
    try:
        changed = await services(request).desk.change(body.ids, change)
    except ChangeRefused as error:
        raise Problem(422, str(error), error.field) from error
    except LogError as error:
        raise not_durable(error) from error
    return json(
        {
            "changed": [group.id for group in changed.groups],
            "refused": [{"id": refused, "error": why} for refused, why in changed.refused],
        }
    )


def not_durable(error: LogError) -> Problem:
    """Return the refusal of what could not be written."""
    return Problem(503, f"not durable, so not taken: {error}", headers={"Retry-After": "1"})


async def _matching(
    book: Book, asked: Filter, before_seq: int | None, now_s: float, most: int
) -> list[Group]:
    """Return the newest groups that pass, without holding the event loop for long, however many do not."""
    found: list[Group] = []
    since_s, groups, is_copy = time.monotonic(), book.newest_first(before_seq), False
    while len(found) < most and (group := next(groups, None)):
        if not asked.terms or asked.matches(group.message(book.muted_by(group, now_s))):
            found.append(group)
        if time.monotonic() - since_s > YIELD_AFTER_S:
            if not is_copy:  # the book may change from here on
                groups, is_copy = iter(list(groups)), True
            await asyncio.sleep(0)
            since_s = time.monotonic()
    return found
