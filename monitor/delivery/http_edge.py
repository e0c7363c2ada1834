"""Sending over HTTP: one connection pool for each route, every wait bounded, every answer judged in one place.

What the receiver says of a message is not what it says of the route. A message that it will never take (400, 413, 422)
is refused and set aside. Trouble with the route itself (a key that ran out, an address that moved, too many requests,
a broken server) delays: the messages are worth keeping until somebody has put it right.

Redirects are not followed: they would take signed messages, and keys, to an address that nobody configured. Where the
address leads, a private network say, is the operator's own choice.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from monitor.errors import DeliveryDelayed, DeliveryRefused

if TYPE_CHECKING:
    import httpx

MAX_ANSWER_BYTES: Final = 2048
"""Security limit: so much of an answer is read and kept."""
OF_THE_ROUTE: Final = frozenset({401, 403, 404, 405, 407, 408, 410, 421, 423, 425, 426, 429, 451})
"""Refusals that are about the route, not the message (RFC 9110 §15.5, RFC 6585, RFC 8470)."""


class HttpSender:
    """Posts to one address. For one event loop."""

    def __init__(self, url: str, *, timeout_s: float, ca_file: str = "") -> None:
        import httpx  # only where it is used: `killcord kill` must start fast

        self._url = url
        self._client = httpx.AsyncClient(
            timeout=timeout_s,
            follow_redirects=False,
            trust_env=False,
            verify=ssl.create_default_context(cafile=ca_file) if ca_file else True,
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),
            headers={"User-Agent": "killcord"},
        )

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Return when the receiver has taken the body; raises `DeliveryDelayed` or `DeliveryRefused`."""
        import httpx

        try:
            async with self._client.stream(
                "POST", self._url, content=body, headers=dict(headers)
            ) as response:
                answer = b"" if response.is_success else await _beginning(response)
        except (httpx.HTTPError, OSError) as error:
            raise DeliveryDelayed(f"no answer: {error or type(error).__name__}") from error
        judge(response.status_code, response.headers, answer.decode(errors="replace"), time.time())

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def _beginning(response: httpx.Response) -> bytes:
    found = b""
    async for part in response.aiter_raw():
        found += part
        if len(found) >= MAX_ANSWER_BYTES:
            break
    return found[:MAX_ANSWER_BYTES]


def judge(status: int, headers: Mapping[str, str], answer: str, now_s: float) -> None:
    """Raise what an answer means, nothing if it means success. Pure."""
    if 200 <= status < 300:
        return
    said = f"answered {status}{': ' if answer else ''}{answer[:200]}"
    if 300 <= status < 400:
        raise DeliveryDelayed(
            f"answered {status}: redirects are not followed, configure the address that it leads to"
        )
    if 400 <= status < 500 and status not in OF_THE_ROUTE:
        raise DeliveryRefused(said, answer)
    raise DeliveryDelayed(said, retry_after_s(headers.get("retry-after", ""), now_s))


def retry_after_s(value: str, now_s: float) -> float:
    """Return the seconds that a ``Retry-After`` asks for (RFC 9110 §10.2.3), 0 if it says nothing that can be read."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_s)
    except (ValueError, OverflowError):
        return 0.0
