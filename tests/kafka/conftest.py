"""One real broker for the tests marked ``kafka``; where there can be none they are skipped with a reason."""

import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.kafka.broker import Broker, available

FIXTURE = "kafka_broker"


def pytest_runtestloop(session: pytest.Session) -> None:
    """Resolve the jars before the first test: a slow network must not eat a test's timeout."""
    if not session.config.option.collectonly and any(
        FIXTURE in getattr(item, "fixturenames", ()) for item in session.items
    ):
        available()


@pytest.fixture(scope="session")
def kafka_broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    reason = available()
    if reason is not None:
        pytest.skip(f"no Kafka broker: {reason}")
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:  # past pytest's capture: it is for the person who waits
        with capture.global_and_fixture_disabled():
            print(f"\n{line}", file=sys.stderr, flush=True)

    with Broker(say=say) as broker:
        yield broker


@pytest.fixture
def create_topic(kafka_broker: Broker) -> Callable[..., Awaitable[str]]:
    """Give each test topics of its own: ``await create_topic("actions", partitions=2)`` returns the name."""

    async def create(stem: str, partitions: int = 1) -> str:
        name = f"{stem}-{uuid.uuid4().hex[:8]}"
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.address)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, num_partitions=partitions, replication_factor=1)])
        finally:
            await admin.close()
        return name

    return create
