"""The demo's stage with everything real: daemon, store, command line, agents in processes of their own."""

import os
import signal
import subprocess
import sys
import time

import pytest

from monitor.demo.agent_process import Setup
from monitor.demo.crew import Crew
from monitor.demo.daemon_process import DaemonProcess
from monitor.demo.errors import StoryFailed
from monitor.demo.feed_reader import FeedReader
from monitor.demo.findings import Findings
from monitor.demo.run import DemoOptions, run
from monitor.errors import ConfigError

pytestmark = pytest.mark.redis

AGENTS = 24
DEADLINE_S = 30.0


def setup(daemon, number):
    return Setup(
        seed=7,
        agents=AGENTS,
        number=number,
        history_until_s=time.time(),
        url=daemon.address.url,
        token=daemon.token,
        redis_url=daemon.address.point_url,
        keyring=daemon.keyring,
    )


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    with DaemonProcess(tmp_path_factory.mktemp("state")) as running:
        running.wait_ready(lambda: None)
        yield running


@pytest.fixture
def crew(daemon):
    with Crew([setup(daemon, number) for number in range(3)]) as agents:
        names = [agents.wait(number, "ready", DEADLINE_S)["agent"] for number in range(3)]
        agents.order_all("live")
        yield agents, names


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(is_true):
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_true():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def counted(daemon):
    return sum(agent["actions"] for agent in daemon.get("/v1/agents")["agents"])


def test_an_agent_is_killed_in_its_process_restored_and_nothing_it_did_is_lost(daemon, crew):
    agents, names = crew
    before = counted(daemon)
    outcome = daemon.command("kill", f"agent:{names[1]}", "--reason", "a test", "--by", "pytest")
    refused = agents.wait(1, "refused", DEADLINE_S)
    assert outcome["contained"]
    assert outcome["enforced"] == outcome["points"] >= 3
    assert refused["kind"] == "Revoked"
    assert refused["change_id"] == outcome["change_id"]
    assert 0 < refused["since_write_ms"] < 2000
    assert not agents.told("acting")
    daemon.command("restore", f"agent:{names[1]}", "--reason", "a test", "--by", "pytest")
    agents.wait(1, "acting", DEADLINE_S)
    agents.order_all("stop")
    done = [agents.wait(number, "done", DEADLINE_S) for number in range(3)]
    assert (
        [one["sent"] for one in done] == [one["acked"] for one in done] == [one["accepted"] for one in done]
    )
    wait_until(lambda: counted(daemon) >= before + sum(one["sent"] for one in done))


def test_what_a_hijacked_agent_did_before_it_was_stopped_is_told(daemon, crew):
    agents, names = crew
    with FeedReader(daemon.address.url, daemon.token) as feed:
        agents.order(0, "hijack")
        wait_until(lambda: daemon.get(f"/v1/actions?agent={names[0]}&limit=100")["actions"])
        outcome = daemon.command("kill", f"agent:{names[0]}", "--reason", "a test", "--by", "pytest")
        refused = agents.wait(0, "refused", DEADLINE_S)
        began = refused["acks"]
        assert set(refused["bad"]) <= set(began)
        assert len(began) - len(refused["bad"]) == 1  # the document
        assert all(at_s is not None for at_s in began.values())
        feed.wait_for(
            lambda: next((one for one in feed.transitions if one["epoch"] == outcome["epoch"]), None),
            "the kill",
            DEADLINE_S,
        )
        feed.wait_for(
            lambda: names[0] in feed.confirmed.get(outcome["epoch"], ()) or None,
            "the acknowledgement",
            DEADLINE_S,
        )
        assert outcome["epoch"] in [kill["epoch"] for kill in feed.kills()]
    daemon.command("restore", f"agent:{names[0]}", "--reason", "a test", "--by", "pytest")
    agents.wait(0, "acting", DEADLINE_S)


def test_agents_end_when_the_story_is_gone(daemon):
    """Even one that was killed without a chance to say goodbye takes its agents with it."""
    with Crew([setup(daemon, 5)]) as agents:
        agents.wait(0, "ready", DEADLINE_S)
        points = daemon.get("/v1/revocations")["points"]
        name = agents_name(daemon)
        pid = next(point["pid"] for point in points if point["name"] == name)
        assert is_alive(pid)
    wait_until(lambda: not is_alive(pid))


def agents_name(daemon):
    from monitor.demo.fleet import make_agent

    return make_agent(7, AGENTS, 5).name


def test_waiting_for_what_does_not_come_fails_in_a_sentence(daemon, crew):
    agents, _ = crew
    with pytest.raises(StoryFailed, match=r"agent 2 was not refused within 0\.1 s"):
        agents.wait(2, "refused", 0.1)
    with (
        FeedReader(daemon.address.url, daemon.token) as feed,
        pytest.raises(StoryFailed, match="did not show a miracle"),
    ):
        feed.wait_for(lambda: None, "a miracle", 0.1)


def test_a_command_that_fails_is_a_sentence_too(daemon):
    with pytest.raises(StoryFailed, match="killcord kill"):
        daemon.command("kill", "nonsense", "--reason", "a test")
    with pytest.raises(StoryFailed, match="404"):
        daemon.get("/nowhere")


def test_sigterm_leaves_nothing_behind(tmp_path):
    state = tmp_path / "state"
    command = [sys.executable, "-m", "monitor.cli", "demo", "--json", "--seed", "1", "--state", str(state)]
    story = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until((state / "daemon.json").exists)
    pid = daemon_pid(state)
    story.send_signal(signal.SIGTERM)
    out, _ = story.communicate(timeout=DEADLINE_S)
    assert story.returncode == 1
    assert '"failed": "it was interrupted"' in out.splitlines()[-1]
    assert not is_alive(pid)
    assert not (state / "daemon.json").exists()


def daemon_pid(state):
    from monitor.state_dir import StateDir

    return StateDir(state).address().pid


@pytest.mark.parametrize("agents", [0, 19, 10_000])
def test_a_fleet_of_a_senseless_size_is_refused(agents):
    with pytest.raises(ConfigError, match="--agents"):
        run(DemoOptions(agents=agents))


def test_a_state_directory_in_use_is_refused(tmp_path):
    (tmp_path / "something").touch()
    with pytest.raises(ConfigError, match="not empty"):
        run(DemoOptions(state=tmp_path))


def held(**changes):
    facts = {"points_confirmed": 24, "points_total": 24, "false_kills": 0, "lost_actions": 0}
    return Findings(agents=24, **{**facts, **changes})


def test_a_story_that_held_has_no_failure_in_its_json():
    assert held().problem() is None
    assert "failed" not in held().as_json()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"false_kills": 1}, "1 agent"),
        ({"lost_actions": 2}, "2 action"),
        ({"points_confirmed": 23}, "23 of 24"),
        ({"failed": "the daemon ended"}, "the daemon ended"),
    ],
)
def test_each_broken_promise_is_a_failure(changes, said):
    assert said in held(**changes).problem()
    assert said in held(**changes).as_json()["failed"]
