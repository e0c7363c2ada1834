"""The broker harness itself: what we test the cluster engine on must be a real, durable Kafka."""

import os
import socket
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from tests.kafka import broker as harness
from tests.kafka.broker import Broker, BrokerError, available
from tests.kafka.jars import Unavailable, find_java, java_version, resolve
from tests.kafka.records import consume, produce

CreateTopic = Callable[..., Awaitable[str]]


@pytest.mark.kafka
async def test_what_is_acknowledged_is_consumed_in_order(
    kafka_broker: Broker, create_topic: CreateTopic
) -> None:
    topic = await create_topic("smoke")
    values = [b"%d \x00\xff" % i for i in range(500)]
    await produce(kafka_broker.address, topic, values)
    assert await consume(kafka_broker.address, topic, 500) == values


@pytest.mark.kafka
async def test_a_consumer_group_resumes_at_its_commit(
    kafka_broker: Broker, create_topic: CreateTopic
) -> None:
    topic = await create_topic("commit")
    await produce(kafka_broker.address, topic, [b"0", b"1", b"2"])
    group = f"group-{uuid.uuid4().hex}"
    for expected in (b"0", b"1"):
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=kafka_broker.address,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            record = await consumer.getone()
            assert record.value == expected
            await consumer.commit({TopicPartition(topic, 0): record.offset + 1})
        finally:
            await consumer.stop()


@pytest.mark.kafka
async def test_a_misspelt_topic_fails_instead_of_appearing(kafka_broker: Broker) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_broker.address, request_timeout_ms=2000)
    await producer.start()
    try:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait("no-such-topic", b"x")
    finally:
        await producer.stop()


@pytest.mark.kafka
async def test_records_survive_a_crash_and_a_restart() -> None:
    if reason := available():
        pytest.skip(f"no Kafka broker: {reason}")
    with Broker() as broker:
        home = broker._home
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.address)
        await admin.start()
        await admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
        await admin.close()
        await produce(broker.address, "kept", [b"before"])
        address, first_pid = broker.address, broker.pid
        broker.kill()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(address.partition(":")[2])), timeout=1).close()
        broker.start()
        assert (broker.address, broker.pid) != (address, first_pid)
        assert broker.address == address
        assert await consume(broker.address, "kept", 1) == [b"before"]
        last_pid = broker.pid
    assert not home.exists()
    assert last_pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(last_pid, 0)


@pytest.mark.kafka
def test_a_broker_that_cannot_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := available():
        pytest.skip(f"no Kafka broker: {reason}")
    monkeypatch.setattr(harness, "JVM_FLAGS", ("-XX:NoSuchFlag",))
    broken = Broker()
    with pytest.raises(BrokerError, match="NoSuchFlag"), broken:
        pass
    assert not broken._home.exists()


@pytest.mark.kafka
def test_a_taken_port_is_left_for_a_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := available():
        pytest.skip(f"no Kafka broker: {reason}")
    free = harness._free_ports
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = squatter.getsockname()[1]
        choices = iter([(taken, free()[1])])
        monkeypatch.setattr(harness, "_free_ports", lambda: next(choices, None) or free())
        with Broker() as broker:
            assert broker.address != f"127.0.0.1:{taken}"
            assert broker.pid is not None


def test_without_java_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    find_java.cache_clear()
    try:
        with pytest.raises(Unavailable, match="no java on PATH"):
            find_java()
    finally:
        find_java.cache_clear()


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_202"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("what?", 0),
    ],
)
def test_java_versions_are_read(tmp_path: Path, banner: str, version: int) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho '{banner}' >&2\n")
    java.chmod(0o755)
    assert java_version(str(java)) == version


def test_without_maven_and_cache_the_reason_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="no mvn on PATH"):
        resolve(cache=tmp_path)


def test_a_maven_failure_is_quoted_and_caches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mvn = tmp_path / "bin" / "mvn"
    mvn.parent.mkdir()
    mvn.write_text("#!/bin/sh\necho '[ERROR] Could not transfer artifact: unknown host'\nexit 1\n")
    mvn.chmod(0o755)
    monkeypatch.setenv("PATH", f"{mvn.parent}{os.pathsep}{os.environ['PATH']}")
    said: list[str] = []
    with pytest.raises(Unavailable, match="Could not transfer artifact: unknown host"):
        resolve(cache=tmp_path / "cache", say=said.append)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["mvn.log"]
    assert len(said) == 1
