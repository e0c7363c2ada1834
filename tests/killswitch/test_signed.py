"""What somebody who can only write to the store can do to points that hold public keys: stop, never free."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from benchmarks.faults import Proxy
from killswitch import (
    Approval,
    ApprovalNeeded,
    Change,
    Guard,
    InvalidRequest,
    Keyring,
    Level,
    Petition,
    PublicKey,
    Revoked,
    SignedKeyring,
    Signer,
    Switch,
    Target,
    UnknownRevocation,
    UnprovenState,
    approve,
)
from killswitch.point.proof import PAGE
from killswitch.storage.codec import encode_change
from killswitch.storage.store import MAX_ROTATIONS, MENDED, Keys
from killswitch.trust.certification import read_head, signer_of
from killswitch.trust.head import CONTEXT
from killswitch.trust.signing import seal
from tests.killswitch.conftest import Server, refuses, until

WHY: dict[str, Any] = {"reason": "exfiltrates", "by": "alice"}
EVIL = Target("agent", "evil")
DAEMON, ALICE, BOB, MALLORY = (Signer.generate(name) for name in ("daemon", "alice", "bob", "mallory"))
OPEN = Keyring.founding(PublicKey("daemon", "daemon", DAEMON.public))
STRICT = Keyring.founding(
    PublicKey("daemon", "daemon", DAEMON.public),
    (PublicKey("alice", "operator", ALICE.public), PublicKey("bob", "operator", BOB.public)),
)
Connect = Callable[..., Guard]


@pytest.fixture
def daemon(url: str, prefix: str) -> Iterator[Switch]:
    """A switch that signs with the daemon's key, over a founded state; two operators must agree to restore."""
    with Switch(url, prefix=prefix, signer=DAEMON, keyring=STRICT) as switch:
        switch.mend(lambda snapshot: ())
        yield switch


@pytest.fixture
def raw(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


def petition(switch: Switch, target: Target = EVIL, **fields: Any) -> Petition:
    record = switch.snapshot().revocations[target]
    now_s = time.time()
    plain: dict[str, Any] = {
        "id": "p1", "target": target, "lifts": record.change_id, "reason": "fixed", "by": "alice",
        "expires_at_s": now_s + 60, "opened_at_s": now_s,
    }  # fmt: skip
    return Petition(**plain | fields)


def votes(of: Petition, *signers: Signer) -> tuple[Approval, ...]:
    return tuple(approve(of, signer, time.time()) for signer in signers)


def settle(guard: Guard, switch: Switch) -> None:
    until(lambda: guard.status().epoch >= switch.epoch())


def test_kill_and_restore_by_two(daemon: Switch, connect: Connect) -> None:
    guard = connect(keyring=STRICT)
    guard.check(agent="evil")
    daemon.revoke_and_wait(EVIL, **WHY)
    assert refuses(guard, agent="evil")
    outcome, containment = daemon.restore_and_wait(EVIL, approvals=votes(petition(daemon), ALICE, BOB), **WHY)
    assert outcome.changed
    assert containment.contained
    guard.check(agent="evil")
    assert daemon.snapshot().certified


@pytest.mark.parametrize("signers", [(), (ALICE,), (ALICE, ALICE), (ALICE, DAEMON), (ALICE, MALLORY)])
def test_fewer_than_two_operators_restore_nothing(daemon: Switch, signers: tuple[Signer, ...]) -> None:
    daemon.revoke(EVIL, **WHY)
    with pytest.raises(ApprovalNeeded, match="approval"):
        daemon.restore(EVIL, approvals=votes(petition(daemon), *signers), **WHY)


@pytest.mark.parametrize("signers", [(), (ALICE,), (DAEMON,), (ALICE, MALLORY)])
def test_points_do_not_believe_a_restoration_that_is_written_past_the_switch(
    daemon: Switch, url: str, prefix: str, connect: Connect, signers: tuple[Signer, ...]
) -> None:
    guard = connect(keyring=STRICT)
    daemon.revoke_and_wait(EVIL, **WHY)
    with Switch(url, prefix=prefix) as intruder:  # it may write, and asks nobody
        intruder.restore(EVIL, approvals=votes(petition(daemon), *signers), **WHY)
        settle(guard, intruder)
    assert refuses(guard, agent="evil")
    assert guard.status().store_regressed
    guard.check(agent="other")


def test_an_old_restoration_cannot_be_replayed(
    daemon: Switch, url: str, prefix: str, connect: Connect
) -> None:
    guard = connect(keyring=STRICT)
    daemon.revoke(EVIL, **WHY)
    old = votes(petition(daemon), ALICE, BOB)
    daemon.restore_and_wait(EVIL, approvals=old, **WHY)
    guard.check(agent="evil")
    daemon.revoke_and_wait(EVIL, **WHY)
    with Switch(url, prefix=prefix) as intruder:
        intruder.restore(EVIL, approvals=old, **WHY)
        settle(guard, intruder)
    assert refuses(guard, agent="evil")
    daemon.revoke(EVIL, **WHY)
    with pytest.raises(ApprovalNeeded):
        daemon.restore(EVIL, approvals=old, **WHY)


def test_what_is_taken_out_of_the_state_stays_refused_where_it_was_known(
    daemon: Switch, connect: Connect, raw: redis.Redis, prefix: str
) -> None:
    guard = connect(keyring=STRICT)
    daemon.revoke_and_wait(EVIL, **WHY)
    raw.hdel(f"{prefix}state", "agent:evil")
    raw.publish(f"{prefix}changes", MENDED)
    until(lambda: guard.status().store_regressed)
    assert refuses(guard, agent="evil")


@pytest.mark.parametrize("command", ["hdel", "del state", "del head", "flush", "weaken"])
def test_a_point_that_starts_on_a_robbed_store_allows_nothing(
    own: Server, connect: Connect, prefix: str, command: str
) -> None:
    with Switch(own.url, prefix=prefix, signer=DAEMON, keyring=STRICT) as switch:
        switch.mend(lambda snapshot: ())
        switch.revoke(EVIL, **WHY)
        switch.revoke(Target("agent", "other"), **WHY)
        lost = switch.snapshot().revocations[EVIL]
        with redis.Redis.from_url(own.url) as raw:
            if command == "hdel":
                raw.hdel(f"{prefix}state", "agent:evil")
            elif command == "weaken":
                raw.hset(f"{prefix}state", "agent:evil", raw.hget(f"{prefix}state", "agent:other") or b"")
            elif command == "flush":
                raw.flushall()
            else:
                raw.delete(f"{prefix}{command.split()[1]}")
        guard = connect(own.url, keyring=STRICT)
        for _ in range(3):
            with pytest.raises((UnprovenState, UnknownRevocation)):
                guard.check(agent="harmless")
        # ... until somebody with a key, who knows better, has put it right.
        switch.mend(lambda snapshot: [*snapshot.revocations.values(), lost])
        until(lambda: not refuses(guard, agent="harmless"))
        assert refuses(guard, agent="evil")


def test_a_kill_does_not_vouch_for_a_robbed_store(
    daemon: Switch, connect: Connect, raw: redis.Redis, prefix: str
) -> None:
    """The next honest writer would otherwise sign what the robber left."""
    daemon.revoke(EVIL, **WHY)
    raw.delete(f"{prefix}state", f"{prefix}head", f"{prefix}epoch")
    daemon.revoke(Target("agent", "next"), **WHY)
    assert not daemon.snapshot().certified
    with pytest.raises(UnprovenState):
        connect(keyring=STRICT).check(agent="harmless")


def test_a_kill_without_any_key_is_enforced_and_shown_as_unsigned(
    daemon: Switch, url: str, prefix: str, connect: Connect
) -> None:
    guard = connect(keyring=STRICT)
    with Switch(url, prefix=prefix) as keyless:
        assert keyless.revoke_and_wait(EVIL, **WHY)[1].contained
    daemon.revoke(Target("agent", "next"), **WHY)
    assert refuses(guard, agent="evil")
    assert [change.signed_by for change in daemon.changes(0)] == ["", "daemon"]


@pytest.mark.parametrize("level", ["step_up", "suspend"])
def test_a_stricter_record_is_not_replaced_by_a_weaker_one(
    daemon: Switch, url: str, prefix: str, connect: Connect, level: Level, raw: redis.Redis
) -> None:
    guard = connect(keyring=STRICT)
    daemon.revoke_and_wait(EVIL, **WHY)
    raw.hdel(f"{prefix}state", "agent:evil")  # so that the table allows the weaker level
    with Switch(url, prefix=prefix) as intruder:
        intruder.revoke(
            EVIL, level=level, expires_at_s=time.time() + 0.2 if level == "suspend" else None, **WHY
        )
        settle(guard, intruder)
    with pytest.raises(Revoked) as caught:
        guard.check(agent="evil")
    assert caught.value.revocation.level == "revoke"


def test_a_point_that_was_away_finds_the_restoration_in_the_log(
    own: Server, connect: Connect, prefix: str
) -> None:
    with Switch(own.url, prefix=prefix, signer=DAEMON, keyring=STRICT) as switch:
        switch.mend(lambda snapshot: ())
        proxy = Proxy(own.port)
        guard = connect(proxy.url, keyring=STRICT, lease_s=1.0)
        switch.revoke_and_wait(EVIL, **WHY)
        proxy.silence_all()
        until(lambda: not guard.status().connected)
        switch.restore(EVIL, approvals=votes(petition(switch), ALICE, BOB), **WHY)
        proxy.speak()
        until(lambda: not refuses(guard, agent="evil"))
        assert not guard.status().store_regressed
        proxy.close()


def test_a_suspension_that_ran_out_needs_nobody(daemon: Switch, connect: Connect) -> None:
    guard = connect(keyring=STRICT)
    daemon.revoke(EVIL, level="suspend", expires_at_s=time.time() + 0.2, **WHY)
    assert refuses(guard, agent="evil")
    until(lambda: not refuses(guard, agent="evil"))
    until(lambda: bool(daemon.expire(by="expiry")))
    settle(guard, daemon)
    assert not guard.status().store_regressed


def test_without_operators_the_daemons_key_restores(url: str, prefix: str, connect: Connect) -> None:
    with Switch(url, prefix=prefix, signer=DAEMON, keyring=OPEN) as switch:
        switch.mend(lambda snapshot: ())
        guard = connect(keyring=OPEN)
        switch.revoke_and_wait(EVIL, **WHY)
        assert switch.restore_and_wait(EVIL, **WHY)[1].contained
        guard.check(agent="evil")


def test_the_daemons_key_restores_canaries_and_nothing_else(daemon: Switch, connect: Connect) -> None:
    guard, canary = connect(keyring=STRICT), Target("session", "killcord-canary/1")
    daemon.revoke_and_wait(canary, **WHY)
    assert refuses(guard, session="killcord-canary/1")
    assert daemon.restore_and_wait(canary, **WHY)[1].contained
    guard.check(session="killcord-canary/1")


def test_a_rotated_keyring_reaches_running_points(
    daemon: Switch, url: str, prefix: str, connect: Connect
) -> None:
    guard = connect(keyring=STRICT)
    carol = Signer.generate("carol")
    keys = tuple(key for key in STRICT.keys if key.name != "bob")
    following = Keyring(2, (*keys, PublicKey("carol", "operator", carol.public)), dict(STRICT.quorum))
    daemon.revoke_and_wait(EVIL, **WHY)
    one = SignedKeyring(following).signed_by(ALICE)
    daemon.publish_keyring(one)  # one signature is not enough
    assert daemon.latest_keyring() == STRICT
    daemon.publish_keyring(one.signed_by(BOB))
    assert daemon.latest_keyring() == following
    until(lambda: guard.status().keyring == 2)
    with Switch(url, prefix=prefix, signer=ALICE, keyring=following) as switch:
        with pytest.raises(ApprovalNeeded):
            switch.restore(EVIL, approvals=votes(petition(daemon), ALICE, BOB), **WHY)
        assert switch.restore_and_wait(EVIL, approvals=votes(petition(daemon), ALICE, carol), **WHY)[
            1
        ].contained
    guard.check(agent="evil")


def test_a_signer_needs_a_keyring(url: str) -> None:
    with pytest.raises(InvalidRequest, match="keyring"):
        Switch(url, signer=ALICE)


def test_heads_are_signed_for_every_change(daemon: Switch, raw: redis.Redis, prefix: str) -> None:
    keys = Keys(prefix)
    for number in range(5):
        daemon.revoke(Target("agent", f"a{number}"), **WHY)
        assert daemon.snapshot().certified
        assert raw.get(keys.head)
    with Switch(
        daemon.url, prefix=prefix, signer=BOB, keyring=STRICT
    ) as bob:  # reads the head of somebody else
        bob.revoke(EVIL, **WHY)
    assert daemon.snapshot().certified
    assert [change.signed_by for change in daemon.changes(0)] == ["daemon"] * 5 + ["bob"]


def test_what_a_key_signed_that_is_no_head_vouches_for_nothing() -> None:
    assert read_head(STRICT, seal(DAEMON, CONTEXT, b'{"v":1}')) is None
    assert read_head(STRICT, b"") is None
    assert signer_of(None, 1, b"change") == ""


def test_a_head_vouches_for_its_own_change_only(daemon: Switch, raw: redis.Redis, prefix: str) -> None:
    daemon.revoke(EVIL, **WHY)
    certified = read_head(STRICT, raw.get(Keys(prefix).head) or b"")
    (entry,) = raw.xrevrange(Keys(prefix).log, count=1)
    change = entry[1][b"change"]
    assert signer_of(certified, 2, change) == "daemon"
    assert signer_of(certified, 3, change) == ""
    assert signer_of(certified, 2, change + b" ") == ""


def test_a_state_that_nobody_signs_can_be_put_back_all_the_same(switch: Switch, raw: redis.Redis) -> None:
    assert switch.mend(lambda found: found.revocations.values()) == 1
    assert raw.get(switch.keys.head) is None


def test_more_rotations_than_one_reads_at_a_time_are_followed_in_turns(daemon: Switch) -> None:
    last = MAX_ROTATIONS + 2
    for version in range(2, last + 1):
        keyring = SignedKeyring(Keyring(version, STRICT.keys, dict(STRICT.quorum)))
        daemon.publish_keyring(keyring.signed_by(ALICE).signed_by(BOB))
    found = daemon.latest_keyring()
    assert found is not None
    assert found.version == MAX_ROTATIONS + 1
    daemon.use_keyring(found)
    found = daemon.latest_keyring()
    assert found is not None
    assert found.version == last


def test_who_has_no_keyring_has_no_latest_one(switch: Switch) -> None:
    assert switch.latest_keyring() is None


def test_the_new_story_of_an_emptied_store_frees_nobody(
    daemon: Switch, connect: Connect, raw: redis.Redis, prefix: str
) -> None:
    guard = connect(keyring=STRICT)
    daemon.revoke_and_wait(EVIL, **WHY)
    daemon.revoke_and_wait(Target("agent", "other"), **WHY)
    raw.delete(*raw.scan_iter(f"*{prefix.strip('{}:')}*"))
    with Switch(daemon.url, prefix=prefix) as intruder:
        for _ in range(3):
            intruder.revoke(EVIL, **WHY)
            intruder.restore(EVIL, **WHY)
        settle(guard, intruder)
    until(lambda: guard.status().store_regressed)
    for agent in ("evil", "other"):
        assert refuses(guard, agent=agent)


def test_a_restoration_is_found_behind_more_changes_than_one_page_of_the_log(
    own: Server, connect: Connect, prefix: str
) -> None:
    """The record was made stricter before it was lifted, and the restorations were lost: only the log knows."""
    with (
        Switch(own.url, prefix=prefix, signer=DAEMON, keyring=STRICT) as switch,
        closing(Proxy(own.port)) as proxy,
        redis.Redis.from_url(own.url) as raw,
    ):
        switch.mend(lambda snapshot: ())
        guard = connect(proxy.url, keyring=STRICT, lease_s=1.0)
        switch.revoke_and_wait(EVIL, level="step_up", **WHY)
        proxy.silence_all()
        until(lambda: not guard.status().connected)
        switch.revoke(EVIL, **WHY)
        epoch = switch.epoch()
        pipeline = raw.pipeline(transaction=False)
        for number in range(epoch + 1, epoch + PAGE + 1):
            change = Change(
                number, f"c{number}", "restore", Target("agent", "x"), None, None, "test", "x", 1.0
            )
            pipeline.xadd(
                switch.keys.log, {"id": change.change_id, "change": encode_change(change)}, f"{number}-0"
            )
        pipeline.set(switch.keys.epoch, epoch + PAGE)
        pipeline.execute()
        switch.restore(EVIL, approvals=votes(petition(switch), ALICE, BOB), **WHY)
        raw.delete(switch.keys.restored)
        switch.mend(lambda snapshot: snapshot.revocations.values())
        proxy.speak()
        until(lambda: not refuses(guard, agent="evil"))
        assert not guard.status().store_regressed


def test_a_revocation_in_force_cannot_be_swept_out_as_if_it_had_run_out(
    daemon: Switch, connect: Connect, raw: redis.Redis, prefix: str
) -> None:
    guard, keys = connect(keyring=STRICT), Keys(prefix)
    daemon.revoke_and_wait(EVIL, **WHY)
    epoch = daemon.epoch() + 1
    swept = encode_change(
        Change(epoch, "sweep", "expire", EVIL, None, None, "ran out", "mallory", time.time())
    )
    raw.hdel(keys.state, str(EVIL))
    raw.xadd(keys.log, {"id": "sweep", "change": swept}, f"{epoch}-0")
    raw.set(keys.epoch, epoch)
    raw.publish(keys.changes, swept)
    until(lambda: guard.status().epoch == epoch)
    assert refuses(guard, agent="evil")
    assert guard.status().store_regressed
