"""``POST /v1/actions``: one action, an array, or NDJSON; answered when it is on disk."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from monitor.errors import LogError
from monitor.intake.action import Action, parse_document
from monitor.intake.dead_letters import DeadLetter
from monitor.intake.observation import Observation
from monitor.services import Services
from monitor.web.responses import Problem, json, read_body, services

YIELD_AFTER_S = 0.003
"""After so long the event loop gets a turn: a large batch, or one with long outputs, must not delay anything else."""

MAX_REJECTIONS_SHOWN = 1000
RETRY_AFTER_S = "1"

_ACTION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "ts", "agent_id", "tool"],
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 200},
        "ts": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]},
        "agent_id": {"type": "string", "minLength": 1, "maxLength": 200},
        "tool": {"type": "string", "minLength": 1, "maxLength": 200},
        "session_id": {"type": "string"},
        "args": {"type": "object"},
    },
}
ACTIONS_SCHEMA: Final[dict[str, Any]] = {"anyOf": [_ACTION, {"type": "array", "items": _ACTION}]}
"""The body in outline, for the API's own description; docs/actions.md has every field. NDJSON is taken too."""


async def post_actions(request: Request) -> Response:
    """Take actions in; a bad one costs only itself."""
    daemon = services(request)
    if daemon.engine.is_overloaded:
        raise Problem(
            503, "too many actions wait to be scored; send again", headers={"Retry-After": RETRY_AFTER_S}
        )
    body = await read_body(request)
    since_s = time.monotonic()
    observations, rejected = await _parse(daemon, body)
    try:
        receipt = await daemon.engine.ingest(observations)
    except LogError as error:
        raise Problem(
            503, f"not durable, so not taken: {error}", headers={"Retry-After": RETRY_AFTER_S}
        ) from error
    if observations:
        daemon.telemetry.ingest_latency.observe(time.monotonic() - since_s)
    status = 422 if rejected and not observations else 200
    return json(
        {"accepted": receipt.accepted, "duplicates": receipt.duplicates, "rejected": rejected}, status
    )


async def _parse(daemon: Services, body: bytes) -> tuple[list[Observation], list[dict[str, object]]]:
    observations: list[Observation] = []
    rejected: list[dict[str, object]] = []
    letters: list[DeadLetter] = []
    since_s = time.monotonic()
    for index, parsed in enumerate(parse_document(body)):
        if isinstance(parsed, Action):
            observations.append(daemon.observer.observe(parsed))
        else:
            letters.append(DeadLetter(parsed.document, parsed.field, str(parsed)))
            if len(rejected) < MAX_REJECTIONS_SHOWN:
                rejected.append({"index": index, "field": parsed.field, "error": str(parsed)})
        if time.monotonic() - since_s > YIELD_AFTER_S:
            await asyncio.sleep(0)
            since_s = time.monotonic()
    if letters:
        await asyncio.to_thread(daemon.dead_letters.write, letters)
    return observations, rejected
