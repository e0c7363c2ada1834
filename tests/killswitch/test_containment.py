from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from benchmarks.faults import Server
from killswitch import Ack, Containment, Guard, PointStatus, Switch, Target
from killswitch.clocks import lease_clock_s
from killswitch.registry.containment import SETTLE_S, AckWait
from killswitch.registry.points import Registry, encode
from tests.killswitch.conftest import refuses, until

BOT = Target("agent", "bot")
WHY: dict[str, Any] = {"reason": "test", "by": "tester"}
OLD_S = 3600.0


def point(name: str, applied_epoch: int = 0) -> PointStatus:
    return PointStatus(
        name, name, "host", 7, "1", 5.0, 1.0, live=True, applied_epoch=applied_epoch, age_s=0.1
    )


def ack(name: str, epoch: int = 7, **said: Any) -> Ack:
    return Ack(name, name, epoch, at_s=0.0, apply_us=1.0, how="push", **said)


Wait = Callable[..., Containment]


@pytest.fixture
def wait(url: str, prefix: str) -> Iterator[Wait]:
    """Wait for change 7 of a revocation while `acks` come; the points are as `registries` say, one after another."""
    with AckWait(url, f"{prefix}acks", timeout_s=2.0) as subscribed, redis.Redis.from_url(url) as client:

        def run(
            acks: list[Ack], *registries: Registry, timeout_s: float = 0.3, **options: Any
        ) -> Containment:
            for said in acks:
                client.publish(f"{prefix}acks", encode(said))
            left = list(registries)
            return subscribed.wait(
                7,
                lambda: left.pop(0) if len(left) > 1 else left[0],
                started_s=lease_clock_s(),
                timeout_s=timeout_s,
                on_ack=None,
                **{"refuses": True, **options},
            )

        yield run


def registry(*points: PointStatus, age_s: float | None = OLD_S) -> Registry:
    return Registry(points, age_s)


def test_a_point_that_still_allows_what_was_revoked_is_named(wait: Wait) -> None:
    found = wait(
        [ack("good", refuses=True), ack("bad", refuses=False)], registry(point("good"), point("bad"))
    )
    assert not found.contained
    assert [each.name for each in found.confirmed] == ["good"]
    assert [each.name for each in found.contrary] == ["bad"]
    assert found.missing == ()


def test_a_point_that_still_refuses_what_was_restored_is_named(wait: Wait) -> None:
    found = wait([ack("a", refuses=True)], registry(point("a")), refuses=False)
    assert [each.name for each in found.contrary] == ["a"]


def test_a_point_that_is_at_a_later_change_has_confirmed_and_not_contradicted(wait: Wait) -> None:
    found = wait([ack("a", 8, refuses=False, latency_ms=5.0)], registry(point("a")))
    assert found.contained
    assert [each.own_ms for each in found.latencies] == [None]  # it spoke of the other change


def test_what_a_point_says_of_this_change_counts_more_than_of_a_later_one(wait: Wait) -> None:
    told = [ack("a", 8, refuses=True), ack("a", 7, refuses=False, latency_ms=2.0), ack("a", 9, refuses=True)]
    found = wait([*told, ack("b", refuses=True)], registry(point("a"), point("b")))
    # Until the last point is there, all that was said is heard.
    assert [each.name for each in found.contrary] == ["a"]
    assert {each.point.name: each.own_ms for each in found.latencies} == {"a": 2.0, "b": None}


def test_a_point_of_an_older_version_confirms_by_its_epoch(wait: Wait) -> None:
    found = wait([ack("old")], registry(point("old")))
    assert (found.contained, found.total) == (True, 1)


def test_acknowledgements_of_earlier_changes_confirm_nothing(wait: Wait) -> None:
    found = wait([ack("a", 6, refuses=True)], registry(point("a")))
    assert ([each.name for each in found.missing], found.latencies) == (["a"], ())


def test_both_latencies_are_told(wait: Wait) -> None:
    found = wait([ack("a", refuses=True, latency_ms=-3.5)], registry(point("a")))
    (latency,) = found.latencies
    assert latency.own_ms == -3.5  # the point's clock is behind the writer's: told as it is
    assert 0 <= latency.writer_ms <= found.elapsed_ms


def test_a_registry_that_has_just_begun_is_read_again_before_anything_counts(wait: Wait) -> None:
    late = registry(point("early", 7), point("late"), age_s=OLD_S)
    found = wait([], registry(point("early", 7), age_s=SETTLE_S - 0.2), late, timeout_s=0.5)
    assert [each.name for each in found.missing] == ["late"]


@pytest.mark.parametrize("age_s", [None, 0.0, SETTLE_S / 2])
def test_without_the_time_to_let_it_settle_nothing_is_contained(wait: Wait, age_s: float | None) -> None:
    found = wait([], registry(point("a", 7), age_s=age_s), timeout_s=0.1)
    assert (found.contained, found.total) == (False, 1)
    assert "may not be whole" in str(found)


def test_a_missing_point_is_named_rather_than_the_age_of_the_registry(wait: Wait) -> None:
    found = wait([], registry(point("a"), age_s=0.0), timeout_s=0.1)
    assert "missing: a" in str(found)


def test_points_confirm_with_what_they_serve_and_when(switch: Switch, guard: Guard) -> None:
    _, found = switch.revoke_and_wait(BOT, **WHY)
    assert (found.contained, found.total) == (True, 1)
    assert [latency.point.name for latency in found.latencies] == ["the-guard"]
    assert 0 < found.latencies[0].writer_ms <= found.elapsed_ms
    assert refuses(guard, agent="bot")


def test_the_registry_has_the_age_of_its_first_point(switch: Switch, connect: Callable[..., Guard]) -> None:
    assert switch.registry() == Registry((), None)
    first = connect(name="first")
    until(lambda: (switch.registry().age_s or 0) > 0.05)
    connect(name="second")
    until(lambda: len(switch.points()) == 2)
    first.close()
    until(lambda: len(switch.points()) == 1)
    assert (switch.registry().age_s or 0) > 0.05
    assert [each.name for each in switch.registry().live] == ["second"]


def test_a_store_that_was_emptied_does_not_make_a_kill_contained_by_nobody(
    own: Server, prefix: str, connect: Callable[..., Guard]
) -> None:
    names = [f"point-{number}" for number in range(5)]
    guards = [connect(own.url, name=name) for name in names]
    with Switch(own.url, prefix=prefix) as switch, redis.Redis(port=own.port) as admin:
        until(lambda: (switch.registry().age_s or 0) > SETTLE_S)
        admin.flushall()
        _, found = switch.revoke_and_wait(BOT, contain_timeout_s=5.0, **WHY)
    assert sorted(each.name for each in found.confirmed) == names
    assert found.contained
    assert all(refuses(guard, agent="bot") for guard in guards)


def test_acknowledgements_are_told_as_they_come(switch: Switch, guard: Guard) -> None:
    heard: list[str] = []
    threading.Timer(0.1, lambda: switch.revoke(BOT, **WHY)).start()
    switch.wait_contained(1, 5.0, lambda said: heard.append(said.name))
    assert heard == ["the-guard"]
