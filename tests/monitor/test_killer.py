"""Automatic kills reach the store, whatever it is doing, and one never waits for another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from killswitch import BadRecord, StoreRefused, StoreUnreachable, Switch, Target
from monitor.core.pipeline import RevocationRequest
from monitor.kill.embedded_redis import EmbeddedRedis
from monitor.kill.killer import BY, Killer

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("killer") / "redis") as server:
        yield server


@pytest.fixture
def switch(server: EmbeddedRedis) -> Iterator[Switch]:
    with redis.Redis.from_url(server.url) as client:
        client.delete(*(f"killcord:{key}" for key in ("epoch", "state", "log", "change_ids", "head")))
    with Switch(server.url, timeout_s=1.0) as switch:
        yield switch


def request(agent: str = "billing-bot", change_id: str = "auto-1", **fields: Any) -> RevocationRequest:
    made = RevocationRequest(
        change_id, f"agent:{agent}", "suspend", "too strange", 1000.0, 4600.0, ("al-1", "a-1")
    )
    return made._replace(**fields)


class Refusals(list[tuple[str, str]]):
    """What could never be carried out."""

    def __call__(self, refused: RevocationRequest, why: str) -> None:
        self.append((refused.target, why))


def until(claim: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    pause = threading.Event()
    while not claim():
        assert time.monotonic() < deadline_s, "did not come true in time"
        pause.wait(0.005)


def revoked(switch: Switch) -> dict[str, str]:
    return {str(target): record.change_id for target, record in switch.snapshot().revocations.items()}


def test_a_request_is_written_with_its_reason_and_evidence(switch: Switch) -> None:
    with Killer(switch, Refusals()) as killer:
        killer.submit(request())
        until(lambda: not killer.pending())
        (record,) = switch.snapshot().revocations.values()
    assert (record.target, record.level, record.by) == (Target("agent", "billing-bot"), "suspend", BY)
    assert (record.reason, record.evidence, record.change_id) == ("too strange", ("al-1", "a-1"), "auto-1")


def test_a_suspension_lasts_its_time_from_when_it_is_written(switch: Switch) -> None:
    """However long ago it was decided."""
    before_s = time.time()
    with Killer(switch, Refusals()) as killer:
        killer.submit(request())
        until(lambda: not killer.pending())
    (record,) = switch.snapshot().revocations.values()
    assert record.expires_at_s is not None
    assert before_s + 3600 <= record.expires_at_s <= time.time() + 3600


def test_the_same_request_again_changes_nothing(switch: Switch) -> None:
    with Killer(switch, Refusals()) as killer:
        killer.submit(request())
        until(lambda: not killer.pending())
        switch.restore(Target("agent", "billing-bot"), reason="a false alarm", by="alice")
        killer.submit(request())
        until(lambda: not killer.pending())
    assert revoked(switch) == {}


def test_a_kill_survives_a_store_that_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        EmbeddedRedis(tmp_path / "redis") as server,
        Switch(server.url, timeout_s=0.2) as switch,
        Killer(switch, Refusals()) as killer,
    ):
        server.stop()
        with caplog.at_level(logging.ERROR):
            killer.submit(request("a", "auto-1"))
            killer.submit(request("b", "auto-2", level="revoke", expires_at_s=None))
            until(lambda: "is pending" in caplog.text)
        assert len(killer.pending()) == 2
        server.ensure()
        until(lambda: not killer.pending())
        assert revoked(switch) == {"agent:a": "auto-1", "agent:b": "auto-2"}


@pytest.mark.parametrize(
    "error",
    [
        StoreRefused("MISCONF no disk"),
        BadRecord("unreadable"),
        StoreUnreachable("gone"),
        ZeroDivisionError("a defect"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_store_may_take_later_is_tried_again_and_holds_nobody_up(
    switch: Switch, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    revoke, failing, refusals = switch.revoke, threading.Event(), Refusals()
    failing.set()

    def sometimes(target: Target, **fields: Any) -> Any:
        if target.value == "unlucky" and failing.is_set():
            raise error
        return revoke(target, **fields)

    monkeypatch.setattr(switch, "revoke", sometimes)
    with Killer(switch, refusals) as killer:
        killer.submit(request("unlucky", "auto-1"))
        for number in range(3):
            killer.submit(request(f"other-{number}", f"auto-other-{number}"))
        until(lambda: len(killer.pending()) == 1)
        assert set(revoked(switch)) == {f"agent:other-{number}" for number in range(3)}
        failing.clear()
        until(lambda: not killer.pending())
        assert "agent:unlucky" in revoked(switch)
    assert refusals == []


@pytest.mark.parametrize(
    "impossible",
    [
        request(reason=""),
        request(target="nobody:x"),
        request(target="agent:a\nb"),
        request(evidence=("x" * 500,)),
    ],
    ids=["reason", "kind", "name", "evidence"],
)
def test_what_is_no_request_is_reported_and_not_tried_again(
    switch: Switch, impossible: RevocationRequest
) -> None:
    refusals = Refusals()
    with Killer(switch, refusals) as killer:
        killer.submit(impossible)
        killer.submit(request("other", "auto-2"))
        until(lambda: not killer.pending())
    assert [target for target, _ in refusals] == [impossible.target]
    assert set(revoked(switch)) == {"agent:other"}


def test_stopping_with_a_store_that_is_away_keeps_what_is_pending(tmp_path: Path) -> None:
    """It goes into the checkpoint, and the next daemon asks again."""
    with Switch(f"unix://{tmp_path}/nothing", timeout_s=0.2) as switch, Killer(switch, Refusals()) as killer:
        killer.submit(request())
    assert killer.pending() == [request()]
