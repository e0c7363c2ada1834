"""Broken chains in the whole daemon: told, found by filters, muted, and known after it was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.monitor.daemons import RunningDaemon
from tests.monitor.test_daemon import START_S

CHAIN = {"credential": "kid-7", "on_behalf_of": ["alice@example.com", "planner"], "policy": "payments@3"}


def send(daemon: RunningDaemon, *actions: dict[str, Any]) -> None:
    least = {"ts": START_S, "tool": "send_money", "session_id": "s", **CHAIN}
    daemon.send([{**least, **action} for action in actions])
    daemon.wait_for(lambda: daemon.metric("killcord_backlog_actions") == 0, "everything to be seen to")


def told(daemon: RunningDaemon, filter: str = "verdict:attribution") -> list[tuple[str, str, int]]:
    groups = daemon.get(f"/v1/alerts?filter={filter}")["alerts"]
    return sorted((g["alert"]["agent_id"], g["alert"]["reasons"][0]["signal"], g["count"]) for g in groups)


def test_broken_chains_are_told_muted_and_remembered(tmp_path: Path) -> None:
    refused = {"call_id": "c-1", "decision": "refused"}
    done = {"call_id": "c-1", "result": {"ok": True}}
    with RunningDaemon(tmp_path / "state") as daemon:
        send(daemon, {"id": "1", "agent_id": "pay-bot"}, {"id": "2", "agent_id": "hr-bot"})
        shared = ("hr-bot", "shared_credential", 1)
        assert told(daemon) == [shared]
        (group,) = daemon.get("/v1/alerts?filter=human:alice@example.com")["alerts"]
        alert = group["alert"]
        assert (alert["severity"], alert["credential"], alert["policy"]) == ("medium", "kid-7", "payments@3")
        assert "`pay-bot` used last" in alert["title"]
        scope = {"agent_id": "pay-bot", "signal": "rejected_but_executed", "reason": "known", "for_s": 3600}
        assert daemon.request("POST", "/v1/mutes", scope)[0] == 201
        send(daemon, {"id": "3", "agent_id": "pay-bot", **refused})
        daemon.kill()
        daemon.start()
        send(daemon, {"id": "4", "agent_id": "pay-bot", **done}, {"id": "5", "agent_id": "hr-bot"})
        assert told(daemon) == [shared, ("pay-bot", "rejected_but_executed", 1)]
        assert told(daemon, "state:muted") == [("pay-bot", "rejected_but_executed", 1)]
        assert daemon.get("/v1/revocations")["revocations"] == []
        daemon.kill()  # the log is replayed, and nobody is told again
        daemon.start()
        assert told(daemon) == [shared, ("pay-bot", "rejected_but_executed", 1)]
