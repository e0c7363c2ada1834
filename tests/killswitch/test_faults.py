"""What the promise is worth when things break: a real server is killed, frozen, flushed, filled with junk."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from benchmarks.faults import Proxy, Server
from killswitch import (
    Guard,
    LeaseExpired,
    Revocation,
    Revoked,
    StoreRefused,
    StoreUnreachable,
    Switch,
    Target,
    UnknownRevocation,
)
from killswitch.point.session import MAX_NOTICED
from killswitch.revocations import Request
from killswitch.storage import codec
from killswitch.storage.links import Link
from killswitch.storage.store import NOTICE, Store
from tests.killswitch.conftest import Point, refuses, until

BOT = Target("agent", "bot")
WHY: dict[str, Any] = {"reason": "test", "by": "tester"}
Connect = Callable[..., Guard]


@pytest.fixture
def redis_of(prefix: str) -> Iterator[Callable[[str], redis.Redis]]:
    clients: list[redis.Redis] = []

    def client(url: str) -> redis.Redis:
        clients.append(redis.Redis.from_url(url))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


@pytest.fixture
def own_switch(own: Server, prefix: str) -> Iterator[Switch]:
    with Switch(own.url, prefix=prefix) as switch:
        yield switch


def test_a_kill_is_refused_in_another_process(
    switch: Switch, url: str, start_point: Callable[..., Point]
) -> None:
    point = start_point(url)
    assert point.check("bot") == "allowed"
    switch.revoke_and_wait(BOT, **WHY)
    assert point.check("bot") == "Revoked agent:bot is revoked by tester: test (change 1)"
    assert point.check("other") == "allowed"
    switch.restore_and_wait(BOT, **WHY)
    assert point.check("bot") == "allowed"


def test_a_kill_stands_when_the_server_is_killed_right_after_it(
    own: Server, own_switch: Switch, start_point: Callable[..., Point]
) -> None:
    point = start_point(own.url)
    assert own_switch.revoke(BOT, **WHY).durable is True
    own.kill()
    own.start()
    assert set(own_switch.snapshot().revocations) == {BOT}
    until(lambda: point.check("other") == "allowed")
    assert point.check("bot").startswith("Revoked")
    assert start_point(own.url).check("bot").startswith("Revoked")


def test_a_kill_during_a_restart_of_the_server_is_written_once_it_is_back(
    own: Server, connect: Connect, prefix: str
) -> None:
    guard = connect(own.url)
    own.kill()
    starter = threading.Timer(0.3, own.start)
    starter.start()
    with Switch(own.url, prefix=prefix, timeout_s=10.0) as switch:
        outcome = switch.revoke(BOT, **WHY)
        starter.join()
        assert (outcome.changed, outcome.durable) == (True, True)
        assert [change.epoch for change in switch.changes(0)] == [1]
    until(lambda: refuses(guard, agent="bot") and not refuses(guard, agent="other"))


@pytest.mark.parametrize("delay_s", [0.0, 0.0005, 0.001, 0.002])
def test_whenever_the_server_dies_during_a_kill_the_caller_is_told_or_the_kill_stands(
    own: Server, prefix: str, delay_s: float
) -> None:
    with Switch(own.url, prefix=prefix, timeout_s=0.3) as switch:
        switch.epoch()  # connected, so that the fault hits the write
        killer = threading.Timer(delay_s, own.kill)
        killer.start()
        try:
            outcome = switch.revoke(BOT, change_id="the-kill", **WHY)
        except StoreUnreachable:
            outcome = None
        killer.join()
        own.start()
        if outcome is not None and outcome.durable:
            assert BOT in switch.snapshot().revocations
        again = switch.revoke(BOT, change_id="the-kill", **WHY)
        assert (again.changed, again.durable) == (True, True)
        assert [change.change_id for change in switch.changes(0)] == ["the-kill"]


def test_a_frozen_server_makes_points_refuse_within_the_lease_and_no_longer_than_it_is_frozen(
    own: Server, start_point: Callable[..., Point]
) -> None:
    point = start_point(own.url, 0.6)
    assert point.check("bot") == "allowed"
    own.pause()
    paused_s = time.monotonic()
    until(lambda: point.check("bot").startswith("LeaseExpired"))
    assert time.monotonic() - paused_s < 0.6 + 0.1
    own.resume()
    until(lambda: point.check("bot") == "allowed")


def test_a_kill_on_a_frozen_server_fails_in_time_and_may_be_repeated(own: Server, prefix: str) -> None:
    with Switch(own.url, prefix=prefix, timeout_s=0.3) as switch:
        switch.epoch()
        own.pause()
        started_s = time.monotonic()
        with pytest.raises(StoreUnreachable) as caught:
            switch.revoke(BOT, **WHY)
        assert time.monotonic() - started_s < 1.5
        own.resume()
        outcome = switch.revoke(BOT, change_id=caught.value.change_id, **WHY)
        assert outcome.changed
        assert [change.epoch for change in switch.changes(0)] == [1]


def test_a_flushed_store_frees_nobody_at_connected_points(
    own: Server, own_switch: Switch, connect: Connect, redis_of: Callable[[str], redis.Redis], prefix: str
) -> None:
    guard = connect(own.url, lease_s=0.5)
    own_switch.revoke_and_wait(BOT, **WHY)
    redis_of(own.url).flushall()
    until(lambda: guard.status().store_regressed)
    assert guard.status().kept == 1
    with pytest.raises(Revoked):
        guard.check(agent="bot")
    guard.check(agent="other")
    own_switch.revoke_and_wait(Target("agent", "other"), **WHY)
    assert refuses(guard, agent="other")
    assert refuses(guard, agent="bot")


def test_a_server_that_comes_back_empty_frees_nobody(
    own: Server, own_switch: Switch, connect: Connect, tmp_path: Path
) -> None:
    guard = connect(own.url, lease_s=1.0)
    own_switch.revoke_and_wait(BOT, **WHY)
    own.kill()
    own.directory = tmp_path / "another"
    own.start()
    until(lambda: guard.status().store_regressed and not refuses(guard, agent="other"))
    assert refuses(guard, agent="bot")


def test_a_lost_store_heals_when_the_kill_is_repeated_and_lifted(
    own: Server, own_switch: Switch, connect: Connect, redis_of: Callable[[str], redis.Redis]
) -> None:
    guard = connect(own.url, lease_s=0.5)
    own_switch.revoke_and_wait(BOT, **WHY)
    redis_of(own.url).flushall()
    until(lambda: guard.status().store_regressed)
    own_switch.revoke(BOT, **WHY)
    own_switch.restore(BOT, **WHY)
    until(lambda: not refuses(guard, agent="bot"))


def test_a_lost_push_is_noticed_by_its_epoch(
    switch: Switch, guard: Guard, url: str, prefix: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    client = redis_of(url)
    switch.revoke_and_wait(Target("agent", "first"), **WHY)
    # The same state change as a kill makes, but nobody publishes it.
    record = codec.encode_revocation(_forged(2))
    client.pipeline().hset(f"{prefix}state", str(BOT), record).set(f"{prefix}epoch", 2).execute()
    until(lambda: refuses(guard, agent="bot"))
    assert guard.status().epoch == 2


def test_junk_on_the_channels_frees_nobody_and_stops_nothing(
    switch: Switch, guard: Guard, url: str, prefix: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    switch.revoke_and_wait(BOT, **WHY)
    client = redis_of(url)
    for junk in (b"", b"\xff\x00", b"null", b'{"v":1}', b'{"v":9}', b"[" * 5000):
        for channel in ("changes", "acks"):
            client.publish(prefix + channel, junk)
    _, containment = switch.revoke_and_wait(Target("agent", "next"), **WHY)
    assert containment.contained
    assert refuses(guard, agent="bot")
    assert refuses(guard, agent="next")
    guard.check(agent="other")
    assert guard.status().failures == 0


def test_a_forged_restoration_on_the_channel_is_undone_by_the_store(
    switch: Switch, connect: Connect, url: str, prefix: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    guard = connect(lease_s=0.5)
    switch.revoke_and_wait(BOT, **WHY)
    forged = codec.encode_change(
        codec.Change(2, "forged", "restore", BOT, None, None, "please", "mallory", time.time())
    )
    redis_of(url).publish(f"{prefix}changes", forged)
    until(lambda: guard.status().epoch == 1 and refuses(guard, agent="bot"))


@pytest.mark.parametrize("key", ["log", "state", "epoch", "change_ids"])
def test_a_key_of_another_type_is_set_aside_and_does_not_stop_a_kill(
    switch: Switch, connect: Connect, url: str, prefix: str, redis_of: Callable[[str], redis.Redis], key: str
) -> None:
    client = redis_of(url)
    client.rpush(prefix + key, "junk")
    assert switch.revoke(BOT, **WHY).durable is True
    assert client.lrange(f"{prefix}{key}:damaged", 0, -1) == [b"junk"]
    assert refuses(connect(), agent="bot")
    assert set(switch.snapshot().revocations) == {BOT}


def test_a_key_of_another_type_does_not_undo_half_of_a_restoration(
    switch: Switch, guard: Guard, url: str, prefix: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    switch.revoke_and_wait(BOT, **WHY)
    client = redis_of(url)
    client.rpush(f"{prefix}restored", "junk")
    outcome, containment = switch.restore_and_wait(BOT, **WHY)
    assert (outcome.note, outcome.epoch, containment.contained) == ("restored", 2, True)
    assert client.lrange(f"{prefix}restored:damaged", 0, -1) == [b"junk"]
    assert client.hkeys(f"{prefix}restored") == [b"agent:bot"]
    assert [change.kind for change in switch.changes(0)] == ["revoke", "restore"]
    guard.check(agent="bot")


def test_a_kill_by_one_who_may_not_publish_is_written_and_says_that_nobody_was_told(
    own: Server, own_switch: Switch, connect: Connect, redis_of: Callable[[str], redis.Redis], prefix: str
) -> None:
    guard = connect(own.url)
    mute = {
        "enabled": True,
        "passwords": ["+pw"],
        "categories": ["+@all"],
        "keys": ["*"],
        "reset_channels": True,
    }
    redis_of(own.url).acl_setuser("mute", **mute)
    with Switch(own.url.replace("redis://", "redis://mute:pw@"), prefix=prefix) as switch:
        outcome = switch.revoke(BOT, **WHY)
        assert outcome.changed
        assert "lets us tell nobody: " in outcome.note
        until(lambda: refuses(guard, agent="bot"))
        assert switch.mend(lambda found: found.revocations.values()) == 2
    until(lambda: guard.status().epoch == 2)
    assert refuses(guard, agent="bot")


def test_an_epoch_that_is_no_number_does_not_stop_a_kill(
    switch: Switch, connect: Connect, url: str, prefix: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    redis_of(url).set(f"{prefix}epoch", "junk")
    assert switch.revoke(BOT, **WHY).epoch == 1
    assert refuses(connect(), agent="bot")


def test_ids_in_the_log_that_leave_no_room_do_not_stop_a_kill(
    switch: Switch, guard: Guard, url: str, prefix: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    client = redis_of(url)
    client.xadd(f"{prefix}log", {"junk": "x"}, id="18446744073709551615-18446744073709551615")
    _, containment = switch.revoke_and_wait(BOT, **WHY)
    assert containment.contained
    assert refuses(guard, agent="bot")
    assert [change.target for change in switch.changes(0)] == [BOT]


def test_a_record_with_a_field_of_another_type_does_not_stop_a_kill_of_its_target(
    switch: Switch, connect: Connect, url: str, prefix: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    plain = json.loads(codec.encode_revocation(_forged(1)))
    redis_of(url).hset(f"{prefix}state", str(BOT), json.dumps({**plain, "evidence": None}))
    with pytest.raises(UnknownRevocation, match="evidence"):
        connect().check(agent="other")
    assert switch.revoke(BOT, **WHY).changed
    guard = connect()
    assert refuses(guard, agent="bot")
    guard.check(agent="other")


@pytest.mark.parametrize("value", [b"junk", b'{"v":2,"target":"agent:x"}', b"\xff"])
def test_a_record_that_cannot_be_read_refuses_everything_until_it_is_gone(
    switch: Switch,
    connect: Connect,
    url: str,
    prefix: str,
    redis_of: Callable[[str], redis.Redis],
    value: bytes,
) -> None:
    client = redis_of(url)
    client.hset(f"{prefix}state", "robot:x", value)  # type: ignore[arg-type]
    guard = connect(lease_s=0.5)
    with pytest.raises(UnknownRevocation, match="robot:x"):
        guard.check(agent="anybody")
    client.hdel(f"{prefix}state", "robot:x")
    until(lambda: not refuses(guard, agent="anybody"))


def test_a_record_filed_under_another_target_refuses_everything(
    connect: Connect, url: str, prefix: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    redis_of(url).hset(f"{prefix}state", "agent:innocent", codec.encode_revocation(_forged(1)))  # type: ignore[arg-type]
    with pytest.raises(UnknownRevocation, match="is about agent:bot"):
        connect().check(agent="anybody")


def test_a_kill_over_an_unreadable_record_of_the_same_target_heals_it(
    switch: Switch, connect: Connect, url: str, prefix: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    redis_of(url).hset(f"{prefix}state", str(BOT), b"junk")  # type: ignore[arg-type]
    guard = connect(lease_s=0.5)
    switch.revoke(BOT, **WHY)
    until(lambda: not refuses(guard, agent="other"))
    assert refuses(guard, agent="bot")


def test_a_dropped_push_connection_is_replaced(
    own: Server, own_switch: Switch, connect: Connect, redis_of: Callable[[str], redis.Redis]
) -> None:
    guard = connect(own.url)
    redis_of(own.url).execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    own_switch.revoke(BOT, **WHY)
    until(lambda: refuses(guard, agent="bot") and guard.status().connected)
    guard.check(agent="other")


def test_a_push_connection_that_went_silent_is_found_out_within_the_lease(
    own: Server, own_switch: Switch, connect: Connect
) -> None:
    proxy = Proxy(own.port)
    guard = connect(proxy.url, lease_s=1.0)
    proxy.silence(0)  # the push connection is opened first
    own_switch.revoke(BOT, **WHY)
    killed_s = time.monotonic()
    until(lambda: refuses(guard, agent="bot"))
    assert time.monotonic() - killed_s < 1.0 + 0.1
    until(lambda: not refuses(guard, agent="other"))
    with pytest.raises(Revoked):
        guard.check(agent="bot")
    proxy.close()


def test_a_command_connection_that_went_silent_does_not_delay_a_kill(
    own: Server, own_switch: Switch, connect: Connect
) -> None:
    proxy = Proxy(own.port)
    guard = connect(proxy.url, lease_s=30.0)
    proxy.silence(1)
    own_switch.revoke(BOT, **WHY)
    killed_s = time.monotonic()
    until(lambda: refuses(guard, agent="bot"))
    assert time.monotonic() - killed_s < 0.5
    proxy.close()


def test_a_point_cut_off_from_everything_refuses_after_its_lease_and_comes_back(
    own: Server, own_switch: Switch, connect: Connect
) -> None:
    proxy = Proxy(own.port)
    guard = connect(proxy.url, lease_s=0.5)
    proxy.silence_all()
    cut_s = time.monotonic()
    until(lambda: refuses(guard, agent="bot"))
    assert time.monotonic() - cut_s < 0.5 + 0.1
    with pytest.raises(LeaseExpired, match="longer than the lease"):
        guard.check(agent="bot")
    proxy.speak()
    until(lambda: not refuses(guard, agent="bot"))
    proxy.close()


def test_a_fault_of_our_own_in_the_follower_is_survived(
    switch: Switch, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    guard = connect(lease_s=2.0)
    with monkeypatch.context() as patch, caplog.at_level(logging.CRITICAL, "killswitch"):
        patch.setattr("killswitch.point.session.codec.decode_change", lambda data: 1 / 0)
        switch.revoke(BOT, **WHY)
        until(lambda: guard.status().failures > 0)
    until(lambda: refuses(guard, agent="bot"))
    until(lambda: not refuses(guard, agent="other"))


def test_nothing_in_the_store_has_a_time_to_live(
    switch: Switch, guard: Guard, url: str, prefix: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    switch.revoke_and_wait(BOT, level="suspend", expires_at_s=time.time() + 60, **WHY)
    client = redis_of(url)
    keys = list(client.scan_iter(f"{prefix.replace('{', '?').replace('}', '?')}*"))
    assert len(keys) >= 7
    assert {client.ttl(key) for key in keys} == {-1}


def _forged(epoch: int) -> Any:
    from killswitch import Revocation

    return Revocation(BOT, "revoke", "forged", "mallory", time.time(), None, f"forged-{epoch}", epoch)


def test_others_who_never_stop_writing_make_a_kill_fail_in_time_and_say_so(
    url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = Store.write

    def overtaken(self: Store, reading: Any, *rest: Any) -> Any:
        self.link.call("INCR", self.keys.epoch)  # somebody else, each time just before us
        return change(self, reading, *rest)

    monkeypatch.setattr(Store, "write", overtaken)
    with Switch(url, prefix=prefix, timeout_s=0.2) as switch:
        with pytest.raises(StoreUnreachable, match="others keep changing") as caught:
            switch.revoke(BOT, change_id="mine", **WHY)
        assert caught.value.change_id == "mine"


def test_others_who_never_stop_writing_keep_a_state_from_being_mended(
    url: str, prefix: str, switch: Switch
) -> None:
    with redis.Redis.from_url(url) as client:

        def choose(snapshot: Any) -> Any:
            client.incr(switch.keys.epoch)
            return snapshot.revocations.values()

        with pytest.raises(StoreUnreachable, match="was not mended"):
            switch.mend(choose)


def test_a_state_is_mended_in_the_place_of_keys_of_another_type(
    switch: Switch, url: str, prefix: str, connect: Connect, redis_of: Callable[[str], redis.Redis]
) -> None:
    client = redis_of(url)
    client.rpush(f"{prefix}state", "junk")
    with pytest.raises(StoreRefused, match="cannot be read"):
        switch.snapshot()
    assert switch.mend(lambda found: [*found.revocations.values(), _forged(1)]) == 1
    assert set(switch.snapshot().revocations) == {BOT}
    assert refuses(connect(), agent="bot")


def test_a_mend_without_the_right_to_read_changes_nothing(
    own: Server, own_switch: Switch, prefix: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    own_switch.revoke(BOT, **WHY)
    user = {"enabled": True, "passwords": ["+pw"], "categories": ["+@all"], "keys": ["*"], "channels": ["*"]}
    redis_of(own.url).acl_setuser("blind", **user, commands=["-hgetall"])
    with (
        Switch(own.url.replace("redis://", "redis://blind:pw@"), prefix=prefix) as switch,
        pytest.raises(StoreRefused, match="permissions"),
    ):
        switch.mend(lambda snapshot: ())
    assert set(own_switch.snapshot().revocations) == {BOT}


def test_a_server_that_says_little_about_itself_is_served_all_the_same(
    own: Server, prefix: str, connect: Connect, redis_of: Callable[[str], redis.Redis]
) -> None:
    """Managed servers often refuse CONFIG and INFO: the disk is then waited for, and everybody counts as seen."""
    user = {"enabled": True, "passwords": ["+pw"], "categories": ["+@all"], "keys": ["*"], "channels": ["*"]}
    redis_of(own.url).acl_setuser("guest", **user, commands=["-config", "-info"])
    connect(own.url)
    with Switch(own.url.replace("redis://", "redis://guest:pw@"), prefix=prefix, timeout_s=5.0) as switch:
        outcome, containment = switch.revoke_and_wait(BOT, **WHY)
    assert outcome.durable is True
    assert (containment.contained, containment.total) == (True, 1)


def test_a_kill_that_a_crashed_server_forgot_is_not_called_durable(
    switch: Switch, url: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    def forget(outcome: Any) -> None:
        redis_of(url).zrem(switch.keys.change_ids, outcome.change_id)

    assert switch.revoke(BOT, on_written=forget, **WHY).durable is False


def test_junk_on_the_registry_is_nobody(
    switch: Switch, guard: Guard, url: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    client = redis_of(url)
    client.hset(switch.keys.points, mapping={"junk": "junk", "born": "long ago"})
    registry = switch.registry()
    assert [point.name for point in registry.points] == ["the-guard"]
    assert registry.age_s is None


def test_restorations_that_are_put_back_are_found_and_junk_among_them_is_not(
    switch: Switch, url: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    switch.revoke(BOT, **WHY)
    switch.restore(BOT, **WHY)
    (restoration,) = switch.changes(1)
    client = redis_of(url)
    client.delete(switch.keys.restored)
    client.hset(switch.keys.restored, "agent:junk", "junk")
    with closing(Link(url, timeout_s=1.0)) as link:
        store = Store(link, switch.keys)
        store.keep_restorations([restoration])
        assert store.restorations([BOT, Target("agent", "junk"), Target("fleet")]) == {BOT: restoration}


def test_the_same_restoration_again_after_it_was_done_is_a_duplicate(switch: Switch) -> None:
    switch.revoke(BOT, **WHY)
    assert not switch.restore(BOT, change_id="r", **WHY).duplicate
    again = switch.restore(BOT, change_id="r", **WHY)
    assert (again.duplicate, again.epoch, again.changed) == (True, 2, True)


def test_a_server_that_keeps_readers_waiting_is_asked_once(
    own: Server, own_switch: Switch, prefix: str
) -> None:
    proxy = Proxy(own.port)
    with Switch(proxy.url, prefix=prefix, timeout_s=0.2) as switch:
        until(lambda: reads(switch))
        asked = proxy.accepted
        own.pause()
        with pytest.raises(StoreUnreachable):
            switch.epoch()
        assert proxy.accepted == asked
        own.resume()
    assert own_switch.epoch() == 0
    proxy.close()


def reads(switch: Switch) -> bool:
    with suppress(StoreUnreachable):
        return switch.epoch() == 0
    return False


def test_a_suspension_that_is_over_before_it_is_written_is_neither_announced_nor_written(
    switch: Switch,
) -> None:
    request = Request("suspend", BOT, "test", "tester", "late", time.time() - 1)
    outcome = switch._writer.write(request, time.monotonic(), announce=True)
    assert (outcome.changed, outcome.note) == (False, "that suspension is over already")


def test_a_point_without_a_second_connection_takes_no_first_one_and_comes_once_there_is_room(
    own: Server, connect: Connect, redis_of: Callable[[str], redis.Redis]
) -> None:
    client = redis_of(own.url)
    clients = len(client.client_list())
    client.config_set("maxclients", clients + 1)
    guard = connect(own.url, wait=False)
    until(lambda: guard.status().failures > 1)
    assert refuses(guard, agent="bot")
    client.config_set("maxclients", 1_000)
    until(lambda: not refuses(guard, agent="bot"))
    until(lambda: len(client.client_list()) == clients + 2)


def test_a_point_that_loses_its_rights_refuses_and_says_why(
    own: Server, connect: Connect, redis_of: Callable[[str], redis.Redis]
) -> None:
    client = redis_of(own.url)
    user = {"enabled": True, "passwords": ["+pw"], "categories": ["+@all"], "keys": ["*"], "channels": ["*"]}
    client.acl_setuser("point", **user)
    guard = connect(own.url.replace("redis://", "redis://point:pw@"), lease_s=0.5)
    guard.check(agent="bot")
    client.acl_setuser("point", **user, commands=["-eval"])
    until(lambda: refuses(guard, agent="bot"))
    with pytest.raises(LeaseExpired, match="no permissions to run the 'eval'"):
        guard.check(agent="bot")
    client.acl_setuser("point", **user)
    until(lambda: not refuses(guard, agent="bot"))


def test_more_pushes_than_a_point_takes_at_a_time_hold_up_nothing(
    switch: Switch, guard: Guard, url: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    switch.revoke_and_wait(BOT, **WHY)
    (known,) = switch.changes(0)
    many = "for i = 1, 1200 do redis.call('PUBLISH', ARGV[1], ARGV[2]) end"
    redis_of(url).eval(many, 0, switch.keys.changes, codec.encode_change(known))
    _, containment = switch.revoke_and_wait(Target("agent", "next"), **WHY)
    assert containment.contained
    assert refuses(guard, agent="bot")
    assert guard.status().failures == 0


def test_notices_without_end_cost_a_point_no_memory_and_bind_nobody_for_long(
    switch: Switch, connect: Connect, url: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    guard = connect(lease_s=1.0)
    pipeline = redis_of(url).pipeline(transaction=False)
    for number in range(MAX_NOTICED + 10):
        record = Revocation(Target("agent", f"a{number}"), "revoke", "x", "x", 1.0, None, f"n{number}", 0)
        pipeline.publish(switch.keys.changes, NOTICE + codec.encode_notice(record))
    pipeline.execute()
    last = f"a{MAX_NOTICED + 9}"
    until(lambda: refuses(guard, agent=last))
    session = guard._follower._session
    assert session is not None
    assert len(session.noticed_s) <= MAX_NOTICED
    until(lambda: not refuses(guard, agent=last) and not refuses(guard, agent="a0"))


def test_notices_that_keep_coming_keep_no_beat_waiting(
    switch: Switch, connect: Connect, url: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    """After a notice a point waits on without looking at the clock; whoever sends many must not stop it that way."""
    guard, client = connect(lease_s=0.5), redis_of(url)
    session = guard._follower._session
    assert session is not None
    beats = session.beats
    for number in range(60):
        record = Revocation(Target("agent", f"a{number}"), "revoke", "x", "x", 1.0, None, f"n{number}", 0)
        client.publish(switch.keys.changes, NOTICE + codec.encode_notice(record))
        threading.Event().wait(0.03)
        assert guard.status().lease_remaining_s > 0
    assert session.beats - beats >= 6  # 1.8 s, a beat at least every 0.2 s


def test_restoring_over_a_key_of_another_type_says_that_nothing_is_there(
    switch: Switch, url: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    redis_of(url).rpush(switch.keys.state, "junk")
    outcome = switch.restore(BOT, **WHY)
    assert (outcome.changed, outcome.note) == (False, "not revoked, nothing to restore")


def test_restoring_without_the_right_to_read_is_not_taken_for_nothing_to_restore(
    own: Server, own_switch: Switch, prefix: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    own_switch.revoke(BOT, **WHY)
    user = {"enabled": True, "passwords": ["+pw"], "categories": ["+@all"], "keys": ["*"], "channels": ["*"]}
    redis_of(own.url).acl_setuser("blind", **user, commands=["-hget"])
    with (
        Switch(own.url.replace("redis://", "redis://blind:pw@"), prefix=prefix) as switch,
        pytest.raises(StoreRefused, match="permissions"),
    ):
        switch.restore(BOT, **WHY)


def test_junk_between_the_changes_in_the_log_is_passed_over(
    switch: Switch, url: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    switch.revoke(BOT, **WHY)
    client = redis_of(url)
    (first,) = client.xrange(switch.keys.log)
    client.xadd(switch.keys.log, {"change": "junk"}, "1-5")
    client.xadd(switch.keys.log, first[1], "1-6")  # a change of ours in another place
    switch.restore(BOT, **WHY)
    assert [change.kind for change in switch.changes(0)] == ["revoke", "restore"]


def test_a_kill_is_only_announced_until_it_is_written(
    switch: Switch, guard: Guard, url: str, redis_of: Callable[[str], redis.Redis]
) -> None:
    record = Revocation(BOT, "revoke", "test", "tester", time.time(), None, "n", 0)
    redis_of(url).publish(switch.keys.changes, NOTICE + codec.encode_notice(record))
    until(lambda: refuses(guard, agent="bot"))
    assert guard.is_announced(record)
    switch.revoke_and_wait(BOT, **WHY)
    assert not guard.is_announced(record)
    assert refuses(guard, agent="bot")
