from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from killswitch import (
    Ack,
    Guard,
    InvalidRequest,
    Journal,
    Outcome,
    StoreRefused,
    StoreUnreachable,
    Switch,
    Target,
)
from tests.killswitch.conftest import Point, Server, refuses, until

BOT = Target("agent", "bot")
WHY: dict[str, Any] = {"reason": "test", "by": "tester"}
Connect = Callable[..., Guard]


def test_a_revocation_is_state_and_log_and_on_disk(switch: Switch) -> None:
    outcome = switch.revoke(BOT, reason="bad", by="alice", evidence=("a1",))
    assert (outcome.changed, outcome.epoch, outcome.note, outcome.durable) == (True, 1, "revoked", True)
    assert outcome.written_ms <= (outcome.durable_ms or 0)
    snapshot = switch.snapshot()
    assert snapshot.revocations == {BOT: outcome.revocation}
    assert [change.new for change in switch.changes(0)] == [outcome.revocation]


def test_a_restoration_lifts_it_and_is_in_the_log(switch: Switch) -> None:
    switch.revoke(BOT, **WHY)
    outcome = switch.restore(BOT, reason="cleared", by="bob")
    assert (outcome.changed, outcome.revocation, outcome.note) == (True, None, "restored")
    assert switch.snapshot().revocations == {}
    assert [change.kind for change in switch.changes(0)] == ["revoke", "restore"]


def test_what_changes_nothing_says_so_and_leaves_no_trace(switch: Switch) -> None:
    assert switch.restore(BOT, **WHY).note == "not revoked, nothing to restore"
    switch.revoke(BOT, **WHY)
    again = switch.revoke(BOT, level="suspend", expires_at_s=time.time() + 60, **WHY)
    assert (again.changed, again.note, again.epoch, again.durable) == (
        False,
        "already stronger: revoked",
        1,
        True,
    )
    assert switch.epoch() == 1


def test_the_same_change_id_is_applied_once(switch: Switch) -> None:
    first = switch.revoke(BOT, change_id="alert-7", **WHY)
    switch.restore(BOT, **WHY)
    again = switch.revoke(BOT, change_id="alert-7", **WHY)
    assert (again.duplicate, again.changed, again.epoch, again.revocation) == (True, True, first.epoch, None)
    assert switch.snapshot().revocations == {}


def test_a_change_id_used_for_something_else_is_refused(switch: Switch) -> None:
    switch.revoke(BOT, change_id="alert-7", **WHY)
    with pytest.raises(InvalidRequest, match="change_id: was used for the revoke of agent:bot"):
        switch.revoke(Target("agent", "other"), change_id="alert-7", **WHY)


def test_the_caller_hears_of_the_write_before_the_disk(switch: Switch) -> None:
    heard: list[Outcome] = []
    outcome = switch.revoke(BOT, on_written=heard.append, **WHY)
    assert [(early.durable, early.epoch) for early in heard] == [(None, outcome.epoch)]


def test_a_suspension_must_end_in_the_future(switch: Switch) -> None:
    with pytest.raises(InvalidRequest, match="expires_at_s: lies in the past"):
        switch.revoke(BOT, level="suspend", expires_at_s=time.time() - 1, **WHY)


def test_suspensions_that_ran_out_are_swept(switch: Switch) -> None:
    end_s = time.time() + 0.2
    switch.revoke(BOT, level="suspend", expires_at_s=end_s, **WHY)
    switch.revoke(Target("agent", "other"), **WHY)
    assert switch.expire(by="sweeper") == []
    until(lambda: time.time() > end_s)
    assert [outcome.note for outcome in switch.expire(by="sweeper")] == ["suspension ran out"]
    assert set(switch.snapshot().revocations) == {Target("agent", "other")}


def test_many_killers_and_restorers_at_once_leave_a_log_that_explains_the_state(
    url: str, prefix: str
) -> None:
    targets = [Target("agent", name) for name in "abc"]

    def act(number: int) -> Outcome:
        with Switch(url, prefix=prefix, timeout_s=10.0) as switch:
            act_on = switch.revoke if number % 2 else switch.restore
            return act_on(targets[number % 3], **WHY)

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(act, range(60)))
    with Switch(url, prefix=prefix) as switch:
        log, state = switch.changes(0), switch.snapshot().revocations
    assert [change.epoch for change in log] == list(range(1, len(log) + 1))
    assert len(log) == sum(outcome.changed for outcome in outcomes)
    replayed: dict[Target, Any] = {}
    for change in log:
        assert change.previous == replayed.get(change.target)
        replayed[change.target] = change.new
    assert {target: record for target, record in replayed.items() if record} == state


def test_a_kill_reports_who_enforces_it(switch: Switch, connect: Connect) -> None:
    guards = [connect(name=f"point-{number}") for number in range(3)]
    until(lambda: len(switch.points()) == 3)
    acks: list[str] = []
    outcome, containment = switch.revoke_and_wait(BOT, on_ack=lambda ack: acks.append(ack.name), **WHY)
    assert all(refuses(guard, agent="bot") for guard in guards)
    assert (containment.contained, containment.total, containment.epoch) == (True, 3, outcome.epoch)
    assert str(containment).startswith("enforced 3/3 in ")
    assert {point.name for point in containment.confirmed} == {"point-0", "point-1", "point-2"}
    assert set(acks) <= {"point-0", "point-1", "point-2"}
    _, lifted = switch.restore_and_wait(BOT, **WHY)
    assert lifted.contained


def test_a_point_that_does_not_confirm_is_named_and_nothing_is_contained(
    switch: Switch, connect: Connect, url: str, start_point: Callable[..., Point]
) -> None:
    connect(name="good")
    deaf = start_point(url, 30.0)
    until(lambda: len(switch.points()) == 2)
    deaf._process.send_signal(19)  # SIGSTOP: it lives as far as the store can tell, and hears nothing
    try:
        _, containment = switch.revoke_and_wait(BOT, contain_timeout_s=0.5, **WHY)
    finally:
        deaf._process.send_signal(18)
    assert (containment.contained, len(containment.confirmed)) == (False, 1)
    assert [point.name for point in containment.missing] == [deaf.name]
    assert f"missing: {deaf.name}" in str(containment)
    assert switch.wait_contained(1, 5.0).contained


def test_with_no_points_nobody_is_known_to_enforce_a_kill(switch: Switch) -> None:
    _, containment = switch.revoke_and_wait(BOT, **WHY)
    assert (containment.contained, containment.total) == (True, 0)
    assert str(containment) == "no live enforcement point: nobody is known to enforce this"


def test_a_point_that_died_is_listed_but_not_waited_for(
    switch: Switch, url: str, start_point: Callable[..., Point]
) -> None:
    dead = start_point(url, 0.3)
    until(lambda: len(switch.points()) == 1)
    dead.close()
    until(lambda: not switch.points()[0].live)
    assert switch.revoke_and_wait(BOT, **WHY)[1].total == 0


def test_a_point_that_signs_off_while_we_wait_is_not_missing(switch: Switch, connect: Connect) -> None:
    guard = connect()
    until(lambda: len(switch.points()) == 1)
    timer = threading.Timer(0.2, guard.close)
    timer.start()
    containment = switch.wait_contained(99, 1.6)  # long enough for the registry to have settled
    timer.join()
    assert (containment.contained, containment.total) == (True, 0)


def test_a_server_that_is_not_there_is_said_to_be_with_the_id_to_repeat() -> None:
    with pytest.raises(StoreUnreachable, match="change_id='my-id'") as caught:
        Switch("redis://:secret@127.0.0.1:1", timeout_s=0.2).revoke(BOT, change_id="my-id", **WHY)
    assert caught.value.change_id == "my-id"
    assert "secret" not in str(caught.value)


def test_what_the_server_refuses_is_not_taken_for_done(own: Server, prefix: str) -> None:
    admin = redis.Redis(port=own.port)
    admin.acl_setuser(
        "reader", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"], commands=["+@read"]
    )
    with (
        Switch(own.url.replace("redis://", "redis://reader:pw@"), prefix=prefix) as switch,
        pytest.raises(StoreRefused, match="permissions"),
    ):
        switch.revoke(BOT, **WHY)
    admin.close()


@pytest.mark.parametrize(
    ("config", "durable"),
    [({"appendfsync": "always"}, True), ({"appendonly": "no"}, False)],
    ids=["always", "no aof"],
)
def test_durable_is_what_the_server_can_vouch_for(
    tmp_path: Any, config: dict[str, str], durable: bool
) -> None:
    server = Server(tmp_path, **config)
    try:
        with Switch(server.url) as switch:
            assert switch.revoke(BOT, **WHY).durable is durable
    finally:
        server.close()


def test_with_fsync_every_second_the_disk_is_believed_only_after_that_second(tmp_path: Any) -> None:
    server = Server(tmp_path, appendfsync="everysec")
    try:
        with Switch(server.url, timeout_s=5.0) as switch:
            outcome = switch.revoke(BOT, **WHY)
    finally:
        server.close()
    assert outcome.durable is True
    assert outcome.durable_ms is not None
    assert outcome.written_ms < 1000 < outcome.durable_ms


def test_a_server_without_waitaof_cannot_say(own: Server, prefix: str) -> None:
    admin = redis.Redis(port=own.port)
    admin.acl_setuser("old", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"], commands=["+@all"])
    admin.close()
    own.close()
    own.config["rename-command"] = "WAITAOF gone"
    own.start()
    with Switch(own.url, prefix=prefix) as switch:
        assert switch.revoke(BOT, **WHY).durable is None


def test_a_switch_used_from_many_threads_keeps_few_connections(switch: Switch) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: switch.epoch(), range(100)))
    assert len(switch._writer._idle) <= 4


def test_junk_among_the_acknowledgements_confirms_nothing(
    switch: Switch, connect: Connect, url: str, prefix: str
) -> None:
    connect()
    until(lambda: len(switch.points()) == 1)
    with redis.Redis.from_url(url) as client:

        def disturb() -> None:
            for junk in (b"", b"[]", b'{"v":1,"point":"x"}'):
                client.publish(f"{prefix}acks", junk)

        timer = threading.Timer(0.1, disturb)
        timer.start()
        assert not switch.wait_contained(99, 0.3).contained
        timer.join()


def test_a_store_that_is_lost_after_the_write_leaves_containment_unknown(own: Server, prefix: str) -> None:
    with Switch(own.url, prefix=prefix, timeout_s=0.4) as switch:
        admin = redis.Redis(port=own.port)
        admin.hset(f"{prefix}points", "p", b'{"v":1,"id":"p","name":"n","host":"h","pid":1,"version":"1",'
                   b'"lease_s":60.0,"connected_at_s":1.0}')  # fmt: skip
        admin.zadd(f"{prefix}points:seen", {"p": time.time()})
        admin.close()
        timer = threading.Timer(0.2, own.kill)
        timer.start()
        outcome, containment = switch.revoke_and_wait(BOT, contain_timeout_s=10.0, **WHY)
        timer.join()
    assert outcome.changed
    assert (containment.contained, outcome.durable) == (False, False)
    assert str(containment).startswith("not known who enforces change 1: cannot reach the store")


def test_without_a_subscription_a_kill_goes_ahead_and_is_confirmed_from_the_registry(
    own: Server, prefix: str, connect: Connect
) -> None:
    guard = connect(own.url)
    own.kill()
    starter = threading.Timer(0.3, own.start)
    starter.start()
    with Switch(own.url, prefix=prefix, timeout_s=10.0) as switch:
        outcome, containment = switch.revoke_and_wait(BOT, contain_timeout_s=5.0, **WHY)
    starter.join()
    assert (outcome.changed, containment.contained) == (True, True)
    until(lambda: refuses(guard, agent="bot"))


def test_a_point_that_may_not_confirm_refuses_all_the_same(
    own: Server, prefix: str, connect: Connect
) -> None:
    admin = redis.Redis(port=own.port)
    admin.acl_setuser(
        "mute", enabled=True, passwords=["+pw"], keys=["*"], channels=[f"{prefix}changes"], commands=["+@all"]
    )
    admin.close()
    mute = connect(own.url.replace("redis://", "redis://mute:pw@"), lease_s=0.6)
    with Switch(own.url, prefix=prefix) as switch:
        switch.revoke(BOT, **WHY)
        until(lambda: refuses(mute, agent="bot"))
        until(lambda: "permission" in mute.status().last_error)
        assert mute.status().connected
        assert switch.wait_contained(1, 5.0).contained  # its beats say how far it is


def test_a_point_needs_no_right_to_revoke(own: Server, prefix: str, connect: Connect) -> None:
    """The least that a point can live with; its user can neither kill nor restore."""
    admin = redis.Redis(port=own.port)
    admin.execute_command(
        "ACL", "SETUSER", "point", "on", ">pw", "resetkeys", "resetchannels", "-@all",
        "+subscribe", "+ping", "+publish", "+eval", "+multi", "+exec", "+get", "+hget", "+hmget", "+hgetall",
        "+xrange", "+xrevrange",
        "+time", "+hset", "+hexists", "+hdel", "+zadd", "+zrem", "+zcard", "+zrangebyscore",
        "+client|setinfo", "+client|setname",
        f"%R~{prefix}epoch", f"%R~{prefix}state", f"%R~{prefix}log",
        f"%R~{prefix}head", f"%R~{prefix}keyrings", f"%R~{prefix}restored",
        f"~{prefix}points", f"~{prefix}points:seen", f"~{prefix}applied", f"&{prefix}changes", f"&{prefix}acks",
    )  # fmt: skip
    admin.close()
    point_url = own.url.replace("redis://", "redis://point:pw@")
    guard = connect(point_url, lease_s=1.0)
    with Switch(own.url, prefix=prefix) as switch, Switch(point_url, prefix=prefix) as thief:
        assert switch.revoke_and_wait(BOT, **WHY)[1].contained
        assert refuses(guard, agent="bot")
        for act in (thief.restore, thief.revoke):
            with pytest.raises(StoreRefused, match="permissions"):
                act(BOT, **WHY)
        assert set(switch.snapshot().revocations) == {BOT}
    guard.close()
    assert guard.status().failures == 0


def test_a_guard_is_on_the_registry_before_it_allows_anything(switch: Switch, connect: Connect) -> None:
    for number in range(1, 6):
        connect()
        assert switch.revoke_and_wait(Target("agent", f"a{number}"), **WHY)[1].total == number


def test_after_a_restart_of_the_server_points_that_may_still_act_are_waited_for(
    own: Server, prefix: str, start_point: Callable[..., Point]
) -> None:
    point = start_point(own.url, 30.0)
    point._process.send_signal(19)  # SIGSTOP: it will not connect again by itself
    own.kill()
    own.start()
    with Switch(own.url, prefix=prefix, timeout_s=5.0) as switch:
        _, containment = switch.revoke_and_wait(BOT, contain_timeout_s=0.3, **WHY)
        assert [missing.name for missing in containment.missing] == [point.name]
        point._process.send_signal(18)
        assert switch.wait_contained(1, 10.0).contained


def test_a_kill_that_the_store_cannot_be_told_of_is_kept_and_said_to_be_pending(
    own: Server, prefix: str, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "journal")
    own.kill()
    with Switch(own.url, prefix=prefix, timeout_s=0.3, journal=journal) as switch:
        outcome = switch.revoke(BOT, **WHY)
        assert (outcome.pending, outcome.durable, outcome.changed) == (True, True, False)
        outcome, containment = switch.revoke_and_wait(Target("agent", "other"), **WHY)
        assert outcome.pending
        assert not containment.contained
        assert "pending" in str(containment)
        assert [entry.request.target.value for entry in journal.pending()] == ["bot", "other"]
        with pytest.raises(StoreUnreachable):
            switch.restore(BOT, **WHY)
        own.start()
        for entry in journal.pending():
            kept = entry.request
            assert switch.revoke(
                kept.target, reason=kept.reason, by=kept.by, change_id=kept.change_id
            ).changed


def test_a_journal_that_cannot_be_written_makes_a_kill_fail_loudly(
    own: Server, prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "journal").write_text("in the way")
    own.kill()
    switch = Switch(own.url, prefix=prefix, timeout_s=0.2, journal=Journal(tmp_path / "journal"))
    with pytest.raises(StoreUnreachable, match="journal"):
        switch.revoke(BOT, **WHY)


def test_a_store_that_takes_no_writes_is_journaled_like_one_that_is_away(
    own: Server, prefix: str, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "journal")
    with redis.Redis.from_url(own.url) as admin:
        admin.config_set("maxmemory", 1)
    with Switch(own.url, prefix=prefix, journal=journal) as switch:
        assert switch.revoke(BOT, **WHY).pending
        with redis.Redis.from_url(own.url) as admin:
            admin.config_set("maxmemory", 0)
        assert not switch.revoke(BOT, change_id=journal.pending()[0].request.change_id, **WHY).pending


def test_a_kill_that_cannot_be_made_leaves_no_subscription_behind(
    own: Server, prefix: str, tmp_path: Path
) -> None:
    with (
        redis.Redis.from_url(own.url) as admin,
        Switch(own.url, prefix=prefix, journal=Journal(tmp_path / "journal")) as switch,
    ):
        switch.revoke(BOT, change_id="used", **WHY)
        with pytest.raises(InvalidRequest, match="change_id: was used for the revoke of agent:bot"):
            switch.revoke_and_wait(Target("agent", "other"), change_id="used", **WHY)
        admin.config_set("maxmemory", 1)
        outcome, containment = switch.revoke_and_wait(Target("agent", "third"), **WHY)
        assert outcome.pending
        assert "pending" in containment.problem
        until(lambda: admin.client_list(_type="pubsub") == [])


@pytest.mark.parametrize("level", ["step_up", "suspend"])
def test_a_stricter_kill_in_the_same_name_is_told_with_its_wait(
    switch: Switch, guard: Guard, level: Any
) -> None:
    expires_at_s = time.time() + 60 if level == "suspend" else None
    switch.revoke_and_wait(BOT, level=level, expires_at_s=expires_at_s, **WHY)
    outcome, containment = switch.revoke_and_wait(BOT, **WHY)
    assert (outcome.note, containment.contained) == ("revoked", True)


def test_a_point_times_a_kill_from_when_it_was_announced(switch: Switch, guard: Guard) -> None:
    """Refusing by the notice is earlier than the stamp on the change: the time would be below zero."""
    acks: list[Ack] = []
    switch.revoke_and_wait(BOT, on_ack=acks.append, **WHY)
    [latency_ms] = {ack.latency_ms for ack in acks}
    assert latency_ms is not None
    assert 0 <= latency_ms < 5_000
