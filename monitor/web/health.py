"""How the daemon is: whether it lives, whether it is ready, its status and its metrics."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from monitor.metrics import render
from monitor.telemetry import measured, read_disk
from monitor.web.responses import json, services


async def healthz(_: Request) -> Response:
    """Answer while the process lives."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Answer 200 while actions are taken in and a kill would be written, 503 with the reason otherwise."""
    daemon = services(request)
    problems = []
    if not daemon.store.reachable:
        problems.append("the revocation store does not answer")
    if daemon.engine.is_overloaded:
        problems.append("too many actions wait to be scored")
    return json({"ready": not problems, "problems": problems}, 503 if problems else 200)


async def get_status(request: Request) -> Response:
    """Answer what the feed's `status` messages hold."""
    return json(services(request).status())


async def get_metrics(request: Request) -> Response:
    """Answer in the Prometheus text format."""
    daemon = services(request)
    disk = await asyncio.to_thread(read_disk, daemon)
    return PlainTextResponse(
        render({**daemon.metrics(), **measured(daemon, disk)}, daemon.histograms()),
        media_type="text/plain; version=0.0.4; charset=utf-8",
    )
