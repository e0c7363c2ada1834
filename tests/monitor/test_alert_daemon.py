"""Alerts in the whole daemon, as a process that is killed in the middle of what people do."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from killswitch import Guard
from monitor.live.message_types import AlertChange
from monitor.live.messages import alert_change_message
from monitor.log import entries
from monitor.log.entries import Judgement
from monitor.log.segments import Record, SegmentedLog, read_log
from tests.monitor.daemons import FAST_CONFIG, RunningDaemon
from tests.monitor.test_daemon import AGENTS, WARM, habits, hijacked, is_revoked

ALERTING = FAST_CONFIG.replace('mode = "enforce"', 'mode = "alert"')


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path / "state", ALERTING) as running:
        yield running


def attack(daemon: RunningDaemon, *agents: str) -> list[dict[str, Any]]:
    """Have each agent do something blatant; returns the groups that come of it, by agent."""
    daemon.send([hijacked(number, agent) for number, agent in enumerate(agents)])
    daemon.wait_until_scored(WARM + len(agents))
    daemon.wait_for(lambda: daemon.metric("killcord_backlog_actions") == 0, "everything to be seen to")
    groups = daemon.get("/v1/alerts?filter=tool:http_post")["alerts"]
    assert {group["alert"]["agent_id"] for group in groups} == set(agents)
    return sorted(groups, key=lambda group: str(group["alert"]["agent_id"]))


def change(daemon: RunningDaemon, ids: list[str], kind: str, **fields: Any) -> Any:
    status, answer = daemon.request(
        "POST", "/v1/alerts/changes", {"ids": ids, "change": kind, **fields}, role="analyst"
    )
    assert status == 200, answer
    return answer


def book(daemon: RunningDaemon) -> list[Any]:
    groups = daemon.get("/v1/alerts?limit=1000")["alerts"]
    return [daemon.get("/v1/mutes"), *(daemon.get(f"/v1/alerts/{group['id']}") for group in groups)]


def judgements(state: Path) -> list[tuple[str, str, str]]:
    found = (entries.decode(frame.payload) for frame in read_log(state / "log"))
    return [(e.alert_id, e.verdict, e.by) for e in found if isinstance(e, Judgement)]


def feed_of(state: Path) -> list[Any]:
    return [json.loads(frame.payload) for frame in read_log(state / "feed")]


def test_after_kill_9_everything_that_people_did_is_there(daemon: RunningDaemon) -> None:
    daemon.send(habits(WARM))
    first, second, third = (group["id"] for group in attack(daemon, *AGENTS[:3]))
    change(daemon, [first, second], "acknowledge")
    change(daemon, [second], "assign", assignee="bob", comment="yours")
    change(daemon, [third], "close", reason="false_positive", comment="a test of ours")
    scope = {"agent_id": AGENTS[0], "signal": "source", "reason": "known", "for_s": 3600}
    assert daemon.request("POST", "/v1/mutes", scope)[0] == 201
    before = book(daemon)
    daemon.kill()
    daemon.start()
    assert book(daemon) == before
    assert change(daemon, [third], "close", reason="benign")["refused"][0]["id"] == third
    daemon.stop()
    assert judgements(daemon.state) == [(third, "dismissed", "the-analyst")]


def test_a_verdict_that_died_with_the_daemon_is_passed_on_at_the_next_start(daemon: RunningDaemon) -> None:
    """The feed's log is as it is when the daemon dies right after it wrote the change."""
    daemon.send(habits(WARM))
    (group,) = attack(daemon, AGENTS[0])
    daemon.kill()
    log = SegmentedLog(daemon.state / "feed")
    known = {
        name: group["alert"][name]
        for name in ("agent_id", "tool", "severity", "verdict", "title", "session_id")
    }
    closed = AlertChange(
        id=group["id"], change="close", state="closed", by="alice", at=time.time(), reason="benign", **known
    )
    log.append(Record(json.dumps(alert_change_message(closed)).encode()))
    log.sync()
    log.close()
    for _ in range(2):  # made up for once, and not again
        daemon.start()
        assert daemon.get(f"/v1/alerts/{group['id']}")["changed_by"] == "alice"
        daemon.kill()
        assert judgements(daemon.state) == [(group["id"], "dismissed", "alice")]
    daemon.start()


def test_killed_at_any_moment_no_answered_change_is_lost_and_every_verdict_is_passed_on_once(
    daemon: RunningDaemon,
) -> None:
    rng = random.Random(11)
    daemon.send(habits(WARM))
    ids = [group["id"] for group in attack(daemon, *AGENTS)]
    answered: Counter[str] = Counter()
    for number in range(8):
        killer = threading.Timer(rng.uniform(0.0, 0.15), lambda: daemon.process.send_signal(signal.SIGKILL))
        killer.start()
        try:
            while True:
                change(daemon, ids, "comment", comment=f"{number}")
                answered.update(ids)
                closing = ids[number % len(ids)]
                change(daemon, [closing], "close", reason="benign")
                change(daemon, [closing], "reopen")
        except (OSError, http.client.HTTPException):
            daemon.process.wait(10)
        killer.join()
        daemon.kill()
        daemon.start()
    said = Counter[str]()
    for one in ids:
        found = daemon.get(f"/v1/alerts/{one}")
        said[one] = sum(done["change"] == "comment" for done in found["history"])
        assert found["comments"] == said[one]
    assert all(said[one] >= answered[one] for one in ids), "what was answered is there"
    daemon.stop()
    alerts = [message["alert"]["id"] for message in feed_of(daemon.state) if message["type"] == "alert"]
    assert len(set(alerts)) == len(alerts), "an alert was shown twice"
    changes = [
        message["alert_change"] for message in feed_of(daemon.state) if message["type"] == "alert_change"
    ]
    closed = {each["id"] for each in changes if each["change"] == "close"}
    judged = Counter(alert_id for alert_id, _, _ in judgements(daemon.state))
    assert set(judged.values()) <= {1}, "a verdict counts once"
    assert set(judged) <= closed
    last = {each["id"]: each["change"] for each in changes if each["change"] in ("close", "reopen")}
    assert {one for one, kind in last.items() if kind == "close"} <= set(judged)


def test_a_mute_hides_an_alert_and_keeps_no_kill_back(tmp_path: Path) -> None:
    with (
        RunningDaemon(tmp_path / "state") as daemon,
        Guard.connect(daemon.redis_url, name="point-1") as guard,
    ):
        daemon.send(habits(WARM))
        for signal_name in ("source", "transition", "size", "novelty", "tool"):
            scope = {"agent_id": AGENTS[0], "signal": signal_name, "reason": "a migration", "for_s": 3600}
            assert daemon.request("POST", "/v1/mutes", scope, role="analyst")[0] == 201
        daemon.send([hijacked(0)])
        daemon.wait_for(lambda: is_revoked(guard, AGENTS[0]), "the automatic kill")
        daemon.wait_for(
            lambda: daemon.get("/v1/alerts?filter=state:muted%20tool:http_post")["alerts"], "the alert"
        )
        (group,) = daemon.get("/v1/alerts?filter=tool:http_post")["alerts"]
        assert group["alert"]["response"]["taken"] == "suspend"
        mute = next(m for m in daemon.get("/v1/mutes")["mutes"] if m["id"] == group["muted_by"])
        assert mute["signal"] == group["alert"]["reasons"][0]["signal"]
        (revoked,) = daemon.get("/v1/revocations")["revocations"]
        assert revoked["target"] == f"agent:{AGENTS[0]}"
