"""The daemon and its store: kills while it is away, and a store that somebody robs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from benchmarks.faults import Proxy
from killswitch import Guard, Keyring, PublicKey, Revoked, Signer, StoreRefused, Switch, Target
from monitor.kill.keys import keep_keyring, open_keys
from monitor.state_dir import StateDir
from tests.killswitch.conftest import Server, refuses
from tests.monitor.daemons import RunningDaemon

pytestmark = pytest.mark.redis
KILL = {"target": "agent:x", "reason": "it pays strangers"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A store that somebody else can write to."""
    server = Server(tmp_path / "valkey")
    yield server
    server.close()


@pytest.fixture
def daemon(tmp_path: Path, server: Server) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path / "state", redis=server.url) as running:
        yield running


def revoked(daemon: RunningDaemon) -> set[str]:
    return {record["target"] for record in daemon.get("/v1/revocations")["revocations"]}


def pending(daemon: RunningDaemon) -> float:
    return daemon.metric("killcord_kills_pending")


def guarded(daemon: RunningDaemon, **options: Any) -> Guard:
    return Guard.connect(daemon.redis_url, keyring=Keyring.load(daemon.state / "keyring.json"), **options)


def verdicts(daemon: RunningDaemon) -> list[str]:
    return [str(group["alert"]["verdict"]) for group in daemon.get("/v1/alerts")["alerts"]]


def switch_alerts(daemon: RunningDaemon) -> list[dict[str, Any]]:
    alerts = [group["alert"] for group in daemon.get("/v1/alerts")["alerts"]]
    return [alert for alert in alerts if str(alert["verdict"]).startswith("store_")]


# -- kills while the store is away --------------------------------------------------------------------------------


def test_a_kill_over_http_while_the_store_is_away_is_kept_and_carried_out(
    daemon: RunningDaemon, server: Server
) -> None:
    server.kill()
    status, answer = daemon.request("POST", "/v1/revocations", KILL)
    assert (status, answer["pending"], answer["contained"]) == (202, True, False)
    assert pending(daemon) == 1
    status, _ = daemon.request("POST", "/v1/restorations", KILL)
    assert status == 503, "a restore is never kept for later"
    server.start()
    daemon.wait_for(lambda: pending(daemon) == 0, "the kept kill to be carried out")
    (record,) = daemon.get("/v1/revocations")["revocations"]
    assert (record["target"], record["change_id"]) == ("agent:x", answer["change_id"])
    with guarded(daemon) as guard, pytest.raises(Revoked):
        guard.check(agent="x")


def test_kept_kills_survive_the_daemon_and_come_in_order(daemon: RunningDaemon, server: Server) -> None:
    server.kill()
    levels = ["step_up", "revoke"]
    for level in levels:
        assert daemon.request("POST", "/v1/revocations", {**KILL, "level": level})[1]["pending"]
    daemon.kill()
    server.start()
    daemon.start()
    daemon.wait_for(lambda: pending(daemon) == 0, "the kept kills to be carried out")
    with redis.Redis.from_url(server.url) as client:
        log = [json.loads(fields[b"change"]) for _, fields in client.xrange("killcord:log")]
    assert [change["kind"] for change in log if change["target"] == "agent:x"] == levels


def killcord(daemon: RunningDaemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitor.cli", *arguments, "--state", str(daemon.state)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_kill_by_hand_while_store_and_daemon_are_frozen_is_kept(
    daemon: RunningDaemon, server: Server
) -> None:
    """It says so, ends with status 1 because nothing is contained, and is carried out later."""
    server.pause()
    os.kill(daemon.process.pid, signal.SIGSTOP)
    try:
        told = killcord(daemon, "kill", "agent:y", "--reason", "test", "--by", "alice", "--timeout", "1")
    finally:
        os.kill(daemon.process.pid, signal.SIGCONT)
        server.resume()
    assert told.returncode == 1
    assert "pending" in told.stdout.lower()
    daemon.wait_for(lambda: "agent:y" in revoked(daemon), "the kept kill to be carried out")
    daemon.wait_for(lambda: pending(daemon) == 0, "the journal to be empty")


# -- a store that is robbed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("robbery", [["FLUSHALL"], ["HDEL", "killcord:state", "agent:x"]], ids=lambda r: r[0])
def test_a_robbed_store_is_put_right_while_points_keep_refusing(
    daemon: RunningDaemon, server: Server, robbery: list[str]
) -> None:
    with guarded(daemon, name="p1") as guard, redis.Redis.from_url(server.url) as intruder:
        assert daemon.request("POST", "/v1/revocations", KILL)[1]["contained"]
        daemon.wait_for(lambda: "agent:x" in (daemon.state / "revocations").read_text(), "the daemon's copy")
        epoch = daemon.get("/v1/revocations")["epoch"]
        intruder.execute_command(*robbery)
        while revoked(daemon) != {"agent:x"}:
            assert refuses(guard, agent="x")
        assert daemon.get("/v1/revocations")["epoch"] > epoch
        daemon.wait_for(lambda: not refuses(guard, agent="innocent"), "the point to follow on")
        assert refuses(guard, agent="x")
        with guarded(daemon, name="p2") as newcomer, pytest.raises(Revoked):
            newcomer.check(agent="x")
    daemon.wait_for(lambda: bool(switch_alerts(daemon)), "the alert")
    (alert,) = switch_alerts(daemon)
    assert alert["verdict"] == "store_damaged"
    assert "lost 1 revocation;" in alert["title"]


@pytest.mark.parametrize("outage", ["restart", "frozen", "killed"])
def test_a_point_that_starts_after_a_theft_and_an_outage_soon_allows_who_is_not_revoked(
    daemon: RunningDaemon, server: Server, outage: str
) -> None:
    """However long the outage held up the daemon, it does not hold up the mending after it."""
    assert daemon.request("POST", "/v1/revocations", KILL)[1]["applied"]
    daemon.wait_for(lambda: "agent:x" in (daemon.state / "revocations").read_text(), "the daemon's copy")
    if outage == "frozen":
        server.pause()
        threading.Event().wait(1.2)  # a look gets stuck in it,
        server.resume()
        threading.Event().wait(0.3)  # and finds nothing wrong
    with redis.Redis.from_url(server.url) as intruder:
        intruder.hdel("killcord:state", "agent:x")
    if outage == "killed":
        server.kill()
        server.start()
    else:
        server.restart()
    with guarded(daemon, name="fresh", wait=False) as guard:
        daemon.wait_for(lambda: not refuses(guard, agent="bystander"), "the bystander to be allowed", 5.0)
        assert refuses(guard, agent="x")


def test_the_recovery_key_is_told_of_and_its_restoration_survives_a_theft(
    tmp_path: Path, server: Server
) -> None:
    state = StateDir(tmp_path / "state")
    keys, alice, safe = open_keys(state), Signer.generate("alice"), Signer.generate("safe")
    assert keys.keyring is not None
    enrolled = PublicKey.of(alice, "operator"), PublicKey.of(safe, "recovery")
    keep_keyring(state, Keyring(1, (*keys.keyring.keys, *enrolled), {"*": 1}))
    proxy = Proxy(server.port)
    with RunningDaemon(state.path, redis=server.url) as daemon:
        keyring = Keyring.load(state.path / "keyring.json")
        assert daemon.request("POST", "/v1/revocations", KILL)[1]["applied"]
        with Guard.connect(proxy.url, keyring=keyring, lease_s=60) as away:
            assert refuses(away, agent="x")
            proxy.silence_all()
            with Switch(server.url, signer=safe, keyring=keyring) as switch:
                switch.restore(Target("agent", "x"), reason="INC-42", by="carol")
            daemon.wait_for(lambda: "break_glass" in verdicts(daemon), "the alert")
            daemon.kill()
            with redis.Redis.from_url(server.url) as intruder:
                intruder.flushall()
            daemon.start()
            proxy.reset()
            proxy.speak()
            daemon.wait_for(lambda: not refuses(away, agent="x"), "the point to hear of the restoration")
        assert verdicts(daemon).count("break_glass") == 1
        assert revoked(daemon) == set()
    proxy.close()


def test_a_store_that_was_emptied_while_the_daemon_was_down_is_put_right_at_its_start(
    daemon: RunningDaemon, server: Server
) -> None:
    daemon.request("POST", "/v1/revocations", KILL)
    daemon.wait_for(lambda: "agent:x" in (daemon.state / "revocations").read_text(), "the daemon's copy")
    daemon.kill()
    with redis.Redis.from_url(server.url) as intruder:
        intruder.flushall()
    daemon.start()
    daemon.wait_for(lambda: revoked(daemon) == {"agent:x"}, "the revocation to be put back")
    daemon.wait_for(lambda: len(switch_alerts(daemon)) == 1, "the alert")


def test_restored_by_the_daemon_stays_restored_through_all_of_it(
    daemon: RunningDaemon, server: Server
) -> None:
    daemon.request("POST", "/v1/revocations", KILL)
    status, answer = daemon.request("POST", "/v1/restorations", KILL)
    assert (status, answer["applied"]) == (200, True)
    daemon.wait_for(lambda: " lift " in (daemon.state / "revocations").read_text(), "the daemon's copy")
    epoch = daemon.get("/v1/revocations")["epoch"]
    with redis.Redis.from_url(server.url) as intruder:
        intruder.flushall()
    daemon.wait_for(lambda: daemon.get("/v1/revocations")["epoch"] > epoch, "the store to be put right")
    daemon.kill()
    daemon.start()
    assert revoked(daemon) == set()
    assert switch_alerts(daemon) == []


def test_without_a_daemon_kept_kills_are_flushed_by_hand(daemon: RunningDaemon, server: Server) -> None:
    daemon.kill()
    server.kill()
    command = ["kill", "agent:y", "--reason", "test", "--by", "alice", "--timeout", "1"]
    told = killcord(daemon, *command)
    assert told.returncode == 1
    assert "killcord kill --flush" in told.stdout
    told = killcord(daemon, "kill", "--flush")
    assert (told.returncode, told.stdout.splitlines()[0]) == (1, "agent:y: still kept")
    server.start()
    told = killcord(daemon, "kill", "--flush", "--json")
    assert (told.returncode, json.loads(told.stdout)["applied"]) == (0, ["agent:y"])
    told = killcord(daemon, "kill", "--flush")
    assert (told.returncode, told.stdout) == (0, "no kill was kept\n")
    assert killcord(daemon, "status", "agent:y").returncode == 1
    daemon.start()


def test_a_kill_while_no_daemon_runs_is_carried_out_as_the_next_one_starts(tmp_path: Path) -> None:
    """Whatever restarts the daemon restarts the agents too."""
    with RunningDaemon(tmp_path / "state") as daemon:
        assert daemon.stop() == 0
        told = killcord(daemon, "kill", "agent:y", "--reason", "test", "--by", "alice", "--json")
        assert (told.returncode, json.loads(told.stdout)["pending"]) == (1, True)
        told = killcord(daemon, "restore", "agent:y", "--reason", "test", "--by", "alice")
        assert told.returncode == 3
        daemon.start()
        daemon.wait_for(lambda: revoked(daemon) == {"agent:y"}, "the kept kill to be carried out")
        point_url = json.loads((daemon.state / "daemon.json").read_text())["point_url"]
        with Guard.connect(point_url) as guard, pytest.raises(Revoked):
            guard.check(agent="y")
        with Switch(point_url) as intruder, pytest.raises(StoreRefused):
            intruder.restore(Target("agent", "y"), reason="forged", by="mallory")


@pytest.mark.parametrize("arguments", [["agent:y", "--flush"], ["--flush", "--for", "3"], ["agent:y"], []])
def test_half_a_kill_is_a_usage_error(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "monitor.cli", "kill", *arguments, "--state", str(tmp_path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stdout) == (2, "")


def test_where_operators_have_to_agree_nobody_restores_past_them(tmp_path: Path, server: Server) -> None:
    """Neither over HTTP nor by writing to the store."""
    state = StateDir(tmp_path / "state")
    keys, alice = open_keys(state), Signer.generate("alice")
    assert keys.keyring is not None
    keep_keyring(state, Keyring(1, (*keys.keyring.keys, PublicKey.of(alice, "operator")), {"*": 1}))
    with RunningDaemon(state.path, redis=server.url) as daemon, guarded(daemon, name="p1") as guard:
        assert daemon.request("POST", "/v1/revocations", KILL)[1]["contained"]
        status, answer = daemon.request("POST", "/v1/restorations", KILL)
        assert (status, answer["needed"], "1 more approval" in answer["error"]) == (409, 1, True)
        daemon.wait_for(lambda: "agent:x" in (state.path / "revocations").read_text(), "the daemon's copy")
        with Switch(server.url) as intruder:
            intruder.restore(Target("agent", "x"), reason="forged", by="mallory")
        daemon.wait_for(lambda: revoked(daemon) == {"agent:x"}, "the revocation to be put back")
        assert refuses(guard, agent="x")
        with Switch(server.url, signer=alice, keyring=Keyring.load(state.path / "keyring.json")) as switch:
            switch.restore(Target("agent", "x"), reason="we talked", by="alice")
        daemon.wait_for(lambda: not refuses(guard, agent="x"), "the point to let go")
        epoch = daemon.get("/v1/revocations")["epoch"]
        with redis.Redis.from_url(server.url) as client:
            client.flushall()
        daemon.wait_for(lambda: daemon.get("/v1/revocations")["epoch"] > epoch, "the store to be put right")
        assert revoked(daemon) == set()
