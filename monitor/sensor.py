"""The sensor: what an agent's owner puts beside the agent so that Killcord sees what it does.

It lives inside other people's processes, so it imports the standard library only, never blocks the agent
and never raises into it. Actions wait in a bounded buffer and one background thread posts them, oldest
first. Each action has an id before its first attempt, so a batch that was sent twice counts once and the
sensor may retry for ever. `Sensor.session` follows one run besides, and computes where its actions' values
come from (`monitor.flow`), so that what tools answered need not leave the host.

When it cannot deliver, it keeps what it has and goes on trying; when the buffer is full it refuses the
*newest* action and counts it in ``dropped`` (the older ones are nearer to being durable, and may hold the
start of an attack). It never stops the agent: that is the `Guard`'s part, which fails closed on its own.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any, NamedTuple, Self

from monitor.ingest_client import Answer, IngestClient, Outcomes
from monitor.sensor_session import SensorSession

_log = logging.getLogger(__name__)

MAX_ACTION_BYTES = 256 * 1024
"""Security limit: a larger action is refused here, where its owner can see it, not by the daemon."""

MAX_BUFFER_BYTES = 64 * 1024 * 1024
"""Security limit on memory, beside the number of actions."""

_MAX_BATCH_BYTES = 1024 * 1024  # well below what a daemon takes in one request
_MAX_BACKOFF_S = 5.0
_LAST_ERRORS = 20

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=str, ensure_ascii=False).encode


class Rejection(NamedTuple):
    """An action that will never be delivered: `field` names what is wrong with it, where that is known."""

    id: str
    field: str
    error: str


@dataclass(frozen=True, slots=True)
class Counters:
    """What became of the actions given to `Sensor.send`.

    ``accepted + duplicates + rejected + dropped + pending`` equals the number of calls.
    """

    accepted: int = 0
    """Durable at the daemon."""
    duplicates: int = 0
    """Durable at the daemon before, under the same id."""
    rejected: int = 0
    """Refused for what they say; never tried again."""
    dropped: int = 0
    """Not taken because the buffer was full or the sensor closed."""
    pending: int = 0
    """Waiting, or sent and not yet acknowledged."""
    retries: int = 0
    """Attempts that failed and were made again."""
    untraced: int = 0
    """Actions of a `session` that went without `flow`, and words and outputs that it could not read; not in the sum."""


class _Line(NamedTuple):
    id: str
    body: bytes


class Sensor:
    """Streams an agent's actions to a Killcord daemon without ever blocking the agent.

    Create it after forking: the thread that sends does not survive a fork. Call `close` before the process
    ends: what is pending then is lost. All methods are thread-safe.

    Parameters
    ----------
    url
        The daemon's address, such as ``http://127.0.0.1:8787``; ``https`` works too.
    token
        The daemon's ingest token.
    capacity
        Actions kept while they cannot be delivered; beyond it `send` refuses. `MAX_BUFFER_BYTES` bounds
        memory besides.
    batch
        Actions a request carries at most. Nothing waits for a batch to fill.
    timeout_s
        Bound on each wait for the network, in seconds.
    on_ack
        Called in the sensor's thread with the ids that one answer made certain to be durable, and the
        ``time.monotonic()`` at which the answer was there; before `flush` returns for them.
    on_reject
        Called for each action that will never be delivered: in the sensor's thread for what the daemon
        refused, in the caller's for what cannot be encoded.
    tls
        How the certificate of an ``https`` daemon is judged; by the system's authorities if not given.

    Raises
    ------
    ValueError
        If the address or a number makes no sense.

    Examples
    --------
    >>> sensor = Sensor("http://127.0.0.1:1", token="ingest-token")  # nobody listens there
    >>> sensor.send({"agent_id": "billing-bot", "tool": "get_invoice", "args": {"invoice": "INV-1"}})
    True
    >>> sensor.counters().pending
    1
    >>> sensor.close(timeout_s=0.0)  # one was not delivered
    False
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        capacity: int = 10_000,
        batch: int = 200,
        timeout_s: float = 5.0,
        on_ack: Callable[[Sequence[str], float], object] | None = None,
        on_reject: Callable[[Rejection], object] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if capacity < 1 or batch < 1 or timeout_s <= 0:
            raise ValueError("capacity and batch must be at least 1, timeout_s above 0")
        self._client = IngestClient(url, token, timeout_s, tls)
        self._capacity = capacity
        self._batch = batch
        self._on_ack = on_ack
        self._on_reject = on_reject
        self._changed = threading.Condition()
        # Everything below is read and written under `_changed` only.
        self._lines: deque[_Line] = deque()
        self._buffered_bytes = 0
        self._taken = 0  # lines ever put into the buffer, and ...
        self._settled = 0  # ... lines that left it: in order, so flush() can wait for a position
        self._closed = False
        self._tally = dict.fromkeys(
            ("accepted", "duplicates", "rejected", "dropped", "retries", "untraced"), 0
        )
        self._errors: deque[str] = deque(maxlen=_LAST_ERRORS)
        self._thread = threading.Thread(target=self._run, name="killcord-sensor", daemon=True)
        self._thread.start()

    # --- what the agent calls -------------------------------------------------------------------------

    def send(self, action: Mapping[str, Any]) -> bool:
        """Take one action and return at once whether it was taken; about 15 µs, and it never raises.

        ``id`` (random) and ``ts`` (now) are filled in where they are absent. The action is encoded here, so
        what the agent changes afterwards changes nothing. What JSON does not know is sent as its ``str``, half of a
        surrogate pair as ``?``: the daemon would refuse it, and the action would not be seen.
        """
        document = {"id": uuid.uuid4().hex, "ts": time.time(), **action}
        action_id = str(document["id"])
        try:
            body = _encode(document).encode("utf-8", "replace")
        except Exception as error:  # default=str runs foreign code, which may raise anything
            return self._refuse(action_id, f"not JSON: {type(error).__name__}: {error}")
        if len(body) > MAX_ACTION_BYTES:
            return self._refuse(action_id, f"{len(body)} bytes, more than {MAX_ACTION_BYTES}")
        with self._changed:
            if self._closed or self._is_full(len(body)):
                self._tally["dropped"] += 1
                return False
            self._lines.append(_Line(action_id, body))
            self._buffered_bytes += len(body)
            self._taken += 1
            self._changed.notify_all()
        return True

    def session(
        self,
        *,
        agent_id: str,
        session_id: str | None = None,
        task: str | None = None,
        on_behalf_of: str | Sequence[str] = (),
        **fields: Any,
    ) -> SensorSession:
        """Return one run of an agent, to be told what it does and sees; never raises.

        Parameters
        ----------
        agent_id, session_id, on_behalf_of
            As in an action (`docs/actions.md`); a random `session_id` if none is given.
        task
            What the human asked for, in words: the words that the run's actions are compared with.
        fields
            Other fields that every action of the run carries, such as `agent_version` or `credential`.
        """
        chain = [on_behalf_of] if isinstance(on_behalf_of, str) else on_behalf_of
        run = {"agent_id": agent_id, "session_id": session_id or uuid.uuid4().hex, "on_behalf_of": chain}
        return SensorSession(self.send, self._note_untraced, task, {**run, **fields})

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything sent before this call is acknowledged or rejected; return whether it is."""
        with self._changed:
            target = self._taken
            self._changed.wait_for(lambda: self._settled >= target or self._closed, timeout_s)
            return self._settled >= target

    def close(self, timeout_s: float = 5.0) -> bool:
        """Flush for at most `timeout_s`, stop, and return whether everything was settled. Idempotent."""
        is_settled = self.flush(timeout_s)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._client.interrupt()
        if threading.current_thread() is not self._thread:  # a callback may close the sensor
            self._thread.join(self._client.timeout_s)
        return is_settled

    def counters(self) -> Counters:
        """Return what became of the actions so far; a consistent snapshot."""
        with self._changed:
            return Counters(**self._tally, pending=len(self._lines))

    def last_errors(self) -> tuple[str, ...]:
        """Return the latest problems in words, oldest first: at most 20."""
        with self._changed:
            return tuple(self._errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the thread that sends ------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = _Backoff()
        size = self._batch
        while lines := self._next(size):
            answer = self._client.post(b"\n".join(line.body for line in lines))
            outcomes = answer.outcomes(len(lines))
            if outcomes is None and not answer.is_hopeless:
                self._wait(backoff.next_s(answer.retry_after_s), answer.problem())
            elif outcomes is None and len(lines) > 1:
                size = len(lines) // 2  # one of them spoils the others: find it
            else:
                self._settle(lines, outcomes or Outcomes(0, {0: ("", answer.problem())}), answer)
                size = self._batch
                backoff.reset()
        self._client.close()

    def _next(self, size: int) -> list[_Line]:
        """Wait for actions and return the oldest, which stay in the buffer; nothing once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._lines)
            lines: list[_Line] = []
            batch_bytes = 0
            for line in () if self._closed else self._lines:
                batch_bytes += len(line.body)
                if lines and (len(lines) == size or batch_bytes > _MAX_BATCH_BYTES):
                    break
                lines.append(line)
            return lines

    def _settle(self, lines: list[_Line], outcomes: Outcomes, answer: Answer) -> None:
        """Take a batch out of the buffer: each of its actions is durable now, or never will be."""
        durable = [line.id for index, line in enumerate(lines) if index not in outcomes.rejected]
        rejections = [Rejection(lines[index].id, *why) for index, why in outcomes.rejected.items()]
        if durable:
            self._call(self._on_ack, durable, answer.at_s)
        for rejection in rejections:
            self._call(self._on_reject, rejection)
        with self._changed:
            for _ in lines:
                self._buffered_bytes -= len(self._lines.popleft().body)
            self._settled += len(lines)
            self._tally["duplicates"] += outcomes.duplicates
            self._tally["accepted"] += len(durable) - outcomes.duplicates
            self._tally["rejected"] += len(rejections)
            self._errors.extend(f"action {one.id}: {one.field}: {one.error}" for one in rejections)
            self._changed.notify_all()

    def _wait(self, delay_s: float, problem: str) -> None:
        with self._changed:
            self._tally["retries"] += 1
            self._errors.append(problem)
            self._changed.wait_for(lambda: self._closed, delay_s)

    def _refuse(self, action_id: str, error: str) -> bool:
        """Count an action that could not even be sent; the answer that `send` gives for it."""
        with self._changed:
            self._tally["rejected"] += 1
            self._errors.append(f"action {action_id}: {error}")
        self._call(self._on_reject, Rejection(action_id, "", error))
        return False

    def _note_untraced(self, what: str, error: Exception) -> None:
        _log.debug("%s could not be followed", what, exc_info=error)
        with self._changed:
            self._tally["untraced"] += 1  # the error's own words may be what fails
            self._errors.append(f"{what} could not be followed: {type(error).__name__}")

    def _is_full(self, more_bytes: int) -> bool:
        return len(self._lines) >= self._capacity or self._buffered_bytes + more_bytes > MAX_BUFFER_BYTES

    def _call(self, callback: Callable[..., object] | None, *args: object) -> None:
        if callback is None:
            return
        try:
            callback(*args)
        except Exception:  # the owner's code must not be able to stop the stream, nor the sensor the agent
            _log.exception("a callback of the sensor failed")


class _Backoff:
    """Growing waits with jitter: 0.05 s doubling to 5 s, or what the daemon asks for within that bound."""

    def __init__(self) -> None:
        self._random = Random()  # noqa: S311 - spreads retries in time, guards nothing
        self._failures = 0

    def next_s(self, asked_s: float) -> float:
        """Return how long to wait after one more failure."""
        ceiling_s = min(_MAX_BACKOFF_S, 0.05 * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return min(_MAX_BACKOFF_S, max(asked_s, ceiling_s * self._random.uniform(0.5, 1.0)))

    def reset(self) -> None:
        """Start over after a success."""
        self._failures = 0
