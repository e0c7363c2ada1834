"""Connections to Redis: one for commands, one for pushes. All waits are bounded, nothing retries by itself.

redis-py's client would retry for us: ten times, with back-off, on time-outs too, so that one kill can block
for a minute and be applied twice. A kill path must know which attempt it is on. So we use its connections
(TLS, ACL, Unix sockets, both parsers come with them) and leave the client out. Everything speaks RESP2, whose
replies look the same in every redis-py since 5.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from killswitch.errors import InvalidRequest, StoreRefused, StoreUnreachable
from killswitch.storage.replies import BadReply, ErrorReply, Replies, Reply
from killswitch.storage.wire import NOTHING_YET, Wire

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
        If `url` is no Redis URL, or one with options that are ours to set: time-outs, retries, formats.
    StoreUnreachable
        If the server does not answer in time, or not to this user and password.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = url
        ours: dict[str, Any] = {
            "protocol": 2,
            "decode_responses": False,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "health_check_interval": 0,
            "retry": Retry(NoBackoff(), 0),
        }
        try:
            pool = redis.ConnectionPool.from_url(url, **ours)
            _require(pool.connection_kwargs, ours)
            self._connection: Any = pool.connection_class(**pool.connection_kwargs)
        except (ValueError, TypeError, redis.RedisError) as error:
            raise InvalidRequest("url", f"{redact(url)!r} is no Redis URL: {error}") from error
        self._is_open = True
        try:
            self._connection.connect()
        except (redis.RedisError, OSError, UnicodeError) as error:  # the last: a name that no host can have
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

    def receive(self) -> Any:
        """Return the next reply, waiting for it up to the time-out; raises like :meth:`call`."""
        try:
            reply = self._connection.read_response()
        except redis.ResponseError as error:
            raise StoreRefused(f"the store refused: {error}") from error
        except Exception as error:
            raise self.lost(error) from error
        if isinstance(reply, Exception):
            raise StoreRefused(f"the store refused: {reply}") from reply
        return reply

    def readable(self, timeout_s: float) -> bool:
        """Return whether a reply can be read within `timeout_s` seconds."""
        try:
            return bool(self._connection.can_read(timeout=timeout_s))
        except Exception as error:
            raise self.lost(error) from error

    def socket(self) -> Any:
        """Return the connected socket: to read it in our place, or to wait for it.

        Raises
        ------
        StoreUnreachable
            If it is closed.
        """
        sock = self._connection._sock  # the name has not changed since redis-py 2
        if sock is None:
            raise self.lost(ConnectionResetError("closed"))
        return sock

    def close(self) -> None:
        """Close the connection, waking a thread that waits on it with StoreUnreachable. Idempotent."""
        self._is_open = False
        self._connection.disconnect()

    def lost(self, error: Exception) -> Exception:
        """Return the error to raise: ours, if the connection broke or another thread closed it under us.

        A parser whose socket is taken away fails in many ways (TypeError, ValueError, AttributeError ...).
        """
        if isinstance(error, redis.RedisError | OSError | BadReply) or not self._is_open:
            return self._unreachable(error)
        return error

    def _unreachable(self, error: Exception) -> StoreUnreachable:
        self.close()
        what = str(error) or type(error).__name__
        return StoreUnreachable(f"cannot reach the store at {redact(self._url)} ({what}); is it running?")


class Push:
    """One connection that receives what is published. It never reconnects: a lost one has lost messages.

    redis-py makes the connection; from then on its socket is read here, directly. Each layer that a kill passes on its
    way in costs every point time.

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
        self._wire = Wire(self._link.socket(), timeout_s)
        self._replies = Replies()
        wanted = list(channels)
        try:
            self._link.send(["SUBSCRIBE", *wanted])
            for _ in wanted:
                if self._reply(timeout_s, None) is None:
                    raise self._link.lost(TimeoutError(f"no answer to SUBSCRIBE within {timeout_s} s"))
        except BaseException:
            self._link.close()
            raise

    def receive(self, timeout_s: float | None, wake: Link | None = None) -> Message | None:
        """Return the next ``(kind, channel, data)`` or None after `timeout_s` seconds (None: as many as the last time).

        ``kind`` is ``message`` or ``pong``; for a pong, ``data`` is what :meth:`ping` sent. With `wake`, None is
        returned as soon as there is something to read on that link too.
        """
        reply = self._reply(timeout_s, wake)
        if reply is None:
            return None
        if len(reply) == 3 and reply[0] == b"message":
            _, channel, data = reply
            if type(channel) is bytes and type(data) is bytes:
                return "message", channel, data
        match reply:
            case [bytes(kind), bytes(data)]:
                return kind.decode(errors="replace"), b"", data
        raise self._link.lost(BadReply(f"neither a message nor a pong: {reply!r:.100}"))

    def holds_more(self) -> bool:
        """Return whether more was read together with the last message than that, perhaps another one."""
        return self._replies.holds_more()

    def ping(self, nonce: str) -> None:
        """Ask for a pong. What was published before the server answers arrives before the answer."""
        with suppress(OSError):  # a socket that was closed; sending says so in our words
            self._wire.ready_to_send()
        self._link.send(["PING", nonce])

    def close(self) -> None:
        """Close the connection, waking a thread that waits on it with StoreUnreachable. Idempotent."""
        self._link.close()

    def _reply(self, timeout_s: float | None, wake: Link | None) -> Reply | None:
        replies = self._replies
        try:
            reply = replies.next()
            while reply is None:
                if wake is None:
                    replies.feed(self._wire.read(timeout_s))
                elif self._wire.is_first_of(wake.socket(), timeout_s or 0.0):
                    replies.feed(self._wire.read(0.0))
                else:
                    return None
                reply = replies.next()
        except NOTHING_YET:
            return None
        except ErrorReply as error:
            raise StoreRefused(f"the store refused: {error}") from error
        except (OSError, BadReply) as error:
            raise self._link.lost(error) from error
        return reply


def _require(options: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Refuse a URL whose options take the place of ours: redis-py prefers those, and waits would have no end."""
    for name, value in ours.items():
        if options.get(name) != value:
            raise ValueError(f"leave out its option {name}")


def redact(url: str) -> str:
    """Return `url` without its password, for messages and logs."""
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at:
        return url
    user = credentials.partition(":")[0]
    return f"{scheme}{separator}{user}:***@{place}"
