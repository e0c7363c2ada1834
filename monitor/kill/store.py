"""The revocation store that is used: the operator's, or our own embedded server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from monitor.kill.embedded_redis import EmbeddedRedis
from monitor.state_dir import StateDir


@dataclass(frozen=True)
class Store:
    """Where the store is, and our server if it is ours to look after.

    `url` may write revocations; `point_url` is for enforcement points, empty where the operator hands out the store's
    addresses.
    """

    url: str
    point_url: str = ""
    embedded: EmbeddedRedis | None = None

    def ensure(self) -> None:
        """Start the embedded server again if it died; raises `DaemonError` if that fails. Blocks."""
        if self.embedded:
            self.embedded.ensure()


@contextlib.contextmanager
def open_store(redis_url: str, state: StateDir) -> Iterator[Store]:
    """Give the named store, or run the embedded one for as long as the context lasts."""
    if redis_url:
        yield Store(redis_url)
        return
    with EmbeddedRedis(state.path / "redis") as server:
        yield Store(server.url, server.point_url, server)
