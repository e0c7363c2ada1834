from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from benchmarks.faults import Server
from killswitch import Guard, InvalidRequest, Switch, Target
from killswitch.clocks import wall_s
from killswitch.drills.drill import LEFT_BEHIND_S, MAX_ROUNDS, run_drill
from killswitch.registry.points import Ack, PointRecord, encode
from killswitch.storage.journal import Journal
from killswitch.storage.store import Keys
from killswitch.trust.approvals import CANARY_PREFIX
from tests.killswitch.conftest import Point, refuses, until

Connect = Callable[..., Guard]


class Impostor:
    """A registered point that answers each change with whatever it is told to; it enforces nothing."""

    def __init__(
        self, url: str, prefix: str, name: str, answer: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        self._client = redis.Redis.from_url(url)
        self._keys, self._answer, self._name = Keys(prefix), answer, name
        self._client.hset(
            self._keys.points, name, encode(PointRecord(name, name, "host", 1, "0", 60.0, wall_s()))
        )
        self._client.zadd(self._keys.seen, {name: wall_s()})
        self._heard = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self._heard.subscribe(self._keys.changes)
        self._heard.get_message(timeout=5.0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._heard.get_message(timeout=0.05)
            line = b"" if message is None else message["data"].partition(b"\n")[0]
            if line.startswith(b"{"):
                self._say(json.loads(line))

    def _say(self, change: dict[str, Any]) -> None:
        said = {"refuses": change["new"] is not None, "latency_ms": 1.0, **self._answer(change)}
        ack = Ack(self._name, self._name, change["epoch"], wall_s(), 1.0, "push", **said)
        self._client.publish(self._keys.acks, encode(ack))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._heard.close()
        self._client.close()


@pytest.fixture
def impostor(url: str, prefix: str) -> Any:
    made: list[Impostor] = []

    def make(name: str, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        made.append(Impostor(url, prefix, name, answer))

    yield make
    for each in made:
        each.close()


def drill(switch: Switch, **options: Any) -> Any:
    return run_drill(switch, **{"by": "tester", "timeout_s": 3.0, **options})


def test_points_that_stop_and_go_on_pass(switch: Switch, connect: Connect) -> None:
    guards = [connect(name=f"point-{number}", serves=("agent:bot",)) for number in range(3)]
    found = drill(switch)
    assert (found.verdict, found.problem, found.failing) == ("passed", "", ())
    assert [point.name for point in found.points] == ["point-0", "point-1", "point-2"]
    for point in found.points:
        assert (point.refused, point.allowed_again, point.serves) == (True, True, ("agent:bot",))
        assert 0 < point.refused_writer_ms < 1000
        assert point.refused_own_ms < point.refused_writer_ms + 50  # one host, one wall clock
    assert switch.snapshot().revocations == {}
    assert [change.kind for change in switch.changes(0)] == ["revoke", "restore"]
    assert not any(refuses(guard, agent="bot") for guard in guards)


def test_without_points_nothing_is_shown(switch: Switch) -> None:
    found = drill(switch)
    assert (found.verdict, found.points) == ("no_points", ())
    assert switch.snapshot().revocations == {}


def test_a_point_that_is_deaf_is_named(
    switch: Switch, connect: Connect, url: str, start_point: Callable[..., Point]
) -> None:
    connect(name="good")
    deaf = start_point(url, 30.0)
    until(lambda: len(switch.points()) == 2)
    deaf._process.send_signal(19)  # SIGSTOP
    try:
        found = drill(switch, timeout_s=1.5)
    finally:
        deaf._process.send_signal(18)
    assert found.verdict == "failed"
    (failing,) = found.failing
    assert (failing.name, failing.refused, failing.refused_writer_ms) == (deaf.name, None, None)
    assert "did not confirm within 1.5 s; cut off, it refuses once its lease of 30 s ends" in failing.problem


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda change: {"refuses": False}, "would still have allowed the canary"),
        (lambda change: {"refuses": True}, "still refuses after the restoration"),
        (lambda change: {"refuses": None}, "did not say what its check answers"),
        (
            lambda change: {"refuses": True if change["new"] else None},
            "confirmed the restoration, but did not say",
        ),
    ],
)
def test_a_point_that_does_not_show_it_fails(
    switch: Switch, connect: Connect, impostor: Any, answer: Any, problem: str
) -> None:
    connect(name="good")
    impostor("odd", answer)
    found = drill(switch)
    assert found.verdict == "failed"
    assert [(point.name, problem in point.problem) for point in found.failing] == [("odd", True)]


def test_one_point_can_be_drilled_by_name(switch: Switch, connect: Connect, impostor: Any) -> None:
    connect(name="good")
    impostor("odd", lambda change: {"refuses": False})
    assert drill(switch, point="good").verdict == "passed"
    assert drill(switch, point="odd").verdict == "failed"
    assert drill(switch, point="nobody").verdict == "no_points"


def test_a_promise_that_is_not_kept_is_said(switch: Switch, guard: Guard) -> None:
    found = drill(switch, promise_ms=0.001)
    assert found.verdict == "failed"
    assert "promised were 0.001 ms" in found.failing[0].problem
    with pytest.raises(InvalidRequest, match="promise_ms"):
        drill(switch, promise_ms=0)


def test_somebody_elses_changes_do_not_spoil_a_drill(
    switch: Switch, guard: Guard, url: str, prefix: str
) -> None:
    stop = threading.Event()

    def disturb() -> None:
        with Switch(url, prefix=prefix) as other:
            while not stop.is_set():
                other.revoke(Target("agent", "x"), reason="r", by="b", on_written=None)
                other.restore(Target("agent", "x"), reason="r", by="b")

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        found = drill(switch)
    finally:
        stop.set()
        thread.join()
    assert found.verdict == "passed"


def test_a_stopped_fleet_makes_a_drill_show_nothing(switch: Switch, guard: Guard) -> None:
    switch.revoke(Target("fleet"), reason="r", by="b")
    found = drill(switch)
    assert (found.verdict, found.points) == ("inconclusive", ())
    assert switch.epoch() == 1


def test_a_store_that_is_away_fails_the_drill(prefix: str) -> None:
    with Switch("redis://127.0.0.1:1", prefix=prefix, timeout_s=0.2) as switch:
        found = drill(switch)
    assert found.verdict == "failed"
    assert "cannot reach the store" in found.problem


def test_a_store_that_dies_in_the_middle_fails_the_drill(own: Server, prefix: str, connect: Connect) -> None:
    connect(own.url)
    with Switch(own.url, prefix=prefix, timeout_s=0.5) as switch:
        until(lambda: len(switch.points()) == 1)
        threading.Timer(0.2, own.kill).start()  # while the young registry is let settle
        found = drill(switch)
    assert found.verdict == "failed"
    assert "the store" in found.problem


def test_what_an_interrupted_drill_left_behind_is_taken_away(switch: Switch, prefix: str, url: str) -> None:
    canary = Target("session", CANARY_PREFIX + "old")
    fresh = Target("session", CANARY_PREFIX + "fresh")
    switch.revoke(canary, reason="drill", by="a daemon that was killed")
    switch.revoke(fresh, reason="drill", by="another")
    with redis.Redis.from_url(url) as client:
        key = Keys(prefix).state
        record = json.loads(client.hget(key, str(canary)) or b"")
        record["at_s"] = wall_s() - LEFT_BEHIND_S - 1
        client.hset(key, str(canary), json.dumps(record))
    drill(switch)
    assert set(switch.snapshot().revocations) == {fresh}


def test_a_hundred_points_are_drilled_without_a_storm(
    url: str, prefix: str, connect: Connect, switch: Switch
) -> None:
    for number in range(100):
        connect(name=f"point-{number}", wait=False)
    until(lambda: sum(point.live for point in switch.points()) == 100, 30.0)
    found = drill(switch, timeout_s=10.0, promise_ms=10_000)
    assert (found.verdict, len(found.points)) == ("passed", 100)
    assert switch.epoch() == 2


def test_a_point_that_only_speaks_of_later_changes_is_asked_again_and_then_fails(
    switch: Switch, impostor: Any
) -> None:
    impostor("hasty", lambda change: change.update(epoch=change["epoch"] + 1_000) or {})
    found = drill(switch)
    assert found.verdict == "failed"
    assert "did not say what its check answers" in found.failing[0].problem
    assert switch.epoch() == 2 * MAX_ROUNDS


def test_a_point_that_is_silent_about_the_restoration_fails(switch: Switch, impostor: Any) -> None:
    impostor("stuck", lambda change: {} if change["new"] else change.update(epoch=0) or {})
    found = drill(switch, timeout_s=1.5)
    assert found.verdict == "failed"
    assert found.failing[0].problem == "was not heard allowing again within 1.5 s"


def test_a_canary_that_only_the_journal_took_fails_the_drill(
    own: Server, prefix: str, tmp_path: Path, connect: Connect
) -> None:
    connect(own.url)
    with redis.Redis.from_url(own.url) as admin:
        admin.config_set("maxmemory", 1)
    journal = Journal(tmp_path / "journal")
    with Switch(own.url, prefix=prefix, journal=journal) as switch:
        found = drill(switch)
    assert (found.verdict, found.points) == ("failed", ())
    assert "the canary waits in the journal" in found.problem
    assert [entry.request.target.kind for entry in journal.pending()] == ["session"]
