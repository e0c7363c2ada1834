"""What an on-call reads from a real daemon before and after a kill, also after the daemon was killed itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from killswitch import Guard
from tests.monitor.daemons import RunningDaemon
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
            ("/v1/revocations", {"target": f"agent:{AGENTS[0]}", "reason": "strange", "by": "me"}),
            ("/v1/restorations", {"target": f"agent:{AGENTS[0]}", "reason": "looked at", "by": "me"}),
            ("/v1/revocations", {"target": f"agent:{AGENTS[0]}", "reason": "again", "by": "me"}),
        ):
            assert daemon.request("POST", path, body)[0] == 200
    assert daemon.get(f"/v1/blast-radius?target=agent:{AGENTS[0]}")["already"] == "revoke"
    daemon.wait_for(lambda: len(daemon.get("/v1/transitions")["transitions"]) == 3, "the history")
    history = daemon.get("/v1/transitions")["transitions"]
    assert [change["kind"] for change in history] == ["revoke", "restore", "revoke"]
    assert [change["reason"] for change in history] == ["again", "looked at", "strange"]
    assert daemon.get(f"/v1/agents/{AGENTS[0]}")["revocation"]["reason"] == "again"


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
