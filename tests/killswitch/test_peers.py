"""Ways in which other agent kill switches were seen to fail. Ours must not; each failure is one test."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from benchmarks.faults import Server
from killswitch import (
    Guard,
    Refused,
    Revoked,
    StoreUnreachable,
    Switch,
    Target,
    UncheckableAction,
    UnknownRevocation,
)
from tests.killswitch.conftest import Point, refuses, until

WHY: dict[str, Any] = {"reason": "exfiltrates", "by": "alice"}
EVIL = Target("agent", "did:evil")
Connect = Callable[..., Guard]


def test_1_a_revocation_reaches_running_processes_and_is_not_erased_by_the_next_one(
    switch: Switch, url: str, prefix: str, start_point: Callable[..., Point]
) -> None:
    """A list read only at start: not seen by running processes, and overwritten by their next write."""
    running = start_point(url)
    with Switch(url, prefix=prefix) as other:
        other.epoch()
        switch.revoke_and_wait(EVIL, **WHY)
        assert running.check("did:evil").startswith("Revoked")
        other.revoke(Target("agent", "unrelated"), **WHY)
    assert set(switch.snapshot().revocations) == {EVIL, Target("agent", "unrelated")}
    assert running.check("did:evil").startswith("Revoked")


def test_8_a_kill_while_the_store_is_down_is_not_reported_as_done(own: Server, prefix: str) -> None:
    """The kill was logged, a normal event returned, and forgotten when the store came back."""
    own.kill()
    with Switch(own.url, prefix=prefix, timeout_s=0.3) as switch:
        with pytest.raises(StoreUnreachable) as caught:
            switch.revoke(EVIL, **WHY)
        own.start()
        assert switch.revoke(EVIL, change_id=caught.value.change_id, **WHY).changed


def test_9_every_process_knows_why_when_and_by_whom(
    switch: Switch, url: str, connect: Connect, start_point: Callable[..., Point]
) -> None:
    """Other processes saw an empty reason, no time and no audit events."""
    guard, far = connect(), start_point(url)
    switch.revoke_and_wait(EVIL, evidence=("action-1",), **WHY)
    assert far.check("did:evil") == "Revoked agent:did:evil is revoked by alice: exfiltrates (change 1)"
    with pytest.raises(Revoked) as caught:
        guard.check(agent="did:evil")
    record = caught.value.revocation
    assert (record.reason, record.by, record.evidence) == ("exfiltrates", "alice", ("action-1",))
    assert abs(record.at_s - time.time()) < 60
    assert [(change.by, change.reason) for change in switch.changes(0)] == [("alice", "exfiltrates")]


def test_10_what_runs_is_stopped_by_the_push_and_not_by_the_next_poll(switch: Switch, guard: Guard) -> None:
    """A group that polled each second cancelled after 547 ms in the median."""
    with guard.watch(agent="did:evil") as watch:
        written_s: list[float] = []
        switch.revoke(EVIL, on_written=lambda outcome: written_s.append(time.monotonic()), **WHY)
        assert watch.wait(5)
        assert watch.refused is not None
    assert written_s


def test_11_a_kill_is_not_evicted_by_junk(
    switch: Switch, url: str, prefix: str, start_point: Callable[..., Point]
) -> None:
    """One signed trigger and 3,000 junk entries in the stream: a worker started later was not frozen."""
    switch.revoke(EVIL, **WHY)
    with redis.Redis.from_url(url) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(3_000):
            pipeline.xadd(f"{prefix}log", {"junk": number}, maxlen=1_000)
        pipeline.execute()
    cold = start_point(url)
    assert cold.check("did:evil").startswith("Revoked")
    assert switch.revoke_and_wait(Target("agent", "next"), **WHY)[1].contained
    assert cold.check("next").startswith("Revoked")


def test_12_without_the_store_nothing_is_allowed(own: Server, connect: Connect, prefix: str) -> None:
    """With the store down `is_frozen()` was False."""
    guard = connect(own.url, lease_s=0.3)
    own.kill()
    until(lambda: refuses(guard, agent="anybody"))
    assert refuses(connect(own.url, wait=False), agent="anybody")
    with pytest.raises(StoreUnreachable):
        Guard.connect(own.url, prefix=prefix, timeout_s=0.2)


def test_13_a_graceful_stop_keeps_the_kill(own: Server, prefix: str, connect: Connect) -> None:
    """Stopping the engine in good order cleared and saved "not blocked"."""
    with Switch(own.url, prefix=prefix) as switch, Guard.connect(own.url, prefix=prefix) as guard:
        switch.revoke(EVIL, **WHY)
        until(lambda: refuses(guard, agent="did:evil"))
    own.stop()
    own.start()
    assert refuses(connect(own.url), agent="did:evil")


def test_17_no_allow_outlives_the_kill(switch: Switch, guard: Guard) -> None:
    """A cached "allow" was good for its time to live."""
    for _ in range(1_000):
        guard.check(agent="did:evil", session="s", tool="t")
    switch.revoke_and_wait(EVIL, **WHY)
    with pytest.raises(Revoked):
        guard.check(agent="did:evil", session="s", tool="t")


@pytest.mark.parametrize("names", [{"service": "x"}, {"agent": "a", "workload": "w"}, {"agents": ["a"]}])
def test_18_a_new_kind_of_principal_does_not_slip_through(guard: Guard, names: dict[str, Any]) -> None:
    """A kind the switch did not support fell into "unsupported: continue"."""
    with pytest.raises(UncheckableAction) as caught:
        guard.check(**names)
    assert isinstance(caught.value, Refused)


def test_18_a_revocation_of_a_new_kind_is_not_ignored(
    switch: Switch, connect: Connect, url: str, prefix: str
) -> None:
    guard = connect(lease_s=0.5)
    later = {
        "v": 1, "target": "workload:w", "level": "revoke", "reason": "r", "by": "b", "at_s": 1.0,
        "expires_at_s": None, "change_id": "c", "epoch": 1,
    }  # fmt: skip
    with redis.Redis.from_url(url) as client:
        pipeline = client.pipeline()
        pipeline.hset(f"{prefix}state", "workload:w", json.dumps(later))
        pipeline.set(f"{prefix}epoch", 1)
        pipeline.publish(
            f"{prefix}changes", json.dumps({**later, "kind": "revoke", "previous": None, "new": later})
        )
        pipeline.execute()
    until(lambda: refuses(guard, agent="anybody"))
    with pytest.raises(UnknownRevocation, match="workload"):
        guard.check(agent="anybody")
