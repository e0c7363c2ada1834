"""``GET /v1/audit``: who did what."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from monitor.web.authentication import gate_of
from monitor.web.responses import Problem, json
from monitor.web.views import MAX_LISTED, limit_of


async def get_audit(request: Request) -> Response:
    """List the audit trail, newest first, a page at a time."""
    before = request.query_params.get("before")
    if before is not None and not re.fullmatch("[0-9]{1,18}", before):
        raise Problem(422, "before is the 'next' of an earlier page", "before")
    entries, following = await gate_of(request).trail.page(
        limit_of(request, MAX_LISTED), None if before is None else int(before)
    )
    return json({"entries": entries, "next": following})
