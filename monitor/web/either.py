"""Doing two things until one of them is over: sending to a reader, and noticing that it has left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from starlette.websockets import WebSocketDisconnect

log = logging.getLogger("killcord.feed")


async def either(*work: Coroutine[Any, Any, None]) -> None:
    """Run all of it until the first is over, then end the others; a defect among them is logged, once."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
    for error in found:
        if isinstance(error, Exception) and not isinstance(error, WebSocketDisconnect | OSError):
            log.error("a reader of the feed could not be served", exc_info=error)
