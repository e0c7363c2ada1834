"""Where the brokers are, what our topics are called there, and whether they exist: asked before Faust starts.

Faust reads nothing, and says nothing, while a topic is missing; so look first.
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from monitor.errors import ConfigError, DaemonError

DEFAULT_PREFIX = "killcord"
_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,200}")  # what Kafka takes in a topic's name


class KafkaAddress(NamedTuple):
    """Brokers, and the prefix that keeps several installations on one cluster apart."""

    servers: tuple[str, ...]
    prefix: str = DEFAULT_PREFIX

    @property
    def actions(self) -> str:
        """The topic with the agents' actions, keyed by agent."""
        return f"{self.prefix}.actions"

    @property
    def alerts(self) -> str:
        """The topic that alerts go to."""
        return f"{self.prefix}.alerts"

    def __str__(self) -> str:
        return f"kafka://{','.join(self.servers)}/{self.prefix}"


def parse_kafka_address(engine_url: str) -> KafkaAddress:
    """Return what ``kafka://host:9092[,host:9092…][/prefix]`` says; raises `ConfigError`."""
    parts = urlsplit(engine_url)
    servers = tuple(server for server in parts.netloc.split(",") if server)
    prefix = parts.path.strip("/") or DEFAULT_PREFIX
    if not servers or not _PREFIX.fullmatch(prefix):
        raise ConfigError("--engine", f"{engine_url!r} is not of the form kafka://host:9092[/prefix]")
    return KafkaAddress(servers, prefix)


async def require_topics(address: KafkaAddress, timeout_s: float) -> None:
    """Return if both topics are there.

    Raises
    ------
    DaemonError
        If no broker answers within `timeout_s` seconds, or a topic is missing.
    """
    missing = sorted({address.actions, address.alerts} - await _topics(address, timeout_s))
    if missing:
        raise DaemonError(f"create these topics first, they are not on the broker: {', '.join(missing)}")


async def _topics(address: KafkaAddress, timeout_s: float) -> set[str]:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=list(address.servers), request_timeout_ms=int(timeout_s * 1000)
    )
    try:
        async with asyncio.timeout(timeout_s):
            await admin.start()
            return set(await admin.list_topics())
    except (KafkaError, TimeoutError, OSError) as error:
        raise DaemonError(
            f"no Kafka broker answers at {','.join(address.servers)} ({type(error).__name__}); is it up?"
        ) from error
    finally:
        await admin.close()
