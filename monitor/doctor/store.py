"""The revocation store: whether it is there, keeps what it is told, and lets in whom it should."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from killswitch.storage.links import redact
from monitor.doctor.finding import Finding, fail, ok, skipped, warn
from monitor.doctor.installation import STORE_TIMEOUT_S, Installation

SKEW_WARN_S: Final = 0.5
SKEW_FAIL_S: Final = 5.0
OLDEST: Final = (7, 2)
"""The first version with WAITAOF: an older one cannot say whether a kill is on disk."""

_UNKNOWN: Final = "it is not known where the store is: no daemon runs here, and none was named with --redis"
_AWAY: Final = "the store does not answer"


class _Unknown(Exception):
    """There is no store to ask."""


@contextlib.contextmanager
def _client(installation: Installation, url: str = "") -> Iterator[Any]:
    if not installation.store_url:
        raise _Unknown(_UNKNOWN)
    client: Any = redis.Redis.from_url(
        url or installation.store_url,
        socket_timeout=STORE_TIMEOUT_S,
        socket_connect_timeout=STORE_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
    with client:
        yield client


def reachable(installation: Installation) -> Finding:
    """Say whether the store answers to the daemon's user."""
    if not installation.store_url:
        return skipped(_UNKNOWN)
    name = redact(installation.store_url)
    try:
        with _client(installation) as client:
            client.time()
    except redis.AuthenticationError as error:
        return fail(f"{name} refuses the daemon's user: {error}", "put user and password in redis_url right")
    except redis.ResponseError as error:
        return fail(f"{name} answers with an error: {error}", "see the store's log")
    except (redis.RedisError, OSError, ValueError) as error:
        if installation.is_store_embedded and not installation.is_running:
            return skipped("the embedded store rests with its daemon")
        return fail(
            f"{name} does not answer: {error}",
            "start the store; kills are kept, and points refuse by their lease",
        )
    return ok(f"{name} answers")


def clock(installation: Installation) -> Finding:
    """Say how far the store's clock and ours are apart: suspensions and leases go by them."""
    try:
        with _client(installation) as client:
            before_s = time.time()
            seconds, micros = client.time()
            after_s = time.time()
    except (_Unknown, redis.RedisError, OSError, ValueError):
        return skipped(_AWAY if installation.store_url else _UNKNOWN)
    skew_s = seconds + micros / 1e6 - (before_s + after_s) / 2
    apart = f"the store's clock is {abs(skew_s):.3f} s {'ahead of' if skew_s > 0 else 'behind'} ours"
    advice = "synchronise both clocks (chrony, systemd-timesyncd): suspensions end by them"
    if abs(skew_s) > SKEW_FAIL_S:
        return fail(apart, advice)
    return warn(apart, advice) if abs(skew_s) > SKEW_WARN_S else ok(apart)


def version(installation: Installation) -> Finding:
    """Say whether the store is new enough to say what it has on disk."""
    found = _info(installation, "server")
    if isinstance(found, Finding):
        return found
    name = "valkey" if "valkey_version" in found else "redis"
    text = str(found.get("valkey_version") or found.get("redis_version") or "")
    compatible = str(found.get("redis_version") or text)
    number = tuple(int(part) for part in compatible.split(".")[:2] if part.isdigit())
    if number < OLDEST:
        return warn(
            f"the store is {name} {text}", "use 7.2 or newer: this one cannot say whether a kill is on disk"
        )
    return ok(f"the store is {name} {text}")


def persistence(installation: Installation) -> Finding:
    """Say whether a kill survives a restart of the store."""
    found = _info(installation, "persistence")
    if isinstance(found, Finding):
        return found
    if int(found.get("loading", 0)):
        return warn("the store is loading its data", "wait until it has")
    if not int(found.get("aof_enabled", 0)):
        return fail(
            "the store forgets everything when it restarts (appendonly is off)",
            "set appendonly yes and appendfsync always: without them nothing is durable",
        )
    if found.get("aof_last_write_status", "ok") != "ok":
        return fail("the store could not write its append-only file", "look at its disk and its log")
    fsync = _setting(installation, "appendfsync")
    if fsync and fsync != "always":
        return warn(
            f"the store keeps changes with appendfsync {fsync}",
            "set appendfsync always: a kill of the last second can be lost with the machine",
        )
    return ok("the store keeps every change on disk")


def eviction(installation: Installation) -> Finding:
    """Say whether the store could throw a revocation away."""
    found = _info(installation, "memory")
    if isinstance(found, Finding):
        return found
    policy, limit = str(found.get("maxmemory_policy", "")), int(found.get("maxmemory", 0))
    if policy != "noeviction" and limit:
        return fail(
            f"the store evicts keys when its memory is full (maxmemory-policy {policy})",
            "set maxmemory-policy noeviction: a revocation must never be evicted",
        )
    if policy != "noeviction":
        return warn(
            f"maxmemory-policy is {policy}, without a limit so far", "set maxmemory-policy noeviction"
        )
    used = int(found.get("used_memory", 0))
    if limit and used > 0.9 * limit:
        return fail(
            f"the store uses {used} of {limit} bytes", "raise maxmemory: when it is full no kill is written"
        )
    return ok("nothing is ever evicted")


def users(installation: Installation) -> Finding:
    """Say whether strangers are kept out, and the daemon has a user of its own."""
    if not installation.store_url:
        return skipped(_UNKNOWN)
    parts = urlsplit(installation.store_url)
    credentials, at, _ = parts.netloc.rpartition("@")
    address = installation.store_url.replace(f"{credentials}{at}", "", 1)
    try:
        with _client(installation, address) as client:
            client.ping()
    except redis.AuthenticationError:
        pass
    except redis.ResponseError as error:
        if "NOAUTH" not in str(error).upper() and "auth" not in str(error).lower():
            return skipped(_AWAY)
    except (redis.RedisError, OSError, ValueError):
        return skipped(_AWAY)
    else:
        return fail(
            "the store lets anybody in without a password",
            "give it one user a role, as compose.yaml does: whoever reaches it can stop and restore agents",
        )
    if parts.username in (None, "", "default"):
        return warn(
            "the daemon uses the store's default user, which may do anything",
            "give it one user a role, as compose.yaml does: points need to read and acknowledge only",
        )
    return ok(f"strangers are kept out, and the daemon is the user {parts.username}")


def _info(installation: Installation, section: str) -> dict[str, Any] | Finding:
    try:
        with _client(installation) as client:
            return dict(client.info(section))
    except _Unknown as why:
        return skipped(str(why))
    except redis.exceptions.NoPermissionError:
        return skipped("the store does not tell this user about itself")
    except (redis.RedisError, OSError, ValueError):
        return skipped(_AWAY)


def _setting(installation: Installation, name: str) -> str:
    """Return a setting of the store; empty where it does not tell, as hosted ones do not."""
    try:
        with _client(installation) as client:
            return str(client.config_get(name).get(name, ""))
    except (redis.RedisError, OSError, ValueError):
        return ""
