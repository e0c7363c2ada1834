"""``GET /v1/audit``: who did what."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from monitor.web.authentication import gate_of
from monitor.web.queries import MAX_LISTED, before, limit_of
from monitor.web.responses import json


async def get_audit(request: Request) -> Response:
    """List the audit trail, newest first, a page at a time."""
    entries, following = await gate_of(request).trail.page(limit_of(request, MAX_LISTED), before(request))
    return json({"entries": entries, "next": following})
