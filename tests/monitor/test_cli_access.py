"""`killcord tokens` and `killcord audit` as they are run, beside a real daemon and without one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.monitor.daemons import RunningDaemon


def killcord(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitor.cli", *arguments, "--state", str(state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path_factory.mktemp("tokens") / "state") as running:
        yield running


def status(daemon: RunningDaemon, token: str, path: str = "/v1/alerts") -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return daemon.request("GET", path, role=None, headers=headers)[0]


def test_a_token_is_printed_once_works_at_once_and_not_after_it_is_revoked(daemon: RunningDaemon) -> None:
    made = killcord("tokens", "new", "--role", "analyst", "--name", "alice@example.com", state=daemon.state)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    token_id = token.split("_")[1]
    daemon.wait_for(lambda: status(daemon, token) == 200, "the daemon to know it", 2.0)
    listed = killcord("tokens", "list", "--json", state=daemon.state)
    assert token not in listed.stdout
    (mine,) = [one for one in json.loads(listed.stdout) if one["id"] == token_id]
    assert (mine["role"], mine["name"], mine["state"]) == ("analyst", "alice@example.com", "valid")
    revoked = killcord("tokens", "revoke", token_id, "--json", state=daemon.state)
    assert json.loads(revoked.stdout)["state"] == "revoked"
    daemon.wait_for(lambda: status(daemon, token) == 401, "the daemon to refuse it", 2.0)


def test_the_trail_says_who_made_and_revoked_tokens(daemon: RunningDaemon) -> None:
    made = killcord(
        "tokens",
        "new",
        "--role",
        "sensor",
        "--name",
        "bot",
        "--by",
        "root@bastion",
        "--json",
        state=daemon.state,
    )
    token_id = json.loads(made.stdout)["id"]
    killcord("tokens", "revoke", token_id, "--by", "root@bastion", state=daemon.state)

    def told() -> list[tuple[str, str]]:
        ran = killcord("audit", "--json", "--last", "1h", state=daemon.state)
        entries = [json.loads(line) for line in ran.stdout.splitlines()]
        return [(one["act"], one["by"]) for one in entries if one["object"] == f"token:{token_id}"]

    expected = [("revoke token", "root@bastion"), ("make token", "root@bastion")]
    daemon.wait_for(lambda: told() == expected, "the trail to tell", 10.0)
    ran = killcord("audit", state=daemon.state)
    assert f"root@bastion (admin) from command line: revoke token token:{token_id}" in ran.stdout


def test_what_was_done_without_a_daemon_is_in_the_trail_of_the_next(tmp_path: Path) -> None:
    state = tmp_path / "state"
    made = killcord("tokens", "new", "--role", "admin", "--name", "first", "--expires", "90d", state=state)
    assert made.returncode == 0, made.stderr
    with RunningDaemon(state) as running:
        assert status(running, made.stdout.strip(), "/v1/audit") == 200
        assert "make token" in killcord("audit", state=state).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("new", "--role", "analyst", "--name", " "), 2, "--name"),
        (("new", "--role", "analyst", "--name", "a\nb"), 2, "--name"),
        (("new", "--role", "analyst", "--name", "x", "--expires", "soon"), 2, "--expires"),
        (("new", "--role", "king", "--name", "x"), 2, "--role"),
        (("revoke", "nobody"), 1, "no token nobody"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ran = killcord("tokens", *arguments, state=tmp_path)
    assert ran.returncode == code
    assert said in ran.stderr
    assert not (tmp_path / "access.json").exists()
    assert list(tmp_path.glob("audit-inbox/*")) == []


def test_a_damaged_file_stops_the_daemon_from_starting_and_is_named(tmp_path: Path) -> None:
    daemon = RunningDaemon(tmp_path / "state")
    (tmp_path / "state" / "access.json").write_text("{")
    with pytest.raises(AssertionError, match=r"access\.json cannot be read"):
        daemon.start()
    assert killcord("tokens", "list", state=tmp_path / "state").returncode == 1


def test_the_local_token_is_for_the_owner_only_and_ends_with_the_daemon(tmp_path: Path) -> None:
    with RunningDaemon(tmp_path / "state") as daemon:
        assert (daemon.state / "daemon.json").stat().st_mode & 0o777 == 0o600
        first = daemon.local_token
        assert status(daemon, first) == status(daemon, first, "/v1/audit") == 200
        assert killcord("agents", state=daemon.state).returncode == 0
        daemon.kill()
        daemon.start()
        assert daemon.local_token != first
        assert status(daemon, first) == 401
        assert killcord("agents", state=daemon.state).returncode == 0, "it reads the announcement anew"


def test_the_local_token_is_not_sent_to_another_address(daemon: RunningDaemon) -> None:
    ran = killcord("agents", "--url", "http://127.0.0.1:1", state=daemon.state)
    assert ran.returncode == 2
    assert "--token" in ran.stderr
