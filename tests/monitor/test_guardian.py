"""A store that was robbed is put right from the daemon's own record; what people approved stays lifted."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from benchmarks.faults import Proxy
from killswitch import Change, Guard, Keyring, Petition, PublicKey, Revoked, Signer, Switch, Target, approve
from killswitch.drills.drill import run_drill
from killswitch.storage.codec import decode_change, encode_revocation
from monitor.core.alerts import Alert
from monitor.kill import guardian as module
from monitor.kill.guardian import Guardian
from monitor.kill.ledger import Ledger
from tests.killswitch.conftest import Server, refuses, until

pytestmark = pytest.mark.redis
A, B = Target("agent", "a"), Target("agent", "b")
WHY = {"reason": "it pays strangers", "by": "alice"}
STATE, HEAD = "killcord:state", "killcord:head"


class Watched:
    """A store with the daemon's guardian, keys, and an intruder."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.path = directory / "revocations"
        self.daemon, self.alice = Signer.generate("daemon"), Signer.generate("alice")
        keys = PublicKey.of(self.daemon, "daemon"), PublicKey.of(self.alice, "operator")
        self.keyring = Keyring(1, keys, {"*": 1})
        self.switch = Switch(server.url, signer=self.daemon, keyring=self.keyring)
        self.intruder = redis.Redis.from_url(server.url)
        self.alerts: list[Alert] = []
        self.guardian = self.new_guardian()

    def new_guardian(self, **options: Any) -> Guardian:
        """As after a restart of the daemon."""
        given = {"key_id": self.daemon.key_id, "refresh": lambda: None, "on_alert": self.alerts.append}
        return Guardian(self.switch, Ledger(self.path), **{**given, **options})

    def restore(self, target: Target) -> None:
        held = self.switch.snapshot().revocations[target]
        now_s = time.time()
        petition = Petition.open(target, held.change_id, now_s=now_s, **WHY)
        self.switch.restore(target, approvals=(approve(petition, self.alice, now_s),), **WHY)

    def kept(self) -> set[str]:
        """What a daemon that starts now would know; from a copy, because a ledger has one owner."""
        copy = self.path.with_name("copy")
        shutil.copy(self.path, copy)
        return {target.value for target in Ledger(copy).records}

    def revoked(self) -> dict[str, str]:
        return {target.value: record.level for target, record in self.switch.snapshot().revocations.items()}

    def verdicts(self) -> list[str]:
        return [alert.verdict for alert in self.alerts]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Watched]:
    server = Server(tmp_path / "valkey")
    watched = Watched(server, tmp_path)
    watched.guardian.look()
    yield watched
    watched.switch.close()
    watched.intruder.close()
    server.close()


def test_a_new_store_is_vouched_for_and_nobody_is_told(store: Watched) -> None:
    assert store.switch.snapshot().certified
    assert store.alerts == []


def test_what_a_store_holds_when_it_is_first_seen_is_taken_over_and_nobody_is_told(tmp_path: Path) -> None:
    """From a version that signed nothing."""
    server = Server(tmp_path / "valkey")
    with Switch(server.url) as old:
        old.revoke(A, **WHY)
    store = Watched(server, tmp_path)
    store.guardian.look()
    assert store.alerts == []
    assert store.switch.snapshot().certified
    store.intruder.flushall()
    assert len(store.guardian.look().lost) == 1
    assert store.revoked() == {"a": "revoke"}
    server.close()


ROBBERIES: dict[str, Callable[[redis.Redis], object]] = {
    "everything": lambda client: client.flushall(),
    "one": lambda client: client.hdel(STATE, "agent:a"),
    "the state": lambda client: client.delete(STATE),
    "the head too": lambda client: client.delete(STATE, HEAD),
    "all but the epoch": lambda client: client.delete(STATE, HEAD, "killcord:log", "killcord:change_ids"),
}


@pytest.mark.parametrize("rob", ROBBERIES.values(), ids=ROBBERIES)
def test_what_was_taken_is_put_back_and_people_are_told_once(
    store: Watched, rob: Callable[[redis.Redis], object]
) -> None:
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    before = store.switch.epoch()
    rob(store.intruder)
    found = store.guardian.look()
    assert [record.target for record in found.lost] == [A]
    snapshot = store.switch.snapshot()
    assert snapshot.certified
    assert snapshot.epoch > before
    assert snapshot.revocations[A].reason == WHY["reason"]
    rob(store.intruder)
    store.guardian.look()
    assert store.revoked() == {"a": "revoke"}
    assert store.verdicts() == ["store_damaged"], "one alert an incident"
    assert "lost 1 revocation;" in store.alerts[0].title
    assert store.guardian.mended == 2


def test_a_state_of_yesterday_with_its_genuine_head_frees_nobody(store: Watched) -> None:
    store.guardian.look()
    saved = {key: store.intruder.dump(key) for key in ("killcord:epoch", HEAD)}
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    store.intruder.delete(STATE, "killcord:log")
    for key, value in saved.items():
        store.intruder.restore(key, 0, value, replace=True)
    assert store.switch.snapshot().certified, "the head is genuine"
    store.guardian.look()
    assert store.revoked() == {"a": "revoke"}


def test_a_kill_that_was_weakened_is_made_strict_again(store: Watched) -> None:
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    store.switch.revoke(B, level="suspend", expires_at_s=time.time() + 60, **WHY)
    weaker = store.switch.snapshot().revocations[B]
    forged = encode_revocation(weaker).replace(b"agent:b", b"agent:a")
    store.intruder.hset(STATE, "agent:a", forged)
    found = store.guardian.look()
    assert [record.target for record in found.weakened] == [A]
    assert store.revoked() == {"a": "revoke", "b": "suspend"}


def test_a_kill_that_nobody_we_know_signed_is_kept_and_people_are_told(store: Watched) -> None:
    with Switch(store.server.url) as stranger:
        stranger.revoke(A, **WHY)
    store.guardian.look()
    assert store.switch.snapshot().certified
    assert store.revoked() == {"a": "revoke"}
    assert store.verdicts() == ["store_forged"]
    assert "agent:a" in store.alerts[0].reasons[0].sentence


def test_a_record_that_came_without_any_log_is_kept_and_people_are_told(store: Watched) -> None:
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    record = encode_revocation(store.switch.snapshot().revocations[A])
    forged = record.replace(b"agent:a", b"agent:b").replace(b'"change_id":"', b'"change_id":"x')
    store.intruder.hset(STATE, "agent:b", forged)
    found = store.guardian.look()
    assert [record.target for record in found.gained] == [B]
    assert store.verdicts() == ["store_forged"]
    store.intruder.flushall()
    store.guardian.look()
    assert set(store.revoked()) == {"a", "b"}, "once seen it is not lost again"


def test_junk_is_dropped_and_people_are_told(store: Watched) -> None:
    store.intruder.hset(STATE, "agent:x", "junk")
    store.guardian.look()
    snapshot = store.switch.snapshot()
    assert (snapshot.unreadable, snapshot.certified) == ((), True)
    assert store.verdicts() == ["store_damaged"]


@pytest.mark.parametrize("key", ["epoch", "state", "head", "log", "change_ids"])
def test_a_key_of_another_type_is_set_aside(store: Watched, key: str) -> None:
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    store.intruder.delete(f"killcord:{key}")
    store.intruder.sadd(f"killcord:{key}", "x")
    store.guardian.look()
    assert store.revoked() == {"a": "revoke"}
    assert not store.guardian.look().is_damaged
    store.switch.revoke(B, **WHY)
    store.guardian.look()
    assert store.switch.snapshot().certified
    assert set(store.revoked()) == {"a", "b"} == store.kept()


@pytest.mark.parametrize("epoch", [2**53 - 1, 2**63 - 1, 2**64, 10**30, -5])
def test_the_numbers_cannot_be_used_up(store: Watched, epoch: int) -> None:
    with Guard.connect(store.server.url, keyring=store.keyring, name="p1") as guard:
        store.switch.revoke(A, **WHY)
        store.guardian.look()
        store.intruder.set("killcord:epoch", epoch)
        store.intruder.publish("killcord:changes", "junk")  # makes the point look
        for _ in range(3):
            store.guardian.look()
        assert store.switch.epoch() < 2**32
        assert store.switch.snapshot().certified
        store.switch.revoke(B, **WHY)
        until(lambda: refuses(guard, agent="b"))
        until(lambda: not refuses(guard, agent="innocent"))
        assert refuses(guard, agent="a")


def test_what_people_approved_stays_lifted(store: Watched) -> None:
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    store.restore(A)
    assert not store.guardian.look().is_damaged
    assert store.revoked() == {}
    store.intruder.flushall()
    store.guardian.look()
    assert store.revoked() == {}
    assert store.alerts == []


def test_a_restoration_without_enough_approvals_is_undone(store: Watched) -> None:
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    with Switch(store.server.url) as stranger:
        stranger.restore(A, **WHY)
    assert store.revoked() == {}
    assert len(store.guardian.look().lost) == 1
    assert store.revoked() == {"a": "revoke"}


def test_a_suspension_that_ran_out_is_swept_up_and_stays_away(store: Watched) -> None:
    store.switch.revoke(A, level="suspend", expires_at_s=time.time() + 0.2, **WHY)
    store.guardian.look()
    until(lambda: bool(store.switch.expire(by="killcord/expiry")))
    assert not store.guardian.look().is_damaged
    assert store.revoked() == {}
    assert store.kept() == set()


def test_what_happened_while_the_daemon_was_down_is_caught_up_with(store: Watched) -> None:
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    store.restore(A)
    for number in range(30):
        store.switch.revoke(Target("agent", f"x-{number}"), **WHY)
    again = store.new_guardian()
    assert not again.look().is_damaged
    assert len(store.kept()) == 30
    assert store.alerts == []


def test_a_store_that_was_emptied_while_the_daemon_was_down_is_put_right_at_its_start(store: Watched) -> None:
    for target in (A, B):
        store.switch.revoke(target, **WHY)
    store.guardian.look()
    store.intruder.flushall()
    store.new_guardian().look()
    assert set(store.revoked()) == {"a", "b"}
    assert "lost 2 revocations" in store.alerts[0].title


def test_a_change_is_on_disk_as_soon_as_it_is_noted(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for the next look, and taken in once however often it is noted."""
    monkeypatch.setattr(module, "LOOK_INTERVAL_S", 1e6)
    looks: list[None] = []
    with store.new_guardian(refresh=lambda: looks.append(None)) as guardian:
        until(lambda: len(looks) == 1)
        store.switch.revoke(A, **WHY)
        (change,) = store.switch.changes(guardian._ledger.epoch)
        guardian.note_change(change)
        until(lambda: store.kept() == {"a"})
        assert len(looks) == 1
        guardian.note_change(change)
        until(lambda: len(looks) == 2)
    assert store.alerts == []


def test_points_keep_refusing_and_new_ones_allow_nothing_until_it_is_put_right(store: Watched) -> None:
    with Guard.connect(store.server.url, keyring=store.keyring, name="old") as old:
        store.switch.revoke(A, **WHY)
        until(lambda: refuses(old, agent="a"))
        store.guardian.look()
        store.intruder.flushall()
        with Guard.connect(store.server.url, keyring=store.keyring, name="new", wait=False) as new:
            assert refuses(old, agent="a")
            assert refuses(new, agent="b"), "nobody vouches for an empty store"
            store.guardian.look()
            until(lambda: not refuses(new, agent="b"))
            with pytest.raises(Revoked):
                new.check(agent="a")
            until(lambda: not refuses(old, agent="b"))
            assert refuses(old, agent="a")


def test_it_looks_by_itself_and_at_once_when_told_of_a_gap(store: Watched) -> None:
    with store.new_guardian():
        store.switch.revoke(A, **WHY)
        until(lambda: store.kept() == {"a"})
        store.intruder.flushall()
        until(lambda: store.revoked() == {"a": "revoke"})


def test_a_store_that_is_away_is_waited_for(store: Watched, caplog: pytest.LogCaptureFixture) -> None:
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    store.server.kill()
    with caplog.at_level(logging.ERROR), store.new_guardian() as guardian:
        guardian.wake()
        store.server.start()
        store.intruder.flushall()
        until(lambda: store.revoked() == {"a": "revoke"}, 30)
    assert "could not be compared" not in caplog.text


def test_a_store_that_kept_us_waiting_is_looked_at_soon_again(store: Watched) -> None:
    """A look that took long by waiting must not put off the next one by twenty times as long."""
    store.switch.revoke(A, **WHY)
    looks: list[float] = []
    with store.new_guardian(refresh=lambda: looks.append(time.monotonic())) as guardian:
        until(lambda: store.kept() == {"a"})
        store.server.pause()
        before = len(looks)
        guardian.wake()
        until(lambda: len(looks) > before)
        until(lambda: time.monotonic() > looks[-1] + 0.6)
        store.server.resume()
        store.intruder.hdel(STATE, "agent:a")
        store.server.restart()
        until(lambda: store.revoked() == {"a": "revoke"}, 5)


def test_a_store_that_refuses_to_be_put_right_is_said(store: Watched) -> None:
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    store.intruder.hdel(STATE, "agent:a")
    store.intruder.execute_command("REPLICAOF", "127.0.0.1", 1)  # it takes no writes
    store.guardian.look()
    assert "could not be put right yet" in store.alerts[0].title
    store.intruder.execute_command("REPLICAOF", "NO", "ONE")
    store.guardian.look()
    assert store.revoked() == {"a": "revoke"}


def test_a_daemon_whose_key_was_struck_off_signs_nothing_and_still_puts_back(store: Watched) -> None:
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    store.switch.use_keyring(Keyring(2, (PublicKey.of(store.alice, "operator"),), {"*": 1}))
    epoch = store.switch.epoch()
    store.guardian.look()
    assert store.switch.epoch() == epoch
    store.intruder.flushall()
    store.guardian.look()
    assert store.revoked() == {"a": "revoke"}


def test_a_kill_below_the_epoch_we_saw_is_safe_before_the_next_robbery(store: Watched) -> None:
    """Somebody sets the epoch back, a kill is made by one who does not know better, and that is robbed too."""
    for _ in range(3):
        store.switch.revoke(B, **WHY)
        store.guardian.look()
        store.restore(B)
        store.guardian.look()
    store.intruder.delete("killcord:epoch", HEAD, "killcord:log")
    with Switch(store.server.url) as other:
        outcome = other.revoke(A, **WHY)
        [change] = other.changes(outcome.epoch - 1, 1)
    store.intruder.hdel(STATE, "agent:a")
    store.guardian.note_change(change)
    store.guardian._take_noted()
    store.guardian.look()
    assert store.revoked() == {"a": "revoke"}


def test_a_restoration_below_the_epoch_we_saw_stands(store: Watched) -> None:
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    store.restore(A)
    [change] = store.switch.changes(store.switch.epoch() - 1, 1)
    store.guardian._ledger.note(change.epoch + 5)
    store.guardian.note_change(change)
    store.guardian._take_noted()
    assert store.kept() == set()
    store.guardian.look()
    assert store.revoked() == {}


def test_a_replayed_kill_that_people_restored_is_taken_out_again_and_points_let_go(
    store: Watched,
) -> None:
    store.switch.revoke(A, **WHY)
    old = store.intruder.hgetall(STATE)
    store.guardian.look()
    guard = Guard.connect(store.server.url, keyring=store.keyring)
    store.restore(A)
    store.guardian.look()
    store.intruder.flushall()
    store.intruder.hset(STATE, mapping=old)
    store.guardian.look()
    assert store.revoked() == {}
    until(lambda: not refuses(guard, agent="a"))
    assert "store_damaged" in store.verdicts()
    guard.close()


def heard(store: Watched, change: Change) -> None:
    """As it comes from the follower, without a look."""
    store.guardian.note_change(change)
    store.guardian._take_noted()


def last_change(store: Watched) -> Change:
    [change] = store.switch.changes(store.switch.epoch() - 1, 1)
    return change


def test_a_kill_ahead_of_what_we_know_is_safe_at_once_and_what_is_between_is_still_read(
    store: Watched,
) -> None:
    store.switch.revoke(B, **WHY)
    store.switch.revoke(A, **WHY)
    epoch = store.guardian._ledger.epoch
    heard(store, last_change(store))
    assert (store.kept(), store.guardian._ledger.epoch) == ({"a"}, epoch)
    store.intruder.hdel(STATE, "agent:a")
    store.guardian.look()
    assert set(store.revoked()) == {"a", "b"} == store.kept()


def test_a_kill_heard_ahead_and_restored_since_is_not_revived_by_reading_it_once_more(store: Watched) -> None:
    store.switch.revoke(B, **WHY)
    store.switch.revoke(A, **WHY)
    heard(store, last_change(store))
    store.restore(A)
    heard(store, last_change(store))
    assert store.kept() == set()
    assert not store.guardian.look().is_damaged
    assert set(store.revoked()) == {"b"} == store.kept()


def test_a_replayed_kill_that_people_restored_does_not_come_back(store: Watched) -> None:
    """Neither as the next change nor as one of long ago, nor after a restart of the daemon."""
    store.switch.revoke(A, **WHY)
    old = last_change(store)
    store.guardian.look()
    store.restore(A)
    store.guardian.look()
    for guardian in (store.guardian, store.new_guardian()):
        for epoch in (old.epoch, guardian._ledger.epoch + 1, guardian._ledger.epoch + 7):
            guardian.note_change(replace(old, epoch=epoch))
            guardian._take_noted()
            assert guardian._ledger.records == {}
    assert not store.guardian.look().is_damaged


def test_an_intruder_who_overhears_a_change_id_cannot_have_the_kill_ignored(store: Watched) -> None:
    """The notice says it a moment before the kill is written."""
    store.intruder.delete("killcord:epoch", HEAD, "killcord:log")
    store.guardian._ledger.note(50)
    with Switch(store.server.url) as other:
        other.revoke(A, **WHY)
        [kill] = other.changes(0, 1)
    assert kill.new is not None
    heard(store, replace(kill, target=B, new=replace(kill.new, target=B)))
    heard(store, kill)
    assert store.kept() == {"a", "b"}


def test_a_point_that_missed_a_restoration_hears_of_it_though_everything_was_taken(store: Watched) -> None:
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    proxy = Proxy(store.server.port)
    with Guard.connect(proxy.url, keyring=store.keyring, name="away", lease_s=30) as guard:
        assert refuses(guard, agent="a")
        proxy.silence_all()
        store.restore(A)
        store.guardian.look()
        again = store.new_guardian()  # the restoration is on the daemon's disk
        store.intruder.flushall()
        again.look()
        proxy.reset()
        proxy.speak()
        until(lambda: not refuses(guard, agent="a"), 20)
    assert store.revoked() == {}
    proxy.close()


@pytest.mark.parametrize("spoiled", [None, "string", "junk", "older"])
def test_restorations_that_were_taken_out_of_the_store_are_put_back(
    store: Watched, spoiled: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    restored, field = "killcord:restored", "agent:a"
    for _ in range(2):
        store.switch.revoke(A, **WHY)
        store.guardian.look()
        older = store.intruder.hget(restored, field)
        store.restore(A)
        store.guardian.look()
    ours = store.intruder.hget(restored, field)
    epoch = store.switch.epoch()
    assert not store.guardian.look().is_damaged
    assert store.switch.epoch() == epoch, "nothing is written while nothing is missing"
    store.intruder.delete(restored)
    if spoiled == "string":
        store.intruder.set(restored, "x")
    elif spoiled:
        store.intruder.hset(restored, field, "junk" if spoiled == "junk" else older)
    for _ in range(2):
        store.guardian.look()
    assert decode_change(store.intruder.hget(restored, field)).approvals == decode_change(ours).approvals
    assert store.switch.epoch() > epoch, "points look again"
    assert "put back" in caplog.text
    assert store.alerts == []


def test_a_restorations_key_of_another_type_keeps_nothing_from_being_put_right(store: Watched) -> None:
    for target in (A, B):
        store.switch.revoke(target, **WHY)
        store.guardian.look()
    store.restore(B)
    store.guardian.look()
    store.intruder.flushall()
    store.intruder.set("killcord:restored", "x")
    store.guardian.look()
    assert store.revoked() == {"a": "revoke"}


def test_the_restorations_are_looked_for_in_turn(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESTORATIONS_A_LOOK", 2)
    monkeypatch.setattr(module, "PAGE", 2)
    targets = [Target("agent", f"x-{number}") for number in range(5)]
    for target in targets:
        store.switch.revoke(target, **WHY)
        store.guardian.look()
        store.restore(target)
        store.guardian.look()
    store.intruder.hdel("killcord:restored", *map(str, targets[2:]))
    for _ in range(3):
        store.guardian.look()
    assert store.switch.restorations(targets).keys() == set(targets)


def test_break_glass_is_told_once(store: Watched) -> None:
    safe = Signer.generate("safe")
    keys = (*store.keyring.keys, PublicKey.of(safe, "recovery"))
    keyring = Keyring(2, keys, {"*": 1})
    store.switch.use_keyring(keyring)
    store.guardian.look()
    store.switch.revoke(A, **WHY)
    store.guardian.look()
    with Switch(store.server.url, signer=safe, keyring=keyring) as switch:
        switch.restore(A, reason="INC-42, nobody reachable", by="carol")
    change = last_change(store)
    for _ in range(3):
        store.guardian.look()
        heard(store, change)
    assert store.verdicts() == ["break_glass"]
    assert "agent:a was restored by carol with the recovery key safe" in store.alerts[0].title
    assert any("INC-42" in reason.sentence for reason in store.alerts[0].reasons)


def test_a_canary_that_a_drill_restored_is_never_put_back(store: Watched) -> None:
    with Guard.connect(store.server.url, keyring=store.keyring, name="p1"):
        with store.new_guardian() as guardian:
            stop = threading.Event()

            def follow() -> None:
                store.switch.follow(
                    0, guardian.note_change, lambda ack: None, stop, None, lambda gap: guardian.wake()
                )

            follower = threading.Thread(target=follow)
            follower.start()
            for _ in range(3):
                assert run_drill(store.switch, by="test").problem == ""
                store.intruder.flushall()
                until(lambda: store.switch.snapshot().certified)
                assert store.revoked() == {}
            stop.set()
            follower.join(10)
            until(lambda: guardian._ledger.records == {})
        assert guardian.mended == 0
    assert "store_damaged" not in store.verdicts()


def test_a_drill_leaves_nothing_to_put_right(store: Watched) -> None:
    canary = Target("session", "killcord-canary/1")
    store.switch.revoke(canary, **WHY)
    store.guardian.look()
    store.switch.restore(canary, **WHY)
    store.guardian.look()
    epoch = store.switch.epoch()
    assert not store.guardian.look().is_damaged
    assert store.switch.epoch() == epoch
