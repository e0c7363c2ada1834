"""Reading the parameters of a query string; what is wrong is refused with the field's name."""

from __future__ import annotations

import re

from starlette.requests import Request

from monitor.web.responses import Problem

MAX_LISTED = 1000


def limit_of(request: Request, most: int, default: int = 200) -> int:
    """Return ``limit`` of the query, `default` if it is not there; 422 if it is none."""
    text = request.query_params.get("limit", str(default))
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise Problem(422, f"limit is a number from 1 to {most}", "limit")
    return int(text)


def before(request: Request) -> int | None:
    """Return the cursor of a page, None for the first."""
    text = request.query_params.get("before")
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,18}", text):
        raise Problem(422, "before is the `next` of the page before this one", "before")
    return int(text)


def flag(request: Request, name: str) -> bool:
    """Return whether a flag is set: 1 or 0, and 0 if it is not there."""
    text = request.query_params.get(name, "0")
    if text not in ("0", "1"):
        raise Problem(422, f"{name} is 0 or 1", name)
    return text == "1"
