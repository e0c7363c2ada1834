"""Posting a batch of encoded actions to a daemon over one kept connection, and reading what became of each.

Standard library only: it is the sensor's other half and lives inside other people's agents.
"""

from __future__ import annotations

import http.client
import json
import logging
import socket
import ssl
import time
from typing import NamedTuple
from urllib.parse import urlsplit

_log = logging.getLogger(__name__)

_MAX_ANSWER_BYTES = 4 * 1024 * 1024  # security limit; an honest answer to a full batch is far smaller


class Outcomes(NamedTuple):
    """What the daemon's answer says of a batch; `rejected` maps an index to (field, error)."""

    duplicates: int
    rejected: dict[int, tuple[str, str]]


class Answer(NamedTuple):
    """An HTTP answer with the ``time.monotonic()`` of its arrival; `status` 0 says why there is none."""

    status: int
    body: bytes
    at_s: float
    retry_after_s: float = 0.0

    @property
    def is_hopeless(self) -> bool:
        """Whether the daemon will never take these bytes, so that sending them again is pointless."""
        return self.status in (400, 413, 422)

    def outcomes(self, sent: int) -> Outcomes | None:
        """Return what happened to each of `sent` actions, or None if the answer does not account for all."""
        if self.status not in (200, 422):
            return None
        try:
            document = json.loads(self.body)
            rejected = {
                int(item["index"]): (str(item.get("field") or ""), str(item.get("error", "")))
                for item in document["rejected"]
            }
            accepted, duplicates = int(document["accepted"]), int(document["duplicates"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        complete = accepted + duplicates + len(rejected) == sent and rejected.keys() <= set(range(sent))
        return Outcomes(duplicates, rejected) if complete and min(accepted, duplicates) >= 0 else None

    def problem(self) -> str:
        """Return what is wrong, in words."""
        text = self.body[:300].decode("utf-8", "replace")
        return f"the daemon answered {self.status}: {text}" if self.status else f"no answer: {text}"


class IngestClient:
    """One keep-alive connection to a daemon's ``POST /v1/actions``, opened when needed.

    `post` belongs to one thread; `interrupt` may be called from another.

    Parameters
    ----------
    url
        The daemon's address: ``http`` or ``https``, with a path prefix if a proxy needs one.
    token
        The daemon's ingest token.
    timeout_s
        Bound on each wait for the network, in seconds.
    tls
        How the certificate of an ``https`` daemon is judged; None: by the system's authorities.

    Raises
    ------
    ValueError
        If the address is not one.
    """

    def __init__(self, url: str, token: str, timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an address like http://127.0.0.1:8787")
        self.timeout_s = timeout_s
        self._path = parts.path.rstrip("/") + "/v1/actions"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_s, context=tls
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
        self._is_interrupted = False

    def post(self, body: bytes) -> Answer:
        """Post NDJSON and return the answer; a network failure is one with status 0, never an exception."""
        was_kept = self._connection.sock is not None
        try:
            return self._exchange(body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            failure = error
        # A daemon may close an idle connection at any time: that is no failure, a new one is tried at once.
        if was_kept and not isinstance(failure, TimeoutError) and not self._is_interrupted:
            return self.post(body)
        return Answer(0, f"{type(failure).__name__}: {failure}".encode(), time.monotonic())

    def _exchange(self, body: bytes) -> Answer:
        self._connection.request("POST", self._path, body, self._headers)
        response = self._connection.getresponse()
        content = response.read(_MAX_ANSWER_BYTES)
        at_s = time.monotonic()
        if not response.isclosed():  # longer than any honest answer: the rest would be read as the next one
            self._connection.close()
        return Answer(response.status, content, at_s, _seconds(response.getheader("Retry-After")))

    def interrupt(self) -> None:
        """End a wait in `post`, for good: to be called when stopping."""
        self._is_interrupted = True
        sock = self._connection.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                _log.debug("the connection was already gone: %s", error)

    def close(self) -> None:
        """Close the connection; the next `post` would open a new one."""
        self._connection.close()


def _seconds(header: str | None) -> float:
    """Return Retry-After in seconds; 0 without one or for its date form (RFC 9110 §10.2.3)."""
    return float(header.strip()) if header and header.strip().isdecimal() else 0.0
