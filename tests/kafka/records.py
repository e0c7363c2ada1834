"""Records to and from a topic of the test broker, with an ordinary client."""

import json
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition


async def produce(address: str, topic: str, values: list[bytes]) -> None:
    """Send *values* in order to partition 0; returns when the broker acknowledged all of them."""
    producer = AIOKafkaProducer(bootstrap_servers=address, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for sent in [await producer.send(topic, value, key=b"agent", partition=0) for value in values]:
            await sent
    finally:
        await producer.stop()


async def consume(address: str, topic: str, count: int) -> list[bytes]:
    """Return the first *count* values of partition 0; the test's timeout bounds the wait."""
    consumer = AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def committed(address: str, group: str, topic: str) -> int | None:
    """Return the offset that *group* committed for partition 0 (the next to read), None if it never did."""
    consumer = AIOKafkaConsumer(bootstrap_servers=address, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        offset: int | None = await consumer.committed(TopicPartition(topic, 0))
        return offset
    finally:
        await consumer.stop()


async def alerts_until(address: str, topic: str, action_id: str) -> list[dict[str, Any]]:
    """Return the alerts of partition 0 up to the first on *action_id*; the test's timeout bounds the wait."""
    consumer = AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        alerts: list[dict[str, Any]] = []
        while not alerts or alerts[-1]["action_id"] != action_id:
            message = json.loads((await consumer.getone()).value)
            assert message["type"] == "alert"
            alerts.append(message["alert"])
        return alerts
    finally:
        await consumer.stop()
