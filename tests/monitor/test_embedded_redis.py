"""The embedded store: a real server that outlives its daemon and is found again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from killswitch import Guard, Revoked, StoreRefused, Switch, Target
from monitor.errors import DaemonError
from monitor.kill import embedded_redis as module
from monitor.kill.embedded_redis import EmbeddedRedis
from monitor.kill.store import open_store
from monitor.kill.store_users import USERS
from monitor.state_dir import StateDir
from tests.killswitch.conftest import until

BILLING = Target.parse("agent:billing-bot")

pytestmark = pytest.mark.redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


def client(server: EmbeddedRedis, url: str | None = None) -> redis.Redis:
    return redis.Redis.from_url(url or server.url, socket_timeout=5.0, decode_responses=True)


def put(server: EmbeddedRedis, value: str) -> None:
    with client(server) as connection:
        connection.set("killcord:kept", value)
        connection.execute_command("WAITAOF", 1, 0, 5000)


def get(server: EmbeddedRedis, url: str | None = None) -> object:
    with client(server, url) as connection:
        return connection.get("killcord:kept")


def kill(server: EmbeddedRedis) -> None:
    """kill -9, and wait until it is gone."""
    assert server._process is not None
    os.kill(server._process.pid, signal.SIGKILL)
    server._process.wait(10)


def test_it_is_reached_by_socket_and_loopback_and_only_with_the_password(server: EmbeddedRedis) -> None:
    put(server, "x")
    assert get(server) == get(server, server.tcp_url) == "x"
    with (
        client(server, f"redis://127.0.0.1:{server._port}/0") as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.get("killcord:kept")


def test_its_files_are_for_their_owner_only(server: EmbeddedRedis) -> None:
    assert oct(server._dir.stat().st_mode)[-3:] == "700"
    for name in ("password-daemon", "password-point", "password-auditor", "port", "valkey.conf"):
        assert oct((server._dir / name).stat().st_mode)[-3:] == "600"


def test_its_configuration_holds_no_password(server: EmbeddedRedis) -> None:
    passwords = [(server._dir / f"password-{user}").read_text() for user in USERS]
    assert len(set(passwords)) == len(USERS)
    assert not any(password in (server._dir / "valkey.conf").read_text() for password in passwords)


def test_each_installation_has_passwords_of_its_own(server: EmbeddedRedis, tmp_path: Path) -> None:
    other = EmbeddedRedis(tmp_path / "other")
    assert not set(other._passwords.values()) & set(server._passwords.values())


def test_the_points_address_enforces_and_changes_nothing(server: EmbeddedRedis) -> None:
    with Switch(server.url) as switch, Guard.connect(server.point_url, name="p1") as guard:
        _, containment = switch.revoke_and_wait(BILLING, reason="test", by="me")
        assert (containment.contained, containment.total) == (True, 1)
        with pytest.raises(Revoked):
            guard.check(agent="billing-bot")
    with Switch(server.point_url) as intruder, pytest.raises(StoreRefused):
        intruder.restore(BILLING, reason="test", by="me")


def test_a_server_of_the_first_version_is_started_anew_with_users_on_its_data(tmp_path: Path) -> None:
    """It knew one password and no users."""
    directory = tmp_path / "redis"
    old = EmbeddedRedis(directory)
    lines = [line for line in old._config().splitlines() if not line.startswith("user ")]
    (directory / "password").write_text("old-password")
    (directory / "valkey.conf").write_text("\n".join([*lines, "requirepass old-password"]))
    first = subprocess.Popen([module._binary(), directory / "valkey.conf"])
    old_url = f"redis://:old-password@127.0.0.1:{old._port}/0"
    until(lambda: module._pid_of(old_url) == first.pid)
    threading.Thread(target=first.wait).start()  # ours to bury
    with client(old, old_url) as connection:
        connection.set("killcord:kept", "x")
    with EmbeddedRedis(directory) as server:
        assert server.pid != first.pid
        assert get(server) == "x"
        with client(server, old_url) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert not (directory / "password").exists()
    assert first.wait(10) == 0


def test_a_server_with_other_rights_than_ours_is_started_anew(server: EmbeddedRedis) -> None:
    put(server, "x")
    assert server._process is not None
    threading.Thread(target=server._process.wait).start()
    with (server._dir / "valkey.conf").open("a") as config:
        config.write("# an older version's rights\n")
    with EmbeddedRedis(server._dir) as next_daemon:
        assert next_daemon.pid != server._process.pid
        assert get(next_daemon) == "x"


def test_what_a_killed_daemon_left_behind_can_be_stopped(server: EmbeddedRedis) -> None:
    assert server._process is not None
    threading.Thread(target=server._process.wait).start()
    EmbeddedRedis(server._dir).stop_abandoned()
    assert server._process.wait(10) == 0
    EmbeddedRedis(server._dir).stop_abandoned()


def test_a_revocation_is_never_evicted_and_written_to_disk(server: EmbeddedRedis) -> None:
    with client(server) as connection:
        settings = connection.config_get()
    assert (settings["maxmemory-policy"], settings["appendonly"], settings["bind"]) == (
        "noeviction",
        "yes",
        "127.0.0.1",
    )


def test_data_address_and_password_survive_a_stop(server: EmbeddedRedis) -> None:
    put(server, "x")
    url = server.url
    server.stop()
    server.stop()
    assert server.pid is None
    server.ensure()
    assert (server.url, get(server)) == (url, "x")


def test_a_server_that_died_is_started_again_where_it_was(server: EmbeddedRedis) -> None:
    put(server, "x")
    url, pid = server.tcp_url, server.pid
    kill(server)
    server.ensure()
    assert server.pid != pid
    assert (server.tcp_url, get(server)) == (url, "x")


def test_a_running_server_is_left_alone(server: EmbeddedRedis) -> None:
    pid = server.pid
    server.ensure()
    assert server.pid == pid


def test_the_next_daemon_adopts_the_server_of_one_that_was_killed(server: EmbeddedRedis) -> None:
    put(server, "x")
    assert server._process is not None
    threading.Thread(
        target=server._process.wait
    ).start()  # ours to bury: the next daemon would not be its parent
    with EmbeddedRedis(server._dir) as next_daemon:
        assert next_daemon.pid == server.pid
        assert next_daemon._process is None
        assert get(next_daemon) == "x"
    assert server._process.wait(10) == 0, "leaving stops the adopted server too"


def test_an_adopted_server_that_died_is_started_again(server: EmbeddedRedis) -> None:
    put(server, "x")
    next_daemon = EmbeddedRedis(server._dir)
    next_daemon.ensure()
    kill(server)
    try:
        next_daemon.ensure()
        assert get(next_daemon) == "x"
    finally:
        next_daemon.stop()


def test_a_port_that_somebody_else_took_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        taken = somebody.getsockname()[1]
        server = EmbeddedRedis(tmp_path / "redis")
        server.stop()
        (tmp_path / "redis" / "port").write_text(str(taken))
        with EmbeddedRedis(tmp_path / "redis") as server:
            assert f":{taken}/" not in server.tcp_url
            put(server, "x")


def test_a_path_too_long_for_a_socket_is_reached_over_loopback(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / ("long" * 30)) as server:
        assert server.url == server.tcp_url
        put(server, "x")


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedRedis(tmp_path / "redis")
    config = server._config()
    monkeypatch.setattr(server, "_config", lambda: config + "no-such-directive yes\n")
    with pytest.raises(DaemonError, match="did not start"):
        server.ensure()


def test_a_platform_without_a_server_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Path:
        raise DaemonError("no embedded store for this platform; name a server with --redis")

    monkeypatch.setattr(module, "_binary", refuse)
    with pytest.raises(DaemonError, match="--redis"):
        EmbeddedRedis(tmp_path / "redis").ensure()


def test_a_named_store_is_used_and_not_looked_after(tmp_path: Path) -> None:
    with open_store("redis://elsewhere:6379", StateDir(tmp_path)) as store:
        assert (store.url, store.point_url, store.embedded) == ("redis://elsewhere:6379", "", None)
        store.ensure()
    assert not (tmp_path / "redis").exists()


def test_without_a_name_the_store_is_ours_for_as_long_as_it_is_needed(tmp_path: Path) -> None:
    with open_store("", StateDir(tmp_path)) as store:
        assert store.embedded is not None
        assert (store.url, store.point_url) == (store.embedded.url, store.embedded.point_url)
        put(store.embedded, "x")
        kill(store.embedded)
        store.ensure()
        assert get(store.embedded) == "x"
    assert store.embedded.pid is None
