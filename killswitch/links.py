"""Connections to Redis: one for commands, one for pushes. All waits are bounded, nothing retries by itself.

redis-py's client would retry for us: ten times, with back-off, on time-outs too, so that one kill can block
for a minute and be applied twice. A kill path must know which attempt it is on. So we use its connections
(TLS, ACL, Unix sockets, both parsers come with them) and leave the client out. Everything speaks RESP2, whose
replies look the same in every redis-py since 5.0.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from killswitch.errors import InvalidRequest, StoreRefused, StoreUnreachable

Arg = str | bytes | int | float
Message = tuple[str, bytes, bytes]


class Link:
    """One connection for commands, answered in order. Not safe for several threads at once.

    Parameters
    ----------
    url : str
        ``redis://``, ``rediss://`` or ``unix://``, with user and password if needed.
    timeout_s : float
        Longest wait, in seconds, for the connection and for each reply.

    Raises
    ------
    InvalidRequest
        If `url` is no Redis URL.
    StoreUnreachable
        If the server does not answer in time, or not to this user and password.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = url
        try:
            pool = redis.ConnectionPool.from_url(
                url,
                protocol=2,
                decode_responses=False,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                health_check_interval=0,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise InvalidRequest("url", f"{redact(url)!r} is no Redis URL: {error}") from error
        self._untaken = 0  # replies that nobody waits for
        self._connection: Any = pool.connection_class(**pool.connection_kwargs)
        self._is_open = True
        try:
            self._connection.connect()
        except (redis.RedisError, OSError) as error:
            raise self._unreachable(error) from error

    def call(self, *args: Arg) -> Any:
        """Send one command and return its reply.

        Raises
        ------
        StoreUnreachable
            If no reply came in time; the connection is then closed and of no further use.
        StoreRefused
            If the reply is an error.
        """
        self.send(args)
        return self.receive()

    def send(self, *commands: Iterable[Arg]) -> None:
        """Send commands without waiting; fetch one reply for each with :meth:`receive`, in order."""
        if (
            not self._is_open
        ):  # redis-py would quietly connect again, and a new connection has no subscription
            raise StoreUnreachable(f"the connection to {redact(self._url)} is closed")
        try:
            packed = self._connection.pack_commands([tuple(command) for command in commands])
            self._connection.send_packed_command(packed, check_health=False)
        except (redis.RedisError, OSError) as error:
            raise self._unreachable(error) from error

    def tell(self, *args: Arg) -> None:
        """Send one command whose reply nobody needs; the next :meth:`receive` passes over it."""
        self.send(args)
        self._untaken += 1

    def receive(self) -> Any:
        """Return the next reply, waiting for it up to the time-out; raises like :meth:`call`."""
        while self._untaken:
            self._untaken -= 1
            with suppress(StoreRefused):
                self._receive()
        return self._receive()

    def _receive(self) -> Any:
        try:
            reply = self._connection.read_response()
        except redis.ResponseError as error:
            raise StoreRefused(f"the store refused: {error}") from error
        except Exception as error:
            raise self._lost(error) from error
        if isinstance(reply, Exception):
            raise StoreRefused(f"the store refused: {reply}") from reply
        return reply

    def readable(self, timeout_s: float) -> bool:
        """Return whether a reply can be read within `timeout_s` seconds."""
        try:
            return bool(self._connection.can_read(timeout=timeout_s))
        except Exception as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Close the connection, waking a thread that waits on it with StoreUnreachable. Idempotent."""
        self._is_open = False
        self._connection.disconnect()

    def _lost(self, error: Exception) -> Exception:
        """Return the error to raise: ours, if the connection broke or another thread closed it under us.

        A parser whose socket is taken away fails in many ways (TypeError, ValueError, AttributeError ...).
        """
        if isinstance(error, redis.RedisError | OSError) or not self._is_open:
            return self._unreachable(error)
        return error

    def _unreachable(self, error: Exception) -> StoreUnreachable:
        self.close()
        what = str(error) or type(error).__name__
        return StoreUnreachable(f"cannot reach the store at {redact(self._url)} ({what}); is it running?")


class Push:
    """One connection that receives what is published. It never reconnects: a lost one has lost messages.

    Parameters
    ----------
    url, timeout_s
        As for :class:`Link`.
    channels : iterable of str
        What to subscribe to. The constructor returns when the server has confirmed all of them, so that
        everything published after it is delivered.
    """

    def __init__(self, url: str, channels: Iterable[str], *, timeout_s: float) -> None:
        self._link = Link(url, timeout_s=timeout_s)
        wanted = list(channels)
        self._link.send(["SUBSCRIBE", *wanted])
        try:
            for _ in wanted:
                self._link.receive()
        except BaseException:
            self._link.close()
            raise

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next ``(kind, channel, data)`` or None after `timeout_s` seconds.

        ``kind`` is ``message`` or ``pong``; for a pong, ``data`` is what :meth:`ping` sent.
        """
        if not self._link.readable(timeout_s):
            return None
        reply = self._link.receive()
        kind = reply[0].decode()
        return kind, cast("bytes", reply[1]) if kind == "message" else b"", cast("bytes", reply[-1])

    def ping(self, nonce: str) -> None:
        """Ask for a pong. What was published before the server answers arrives before the answer."""
        self._link.send(["PING", nonce])

    def close(self) -> None:
        """Close the connection, waking a thread that waits on it with StoreUnreachable. Idempotent."""
        self._link.close()


def redact(url: str) -> str:
    """Return `url` without its password, for messages and logs."""
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at:
        return url
    user = credentials.partition(":")[0]
    return f"{scheme}{separator}{user}:***@{place}"
