"""The HTTP edge in one process: what it refuses, and with which words. The whole daemon is in `test_daemon`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from killswitch import Switch
from killswitch.drills.drill_record import Drill
from killswitch.storage.journal import Journal
from monitor.config import parse_config
from monitor.errors import LogError
from monitor.gate import Gate, open_gate
from monitor.intake.dead_letters import DeadLetters
from monitor.kill.journal_drain import JournalDrain
from monitor.kill.killer import Killer
from monitor.log.segments import Record
from monitor.record.host import RecorderHost
from monitor.services import Services, StoreHealth
from monitor.state_dir import StateDir
from monitor.web.app import create_app
from tests.monitor.daemons import mint_tokens
from tests.monitor.engines import Node, until
from tests.monitor.exposition import families
from tests.monitor.streams import OBSERVER, WARM, habits

CONFIG = parse_config("[server]\nmax_body_bytes = 2048\nmax_backlog_actions = 3\n")


class Edge:
    """The application over a real engine; its store is nowhere."""

    def __init__(self, node: Node, state: Path, gate: Gate) -> None:
        self.node = node
        minted = mint_tokens(state)
        self._tokens = {"in": minted["sensor"], "look": minted["analyst"], "stop": minted["on-call"]}
        switch = Switch(f"unix://{state}/nothing", timeout_s=0.1)
        self.letters = state / "dead-letters.ndjson"
        self.services = Services(
            config=CONFIG,
            gate=gate,
            engine=node.engine,
            feed=node.feed,
            desk=node.desk,
            switch=switch,
            writer=switch,
            killer=Killer(switch, lambda request, why: None),
            kept=JournalDrain(Journal(state / "journal"), switch),
            observer=OBSERVER,
            dead_letters=DeadLetters(self.letters),
            recorder=RecorderHost(state, CONFIG.record),
        )
        self._app = create_app(self.services)

    async def ask(
        self,
        method: str,
        path: str,
        *parts: bytes,
        token: str | None = "in",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, content and headers of the answer to one request, its body sent in parts."""
        token = self._tokens.get(token or "", token)
        given = {**({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        name, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": name,
            "query_string": query.encode(),
            "headers": [(key.encode(), value.encode()) for key, value in given.items()],
            "server": ("127.0.0.1", 8787),
            "scheme": "http",
            "http_version": "1.1",
        }
        waiting = [*parts] or [b""]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent)
        answered = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
        is_json = answered.get("content-type", "").startswith("application/json")
        return sent[0]["status"], json.loads(body) if is_json else body.decode(), answered

    async def post(self, *parts: bytes, **options: Any) -> tuple[int, Any, dict[str, str]]:
        return await self.ask("POST", "/v1/actions", *parts, **options)


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with Node(tmp_path, CONFIG) as node, open_gate(CONFIG, StateDir(tmp_path)) as gate:
        yield Edge(node, tmp_path, gate)


def action(number: int = 1, **fields: Any) -> bytes:
    return json.dumps({"id": str(number), "ts": 1.0, "agent_id": "x", "tool": "t", **fields}).encode()


# -- ingest ---------------------------------------------------------------------------------------------------------


async def test_the_receipt_counts_what_was_taken_repeated_and_refused(edge: Edge) -> None:
    body = b"\n".join([action(1), action(1), action(2, ts="never"), b"", action(3)])
    status, receipt, headers = await edge.post(body)
    assert (status, receipt["accepted"], receipt["duplicates"]) == (200, 2, 1)
    assert [(one["index"], one["field"]) for one in receipt["rejected"]] == [(2, "ts")]
    assert headers["cache-control"] == "no-store"
    assert json.loads(edge.letters.read_bytes())["field"] == "ts"
    assert len(list(edge.node.engine._log.read())) == 1


@pytest.mark.parametrize("body", [b"[]", b"", b"\n \n"])
async def test_nothing_is_taken_from_nothing(edge: Edge, body: bytes) -> None:
    assert (await edge.post(body))[:2] == (200, {"accepted": 0, "duplicates": 0, "rejected": []})


@pytest.mark.parametrize("body", [b"nonsense", b"[", action(ts="never")])
async def test_if_all_are_refused_so_is_the_request(edge: Edge, body: bytes) -> None:
    status, receipt, _ = await edge.post(body)
    assert (status, receipt["accepted"], len(receipt["rejected"])) == (422, 0, 1)


async def test_a_body_may_come_in_parts_up_to_the_limit(edge: Edge) -> None:
    whole = action(note="x" * 1500)
    assert (await edge.post(whole[:700], whole[700:]))[0] == 200
    status, answer, _ = await edge.post(b"x" * 1025, b"x" * 1025, b"never read")
    assert (status, answer["field"]) == (413, None)
    assert "2048" in answer["error"]
    assert (await edge.post(b"", headers={"content-length": "2049"}))[0] == 413


@pytest.mark.parametrize(
    ("token", "status"), [(None, 401), ("wrong", 401), ("", 401), ("look", 403), ("stop", 403), ("in", 200)]
)
async def test_only_the_ingest_token_takes_actions_in(edge: Edge, token: str | None, status: int) -> None:
    found, answer, headers = await edge.post(action(), token=token)
    assert found == status
    assert ("www-authenticate" in headers) == (status == 401)
    assert edge.node.engine._commit.syncs == (1 if status == 200 else 0)
    assert status == 200 or answer["error"]


async def test_an_overload_asks_to_send_again(edge: Edge) -> None:
    edge.node.effects.may_publish.clear()
    append, edge.node.engine._log.append = edge.node.engine._log.append, _refuse  # type: ignore[method-assign]
    status, answer, headers = await edge.post(action())
    assert (status, headers["retry-after"]) == (503, "1")
    assert "not durable" in answer["error"]
    edge.node.engine._log.append = append  # type: ignore[method-assign]
    assert (await edge.post(action()))[1]["accepted"] == 1, "what was refused was not remembered as seen"
    await until(lambda: edge.node.engine.backlog == 0)
    edge.node.engine._unscored += 3
    status, _, headers = await edge.post(action(2))
    assert (status, headers["retry-after"]) == (503, "1")
    assert (await edge.ask("GET", "/readyz"))[0] == 503
    edge.node.engine._unscored -= 3
    assert (await edge.post(action(2)))[0] == 200


# -- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "²", "9" * 5000])
async def test_a_limit_out_of_range_names_the_field(edge: Edge, limit: str) -> None:
    from urllib.parse import quote

    status, answer, _ = await edge.ask("GET", f"/v1/alerts?limit={quote(limit)}", token="look")
    assert (status, answer["field"]) == (422, "limit")


async def test_an_agents_actions_are_listed_newest_first(edge: Edge) -> None:
    await edge.post(action(1), token="in")
    await edge.post(action(2))
    _, answer, _ = await edge.ask("GET", "/v1/actions?agent=x&limit=1", token="look")
    assert [one["id"] for one in answer["actions"]] == ["2"]
    assert (await edge.ask("GET", "/v1/actions", token="look"))[1]["field"] == "agent"


async def test_agents_are_listed_even_while_the_store_is_away(edge: Edge) -> None:
    await edge.post(action())
    await until(lambda: edge.node.engine.backlog == 0)
    status, answer, _ = await edge.ask("GET", "/v1/agents", token="stop")
    (agent,) = answer["agents"]
    assert status == 200
    assert (agent["agent_id"], agent["actions"], agent["revocation"]) == ("x", 1, None)
    assert agent["model"]["state"] == "calibrating"


async def test_one_agent_is_shown_with_what_it_did_lately(edge: Edge) -> None:
    run = {"agent_id": "team/bot 1", "session_id": "run-1", "credential": "kid-7"}
    await edge.post(action(1, **run, on_behalf_of=["alice", "planner"]))
    await edge.post(action(2, **{**run, "session_id": "run-2"}, ts=2.0))
    await until(lambda: edge.node.engine.backlog == 0)
    status, agent, _ = await edge.ask("GET", "/v1/agents/team/bot 1", token="look")
    assert (status, agent["agent_id"], agent["actions"]) == (200, "team/bot 1", 2)
    assert agent["sessions"] == [
        {"session_id": "run-2", "last_ts": 2.0},
        {"session_id": "run-1", "last_ts": 1.0},
    ]
    assert agent["tools"] == [{"tool": "t", "last_ts": 2.0}]
    assert agent["humans"] == [{"human": "alice", "last_ts": 1.0}]
    assert agent["credentials"] == [{"credential": "kid-7", "last_ts": 2.0}]
    assert agent["chains"] == [{"on_behalf_of": ["alice", "planner"], "last_ts": 1.0}]
    assert (agent["scores"], agent["signals"]) == ([], []), "its model is still calibrating"


@pytest.mark.parametrize("name", ["", "nobody", "x/y"])
async def test_an_agent_that_was_never_seen_is_not_found(edge: Edge, name: str) -> None:
    status, answer, _ = await edge.ask("GET", f"/v1/agents/{name}", token="look")
    assert (status, answer["field"]) == (404, None)


async def test_an_agents_scores_are_listed_oldest_first(edge: Edge) -> None:
    await edge.node.engine.ingest(habits(WARM))
    await until(lambda: edge.node.engine.backlog == 0)
    _, agent, _ = await edge.ask("GET", "/v1/agents/agent-0", token="look")
    seqs = [score["seq"] for score in agent["scores"]]
    assert seqs == sorted(seqs)
    assert 0 < len(seqs) <= 500
    assert set(agent["scores"][0]) == {"seq", "ts", "tool", "session_id", "p", "threshold_p"}
    assert all(0 < score["p"] <= 1 and 0 < score["threshold_p"] < 1 for score in agent["scores"])
    newest = await edge.ask("GET", "/v1/actions?agent=agent-0&limit=1", token="look")
    assert seqs[-1] == newest[1]["actions"][0]["seq"], "the numbers are those of the actions"


async def test_the_blast_radius_is_known_before_the_kill(edge: Edge) -> None:
    await edge.post(action(1, session_id="run-1", on_behalf_of="alice"))
    await until(lambda: edge.node.engine.backlog == 0)
    status, answer, _ = await edge.ask("GET", "/v1/blast-radius?target=human:alice", token="look")
    assert (status, answer["agents"], answer["humans"]) == (200, ["x"], ["alice"])
    assert answer["sessions"] == [{"session_id": "run-1", "agent_id": "x", "last_ts": 1.0}]
    assert (answer["points"], answer["already"]) == ({"live": 0, "total": 0}, None)


@pytest.mark.parametrize("query", ["", "?target=", "?target=robot:x", "?target=agent:", "?target=fleet:x"])
async def test_a_blast_radius_needs_a_target(edge: Edge, query: str) -> None:
    status, answer, _ = await edge.ask("GET", f"/v1/blast-radius{query}", token="look")
    assert (status, answer["field"]) == (422, "target")


async def test_the_history_of_kills_is_paged_and_marks_drills(edge: Edge) -> None:
    for number in range(5):
        change = {"target": f"agent:{number}", "drill": number == 3}
        await edge.node.feed.publish([{"type": "transition", "ts": "now", "transition": change}])
    _, first, _ = await edge.ask("GET", "/v1/transitions?limit=2", token="look")
    assert [one["target"] for one in first["transitions"]] == ["agent:4", "agent:2"]
    _, second, _ = await edge.ask("GET", f"/v1/transitions?limit=2&before={first['next']}", token="look")
    assert [one["target"] for one in second["transitions"]] == ["agent:1", "agent:0"]
    assert second["next"] is None
    _, marked, _ = await edge.ask("GET", "/v1/transitions?drills=1", token="look")
    assert [one["drill"] for one in marked["transitions"]] == [False, True, False, False, False]


@pytest.mark.parametrize(
    ("query", "field"), [("before=x", "before"), ("before=-1", "before"), ("drills=yes", "drills")]
)
async def test_a_wrong_cursor_names_the_field(edge: Edge, query: str, field: str) -> None:
    status, answer, _ = await edge.ask("GET", f"/v1/transitions?{query}", token="look")
    assert (status, answer["field"]) == (422, field)


async def test_requests_are_counted_by_endpoint_and_strangers_make_no_series(edge: Edge) -> None:
    for path in ("/v1/agents/a", "/v1/agents/b", '/x{a="1"}', "/v1/nothing", "/static/none"):
        assert (await edge.ask("GET", path, token="look"))[0] == 404
    await edge.ask("GET", "/v1/agents", token=None)
    await edge.ask("BREW", "/v1/agents", token="look")
    await edge.post(action())
    assert dict(edge.services.telemetry.requests) == {
        ("GET", "/v1/agents/{agent_id:path}", "4xx"): 2,
        ("other", "other", "4xx"): 3,
        ("GET", "/v1/agents", "4xx"): 2,
        ("POST", "/v1/actions", "2xx"): 1,
    }
    status, text, _ = await edge.ask("GET", "/metrics", token=None)
    assert status == 200
    samples = families(text)["killcord_http_requests_total"].samples
    assert sum(sample.value for sample in samples) == 8


async def test_drills_and_status_can_be_read(edge: Edge) -> None:
    edge.services.drills.log.add(
        Drill(
            "d-1", "session:killcord-drill", "tests", 5.0, 1000.0, "", 0, None, None, (), problem="no store"
        )
    )
    _, answer, _ = await edge.ask("GET", "/v1/drills?limit=5", token="look")
    (drill,) = answer["drills"]
    assert (drill["id"], drill["verdict"], drill["at"]) == ("d-1", "failed", 5.0)
    assert "no store" in drill["says"]
    status, answer, _ = await edge.ask("GET", "/v1/status", token="look")
    assert (status, answer) == (200, json.loads(json.dumps(edge.services.status())))


async def test_readiness_says_what_is_missing(edge: Edge) -> None:
    status, answer, _ = await edge.ask("GET", "/readyz", token=None)
    assert (status, answer["problems"]) == (503, ["the revocation store does not answer"])
    edge.services.store = StoreHealth(True)
    assert (await edge.ask("GET", "/readyz", token=None))[0] == 200
    assert (await edge.ask("GET", "/healthz", token=None))[:2] == (200, "ok\n")


async def test_a_kill_that_cannot_be_written_says_so(edge: Edge) -> None:
    body = json.dumps({"target": "agent:x", "reason": "now"}).encode()
    status, answer, _ = await edge.ask("POST", "/v1/revocations", body, token="stop")
    assert status in (502, 503)
    assert answer["error"]


async def test_the_whole_fleet_is_stopped_only_by_who_says_so_twice(edge: Edge) -> None:
    kill = {"target": "fleet", "reason": "now"}
    for wrong in ({}, {"confirm": ""}, {"confirm": "Fleet"}, {"confirm": "yes"}):
        body = json.dumps(kill | wrong).encode()
        status, answer, _ = await edge.ask("POST", "/v1/revocations", body, token="stop")
        assert (status, answer["field"]) == (422, "confirm")
        assert '"confirm": "fleet"' in answer["error"]
    body = json.dumps(kill | {"confirm": "fleet"}).encode()
    assert (await edge.ask("POST", "/v1/revocations", body, token="stop"))[0] in (502, 503), "it was tried"


def _refuse(*_: Record) -> list[int]:
    raise LogError("the disk is full")
