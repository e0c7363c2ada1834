"""What the doctor says of real stores that are set up wrongly, frozen, gone, or of another time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults import Server
from killswitch import Guard
from killswitch.storage.store import PREFIX
from monitor.doctor import kills, process, store
from monitor.doctor.finding import Finding
from monitor.doctor.installation import Installation
from tests.killswitch.conftest import Point, until
from tests.monitor.test_doctor import assert_says

Check = Callable[[Installation], Finding]
ABOUT_THE_STORE: tuple[Check, ...] = (
    store.version, store.persistence, store.eviction, store.users, store.clock, kills.points,
)  # fmt: skip


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """Start a server with some settings; gives the installation that uses it."""
    servers: list[Server] = []

    def make(**config: Any) -> Installation:
        servers.append(Server(tmp_path / "valkey", **config))
        (tmp_path / "state").mkdir(exist_ok=True)
        return Installation(tmp_path / "state", redis_url=servers[-1].url)

    make.servers = servers  # type: ignore[attr-defined]
    yield make
    for server in servers:
        server.close()


def test_a_store_that_keeps_everything_is_well_but_for_its_one_user(
    start: Callable[..., Installation],
) -> None:
    installation = start()
    assert_says(store.reachable(installation), "ok", "answers")
    assert_says(store.version(installation), "ok", "valkey")
    assert_says(store.persistence(installation), "ok", "on disk")
    assert_says(store.clock(installation), "ok", "clock")
    assert_says(store.users(installation), "fail", "without a password", "compose.yaml")


def test_a_store_that_forgets_is_told(start: Callable[..., Installation]) -> None:
    assert_says(store.persistence(start(appendonly="no")), "fail", "forgets everything", "appendonly yes")


def test_a_store_that_keeps_a_kill_only_now_and_then_is_told(start: Callable[..., Installation]) -> None:
    assert_says(store.persistence(start(appendfsync="everysec")), "warn", "everysec", "appendfsync always")


def test_a_store_that_evicts_is_told(start: Callable[..., Installation]) -> None:
    installation = start(maxmemory="100mb", **{"maxmemory-policy": "allkeys-lru"})
    assert_says(store.eviction(installation), "fail", "allkeys-lru", "noeviction")


def test_a_store_that_is_full_is_told(start: Callable[..., Installation]) -> None:
    installation = start(maxmemory="100mb", **{"maxmemory-policy": "noeviction"})
    assert store.eviction(installation).status == "ok"
    with store._client(installation) as client:
        client.config_set("maxmemory", "1mb")
    assert_says(store.eviction(installation), "fail", "raise maxmemory")


def test_a_store_with_one_password_for_all_is_told(start: Callable[..., Installation]) -> None:
    installation = start()
    with store._client(installation) as client:
        client.config_set("requirepass", "secret")
    refused = store.reachable(installation)
    assert_says(refused, "fail", "refuses", "user and password")
    named = Installation(installation.state, redis_url=installation.redis_url.replace("://", "://:secret@"))
    assert store.reachable(named).status == "ok"
    assert_says(store.users(named), "warn", "default user")
    assert "secret" not in "".join(check(named).found for check in (*ABOUT_THE_STORE, store.reachable))


def test_a_store_with_another_time_is_told(
    start: Callable[..., Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = start()
    real = time.time
    for ahead_s, status in ((2.0, "warn"), (-60.0, "fail")):
        monkeypatch.setattr(time, "time", lambda ahead=ahead_s: real() - ahead)
        assert_says(store.clock(installation), status, "ahead of" if ahead_s > 0 else "behind", "synchronise")


def test_a_store_that_is_gone_or_frozen_fails_once_and_hides_nothing(
    start: Callable[..., Installation],
) -> None:
    installation = start()
    (server,) = start.servers  # type: ignore[attr-defined]
    server.pause()
    assert_says(store.reachable(installation), "fail", "does not answer")
    server.resume()
    server.kill()
    assert_says(store.reachable(installation), "fail", "does not answer", "start the store")
    assert {check(installation).status for check in ABOUT_THE_STORE} == {"skipped"}


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "redis://127.0.0.1:nothing", "unix:///nowhere"])
def test_an_address_that_is_none_is_a_finding(tmp_path: Path, url: str) -> None:
    finding = store.reachable(Installation(tmp_path, redis_url=url))
    assert finding.status == "fail"
    assert finding.advice


def test_points_that_are_none_gone_or_live_too_long_are_told(start: Callable[..., Installation]) -> None:
    installation = start()
    assert_says(kills.points(installation), "warn", "ever connected", "Guard")
    with Guard.connect(installation.redis_url, name="careful"):
        assert_says(kills.points(installation), "ok", "1 of 1")
        with Guard.connect(installation.redis_url, name="patient", lease_s=60.0):
            assert_says(kills.points(installation), "warn", "patient", "lease")


def test_a_dead_point_is_named(start: Callable[..., Installation]) -> None:
    installation = start()
    point = Point(installation.redis_url, PREFIX, 0.3)
    until(lambda: any(each.live for each in kills._points(installation) or []))
    point.close()
    until(lambda: not any(each.live for each in kills._points(installation) or []))
    assert_says(kills.points(installation), "fail", "none of 1", "reach the store")


def test_a_daemon_is_not_looked_for_in_its_store(start: Callable[..., Installation]) -> None:
    assert process.daemon(start()).status == "fail"
