"""`killcord up --engine kafka://…`: broker, worker and store are real, the outcomes those of the pure pipeline."""

import asyncio
import json
import logging
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from killswitch import Switch, Target
from monitor.config import parse_config
from monitor.core.alerts import Alert
from monitor.core.pipeline import Pipeline
from monitor.engines.calm_log import CalmLog
from monitor.engines.kafka_address import KafkaAddress, parse_kafka_address
from monitor.errors import ConfigError
from monitor.intake.action import parse_action
from monitor.intake.observation import Observer
from monitor.kill.embedded_redis import EmbeddedRedis
from monitor.state_dir import StateDir
from tests.kafka import stories
from tests.kafka.broker import Broker, available
from tests.kafka.records import alerts_until, committed, produce
from tests.kafka.worker import Worker, kills, running, wait_for

WORK = stories.work(seed=1, agents=6, rounds=90)
HIJACK = stories.hijack("clerk-2", WORK)
STORY = WORK + HIJACK
MORE = stories.work(seed=2, agents=6, rounds=20, after=STORY, without="clerk-2")
SECOND_HIJACK = stories.hijack("clerk-4", MORE)
LAST = SECOND_HIJACK[-1]["id"]


class Site(NamedTuple):
    """Topics, a store and a state directory of a test's own."""

    address: KafkaAddress
    store: EmbeddedRedis
    switch: Switch
    state: Path

    def worker(self, checkpoint_interval_s: float = 0.5) -> Worker:
        return Worker(
            self.state, str(self.address), self.store.url, checkpoint_interval_s=checkpoint_interval_s
        )

    @property
    def broker(self) -> str:
        return self.address.servers[0]

    async def send(self, values: list[bytes]) -> None:
        await produce(self.broker, self.address.actions, values)

    async def committed(self) -> int:
        return await committed(self.broker, self.address.prefix, self.address.actions) or 0

    async def alerts_until(self, action_id: str) -> list[dict[str, Any]]:
        """Return the alerts on the topic, up to the one on this action."""
        return await alerts_until(self.broker, self.address.alerts, action_id)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def site(kafka_broker: Broker, store: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[Site]:
    address = KafkaAddress((kafka_broker.address,), f"site-{uuid.uuid4().hex[:8]}")
    await create(kafka_broker.address, address.actions, address.alerts)
    with Switch(store.url) as switch:
        yield Site(address, store, switch, tmp_path / "state")


async def create(broker: str, *topics: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1) for topic in topics])
    finally:
        await admin.close()


def singles(actions: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(action).encode() for action in actions]


def batches(actions: list[dict[str, Any]], size: int = 37) -> list[bytes]:
    """NDJSON and arrays in turn."""
    cut = [singles(actions[start : start + size]) for start in range(0, len(actions), size)]
    return [
        b"\n".join(lines) if number % 2 else b"[" + b",".join(lines) + b"]"
        for number, lines in enumerate(cut)
    ]


def pure(state: Path, *parts: list[dict[str, Any]]) -> list[Alert]:
    """Return the alerts of the pipeline itself, in this process, fed the same actions."""
    pipeline = Pipeline(parse_config(stories.CONFIG.format(checkpoint_interval_s=1.0)))
    observer = Observer(StateDir(state).secret(), store_args=False)
    actions = [observer.observe(parse_action(line)) for part in parts for line in singles(part)]
    return pipeline.step(actions, time.time()).alerts


def essence(alerts: list[Alert] | list[dict[str, Any]]) -> list[tuple[str, str, float, str]]:
    """What must be the same whoever runs the pipeline."""
    plain = [alert if isinstance(alert, dict) else vars_of(alert) for alert in alerts]
    return [(alert["id"], alert["action_id"], alert["p"], alert["response"]["taken"]) for alert in plain]


def vars_of(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "action_id": alert.action_id,
        "p": alert.p,
        "response": {"taken": alert.response.taken},
    }


def killing(alerts: list[Alert]) -> Alert:
    [alert] = [alert for alert in alerts if alert.response.taken == "suspend"]
    return alert


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.parametrize("cut", [singles, batches])
async def test_the_worker_says_and_does_what_the_pure_pipeline_does(site: Site, cut: Any) -> None:
    with running(site.worker()) as worker:
        await site.send(cut(STORY))
        alerts = await site.alerts_until(HIJACK[-1]["id"])
        assert worker.stop() == 0
    expected = pure(site.state, STORY)
    assert essence(alerts) == essence(expected)
    assert [alert["action_seq"] for alert in alerts] == [alert.action_seq + 1 for alert in expected]
    assert kills(site.switch) == {"agent:clerk-2": f"auto-{killing(expected).id}"}
    assert await site.committed() == len(cut(STORY))
    assert not (site.state / "daemon.json").exists()


@pytest.mark.kafka
@pytest.mark.redis
async def test_no_offset_is_committed_before_its_kill_is_in_the_store(site: Site) -> None:
    with running(site.worker(checkpoint_interval_s=0.2)) as worker:
        await site.send(singles(WORK))
        await until_committed(site, len(WORK))
        site.store.stop()
        await site.send(singles(HIJACK))
        await site.alerts_until(HIJACK[-1]["id"])  # telling people does not wait for the store
        wait_for(lambda: "is pending" in worker.log(), "the kill to be tried")
        assert await site.committed() == len(WORK)
        site.store.ensure()
        await until_committed(site, len(STORY))
        assert kills(site.switch).keys() == {"agent:clerk-2"}
        assert worker.stop() == 0


@pytest.mark.kafka
@pytest.mark.redis
async def test_a_worker_that_cannot_kill_can_be_stopped_and_the_next_one_kills(site: Site) -> None:
    with running(site.worker(checkpoint_interval_s=60)) as worker:
        site.store.stop()
        await site.send(singles(STORY))
        await site.alerts_until(HIJACK[-1]["id"])
        assert worker.stop() == 0
        assert await site.committed() == 0
        site.store.ensure()
        worker.start()
        wait_for(lambda: kills(site.switch), "the kill")


@pytest.mark.kafka
@pytest.mark.redis
async def test_what_a_killed_worker_did_is_repeated_without_a_second_revocation(site: Site) -> None:
    with running(site.worker(checkpoint_interval_s=60)) as worker:
        await site.send(singles(STORY))
        wait_for(lambda: kills(site.switch), "the kill")
        worker.kill()
        assert await site.committed() == 0
        worker.start()
        await site.send(singles(MORE + SECOND_HIJACK))
        seen = await site.alerts_until(LAST)
        assert worker.stop() == 0
    expected = pure(site.state, STORY, MORE + SECOND_HIJACK)
    assert set(essence(seen)) == set(essence(expected))
    suspended = [f"auto-{alert.id}" for alert in expected if alert.response.taken == "suspend"]
    assert [change.change_id for change in site.switch.changes(0)] == suspended
    assert len(suspended) == 2


@pytest.mark.kafka
@pytest.mark.redis
async def test_the_models_survive_a_worker_that_was_killed(site: Site) -> None:
    with running(site.worker(checkpoint_interval_s=0.2)) as worker:
        await site.send(singles(STORY))
        await until_committed(site, len(STORY))
        worker.kill()
        worker.start()
        assert f"the models have seen {len(STORY)} actions" in worker.log()
        await site.send(singles(MORE + SECOND_HIJACK))
        seen = await site.alerts_until(LAST)
        assert worker.stop() == 0
    assert essence(seen) == essence(pure(site.state, STORY, MORE + SECOND_HIJACK))


@pytest.mark.kafka
@pytest.mark.redis
async def test_a_restored_agent_is_killed_again_even_if_its_first_kill_is_repeated(site: Site) -> None:
    again = stories.hijack("clerk-2", HIJACK)
    with running(site.worker(checkpoint_interval_s=60)) as worker:
        await site.send(singles(STORY))
        wait_for(lambda: kills(site.switch), "the kill")
        site.switch.restore(Target("agent", "clerk-2"), reason="false alarm", by="alice")
        worker.kill()
        worker.start()  # repeats everything, the first kill too, which was lifted since
        await site.alerts_until(HIJACK[-1]["id"])
        await site.send(singles(again))
        wait_for(lambda: kills(site.switch), "the second kill")
        assert worker.stop() == 0
    first, _, second = [change.change_id for change in site.switch.changes(0)]
    assert first != second


@pytest.mark.kafka
@pytest.mark.redis
async def test_a_suspension_lasts_although_its_cause_waited_in_the_topic(site: Site) -> None:
    day_ago_ms = int((time.time() - 86_400) * 1000)
    producer = AIOKafkaProducer(bootstrap_servers=site.broker)
    await producer.start()
    for value in singles(STORY):
        await producer.send(site.address.actions, value, partition=0, timestamp_ms=day_ago_ms)
    await producer.stop()
    with running(site.worker()) as worker:
        wait_for(lambda: kills(site.switch), "the kill")
        assert worker.stop() == 0
    [record] = site.switch.snapshot().revocations.values()
    assert record.level_at(time.time() + 3000) == "suspend"


@pytest.mark.kafka
@pytest.mark.redis
async def test_malformed_records_become_dead_letters_and_stop_nothing(site: Site) -> None:
    junk = [b"\x00\xff\xfe", b"{", b'{"id": "x"}', b"[1, 2", b"", b"null", b'{"v": 9}']
    good = singles(STORY)
    mixed = [*good[:100], *junk, *good[100:300], b"\n".join([junk[2], *good[300:]])]
    with running(site.worker()) as worker:
        await site.send(mixed)
        await tombstone(site)
        alerts = await site.alerts_until(HIJACK[-1]["id"])
        await until_committed(site, len(mixed) + 1)
        assert worker.stop() == 0
    assert essence(alerts) == essence(pure(site.state, STORY))
    letters = worker.dead_letters()
    assert len(letters) == len(junk) + 2
    assert all(letter["error"] for letter in letters)


@pytest.fixture
async def fragile(store: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[tuple[Site, Broker]]:
    """A site whose broker is its own and may be taken away."""
    if reason := available():
        pytest.skip(f"no Kafka broker: {reason}")
    with Broker() as broker, Switch(store.url) as switch:
        address = KafkaAddress((broker.address,))
        await create(broker.address, address.actions, address.alerts)
        yield Site(address, store, switch, tmp_path / "state"), broker


@pytest.mark.kafka
@pytest.mark.redis
async def test_a_worker_outlasts_a_broker_that_goes_away(fragile: tuple[Site, Broker]) -> None:
    site, broker = fragile
    with running(site.worker()) as worker:
        await site.send(singles(WORK))
        await until_committed(site, len(WORK))
        broker.kill()
        wait_for(lambda: "Unable connect to node" in worker.log(), "the worker to miss the broker")
        await asyncio.to_thread(broker.start)
        await site.send(singles(HIJACK))
        alerts = await site.alerts_until(HIJACK[-1]["id"])
        await until_committed(site, len(STORY))
        assert worker.stop() == 0
    assert set(essence(alerts)) == set(essence(pure(site.state, STORY)))
    assert kills(site.switch).keys() == {"agent:clerk-2"}
    assert worker.log().count("Unable connect to node") < 20  # it is tried ten times a second


@pytest.mark.kafka
@pytest.mark.redis
async def test_a_worker_can_be_stopped_while_its_broker_is_away(fragile: tuple[Site, Broker]) -> None:
    site, broker = fragile
    with running(site.worker(checkpoint_interval_s=60)) as worker:
        await site.send(singles(STORY))
        await site.alerts_until(HIJACK[-1]["id"])
        broker.kill()
        assert worker.stop() == 0
        await asyncio.to_thread(broker.start)
        assert await site.committed() == 0
        worker.start()
        await site.send(singles(MORE + SECOND_HIJACK))
        alerts = await site.alerts_until(LAST)
        assert worker.stop() == 0
    assert essence(alerts) == essence(pure(site.state, STORY, MORE + SECOND_HIJACK))  # nothing told twice


@pytest.mark.kafka
async def test_a_missing_topic_is_named(kafka_broker: Broker, tmp_path: Path) -> None:
    prefix = f"bare-{uuid.uuid4().hex[:8]}"
    await create(kafka_broker.address, f"{prefix}.actions")
    url = f"kafka://{kafka_broker.address}/{prefix}"
    status, said = Worker(tmp_path / "state", url, "redis://127.0.0.1:1", checkpoint_interval_s=1).run()
    assert status == 3
    assert said.splitlines()[-1].startswith("killcord: create these topics first")
    assert said.rstrip().endswith(f"{prefix}.alerts")


def test_without_a_broker_the_worker_says_so(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "state", "kafka://127.0.0.1:1", "redis://127.0.0.1:1", checkpoint_interval_s=1)
    status, said = worker.run()
    assert status == 3
    assert "no Kafka broker answers at 127.0.0.1:1" in said.splitlines()[-1]


@pytest.mark.parametrize(
    "url", ["kafka://", "kafka:///prefix", "kafka://host:9092/two/parts", "kafka://h/sp ace"]
)
def test_an_address_without_broker_or_with_an_impossible_prefix_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="kafka://host:9092"):
        parse_kafka_address(url)


def test_an_address_names_brokers_and_prefix() -> None:
    assert parse_kafka_address("kafka://a:1,b:2") == KafkaAddress(("a:1", "b:2"), "killcord")
    assert parse_kafka_address("kafka://a:1/blue/") == KafkaAddress(("a:1",), "blue")
    address = KafkaAddress(("a:1", "b:2"), "blue")
    assert parse_kafka_address(str(address)) == address
    assert (address.actions, address.alerts) == ("blue.actions", "blue.alerts")


def test_what_the_client_repeats_is_logged_now_and_then() -> None:
    calm = CalmLog()
    said = [record("aiokafka.conn", "no broker", at_s) for at_s in range(100, 131)]
    assert [entry.created for entry in said if calm.filter(entry)] == [100, 110, 120, 130]
    assert calm.filter(record("aiokafka.conn", "something else", 131))
    assert all(calm.filter(record("killcord.killer", "kill is pending", 131)) for _ in range(3))


def record(name: str, text: str, at_s: float) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.ERROR, "", 0, text, (), None)
    made.created = at_s
    return made


def test_the_core_knows_no_engine() -> None:
    engines = ("faust", "mode", "aiokafka", "starlette", "uvicorn", "websockets")
    program = (
        f"import sys, monitor.core.pipeline; print([name for name in {engines!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


async def until_committed(site: Site, offset: int, timeout_s: float = 60.0) -> None:
    """Poll the group's commit; the deadline bounds it."""
    deadline_s = time.monotonic() + timeout_s
    while await site.committed() < offset:
        assert time.monotonic() < deadline_s, f"{await site.committed()} of {offset} committed"
        await asyncio.sleep(0.1)
    assert await site.committed() == offset


async def tombstone(site: Site) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=site.broker)
    await producer.start()
    await producer.send_and_wait(site.address.actions, None, key=b"agent", partition=0)
    await producer.stop()
