"""What an on-call reads from a real daemon before and after a kill, also after the daemon was killed itself."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from killswitch import Guard
from tests.monitor.daemons import RunningDaemon
from tests.monitor.exposition import families
from tests.monitor.test_daemon import AGENTS, habits

ACTIONS = 1200


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path / "state") as running:
        yield running


def test_before_a_kill_it_is_known_whom_it_stops_and_afterwards_it_is_in_the_history(
    daemon: RunningDaemon,
) -> None:
    with Guard.connect(daemon.redis_url, name="point-1"):
        daemon.send(habits(ACTIONS))
        daemon.wait_until_scored(ACTIONS)
        daemon.wait_for(lambda: daemon.get("/v1/status")["points_live"] == 1, "the point")
        radius = daemon.get(f"/v1/blast-radius?target={quote('human:alice@example.com')}")
        assert sorted(radius["agents"]) == AGENTS
        assert (radius["points"], radius["already"]) == ({"live": 1, "total": 1}, None)
        for path, body in (
            ("/v1/revocations", {"target": f"agent:{AGENTS[0]}", "reason": "strange"}),
            ("/v1/restorations", {"target": f"agent:{AGENTS[0]}", "reason": "looked at"}),
            ("/v1/revocations", {"target": f"agent:{AGENTS[0]}", "reason": "again"}),
        ):
            assert daemon.request("POST", path, body)[0] == 200
    assert daemon.get(f"/v1/blast-radius?target=agent:{AGENTS[0]}")["already"] == "revoke"
    daemon.wait_for(lambda: len(daemon.get("/v1/transitions")["transitions"]) == 3, "the history")
    history = daemon.get("/v1/transitions")["transitions"]
    assert [change["kind"] for change in history] == ["revoke", "restore", "revoke"]
    assert [change["reason"] for change in history] == ["again", "looked at", "strange"]
    assert daemon.get(f"/v1/agents/{AGENTS[0]}")["revocation"]["reason"] == "again"
    assert_measured(daemon)


def assert_measured(daemon: RunningDaemon) -> None:
    """The metrics are fed: what has just happened is in them."""
    found = families(daemon.request("GET", "/metrics", role=None)[1])

    def value(name: str, **labels: str) -> float:
        family = found[re.sub("_count$", "", name)]
        return sum(
            one.value for one in family.samples if one.name == name and labels.items() <= one.labels.items()
        )

    assert value("killcord_kills_total", kind="kill", outcome="contained") == 2
    assert value("killcord_kills_total", kind="restore", outcome="contained") == 1
    assert value("killcord_changes_total", kind="revoke", drill="false") == 2
    assert value("killcord_changes_total", kind="restore", drill="false") == 1
    assert value("killcord_http_requests_total", endpoint="/v1/revocations", method="POST", status="2xx") == 2
    assert value("killcord_http_requests_total", endpoint="/v1/agents/{agent_id:path}", status="2xx") == 1
    assert value("killcord_ingest_seconds_count") >= 1
    assert value("killcord_scoring_lag_seconds_count") >= 1
    assert value("killcord_feed_messages_total") >= 6, "three changes, and three confirmations"
    assert value("killcord_log_bytes", log="actions") > 10_000
    assert value("killcord_log_bytes", log="feed") > 1000
    assert value("killcord_state_free_bytes") > 0
    assert value("killcord_build_info") == 1
    assert 0 < value("process_cpu_seconds_total") < 600
    assert value("process_resident_memory_bytes") > 10_000_000
    assert value("process_open_fds") > 5
    assert 0 <= time.time() - value("process_start_time_seconds") < 600
    assert sum(one.value for one in found["killcord_alerts_raised_total"].samples) == daemon.metric(
        "killcord_alerts_total"
    )


def test_after_kill_9_an_agents_page_is_as_it_was(daemon: RunningDaemon) -> None:
    daemon.send(habits(ACTIONS))
    daemon.wait_until_scored(ACTIONS)
    before = daemon.get(f"/v1/agents/{AGENTS[0]}")
    assert len(before["scores"]) > 50
    assert len(before["sessions"]) == 5
    daemon.kill()
    daemon.start()
    daemon.wait_until_scored(ACTIONS)
    after = daemon.get(f"/v1/agents/{AGENTS[0]}")
    assert after["scores"] == before["scores"]
    for kind in ("sessions", "tools", "humans", "credentials", "chains", "signals"):
        assert after[kind] == before[kind]
