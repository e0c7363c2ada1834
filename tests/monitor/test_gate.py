"""Signing in, cookies, forged requests, the brake, and what the trail says of all that; in one process, no network."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from killswitch import Switch
from killswitch.storage.journal import Journal
from monitor.access.token_file import TokenFile
from monitor.access.tokens import id_of
from monitor.config import parse_config
from monitor.gate import Gate, open_gate
from monitor.intake.dead_letters import DeadLetters
from monitor.kill.journal_drain import JournalDrain
from monitor.kill.killer import Killer
from monitor.record.host import RecorderHost
from monitor.services import Services
from monitor.state_dir import StateDir
from monitor.web.app import create_app
from tests.monitor.daemons import mint_token, mint_tokens
from tests.monitor.engines import Node
from tests.monitor.streams import OBSERVER

CONFIG = parse_config('[server]\nallowed_origins = ["https://soc.example"]\n')
OWN = "http://killcord.test:8787"
CHANGE = {"ids": ["al-1"], "change": "comment", "comment": "our own test"}
CHANGES_PATH = "/v1/alerts/changes"


class Daemon:
    """The application over a real engine, and its gate."""

    def __init__(self, node: Node, state: Path, gate: Gate, tokens: dict[str, str]) -> None:
        self.state, self.gate, self.tokens = state, gate, tokens
        switch = Switch(f"unix://{state}/nothing", timeout_s=0.1)
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
            dead_letters=DeadLetters(state / "dead-letters.ndjson"),
            recorder=RecorderHost(state, CONFIG.record),
        )
        self.app = create_app(self.services)

    def client(self, address: str = "10.0.0.1", base: str = OWN) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(address, 1234))
        return httpx.AsyncClient(transport=transport, base_url=base)

    def bearer(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[role]}"}

    async def trail(self) -> list[dict[str, Any]]:
        await self.gate.trail._commit.barrier()
        return (await self.gate.trail.page(1000))[0]


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    tokens = mint_tokens(tmp_path)
    async with Node(tmp_path, CONFIG) as node, open_gate(CONFIG, StateDir(tmp_path)) as gate:
        yield Daemon(node, tmp_path, gate, tokens)


async def signed_in(client: httpx.AsyncClient, token: str) -> dict[str, str]:
    """Sign in, and return the headers that the dashboard sends with what it changes."""
    answer = await client.post("/v1/session", json={"token": token}, headers={"Origin": OWN})
    assert answer.status_code == 201, answer.text
    return {"Origin": OWN, "X-Killcord-CSRF": answer.json()["csrf"]}


# -- sessions -------------------------------------------------------------------------------------------------------


async def test_a_browser_signs_in_is_known_and_leaves(daemon: Daemon) -> None:
    async with daemon.client() as client:
        answer = await client.post("/v1/session", json={"token": daemon.tokens["analyst"]})
        about = answer.json()
        assert (about["name"], about["role"], about["permissions"]) == (
            "the-analyst",
            "analyst",
            ["read", "triage"],
        )
        assert about["expires_at"] > time.time()
        cookie = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert "Secure" not in cookie
        assert (await client.get("/v1/session")).json() == about
        assert (await client.get("/v1/alerts")).status_code == 200
        headers = {"Origin": OWN, "X-Killcord-CSRF": about["csrf"]}
        assert (await client.delete("/v1/session", headers=headers)).status_code == 204
        client.cookies.set("killcord", cookie.split(";")[0].partition("=")[2])
        assert (await client.get("/v1/alerts")).status_code == 401
        assert (await client.get("/v1/session")).json()["login"] is None


async def test_over_tls_the_cookie_is_bound_to_the_host_and_secure(daemon: Daemon) -> None:
    async with daemon.client(base="https://killcord.test:8787") as client:
        answer = await client.post("/v1/session", json={"token": daemon.tokens["analyst"]})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-killcord=")
        assert "Secure" in cookie
        assert "max-age=" in answer.headers["strict-transport-security"]
        assert (await client.get("/v1/alerts")).status_code == 200
    async with daemon.client() as client:
        assert "strict-transport-security" not in (await client.get("/healthz")).headers


async def test_a_revoked_token_takes_its_sessions_with_it(daemon: Daemon) -> None:
    async with daemon.client() as client:
        await signed_in(client, daemon.tokens["analyst"])
        TokenFile(StateDir(daemon.state).token_file).revoke(id_of(daemon.tokens["analyst"]), time.time())
        daemon.gate.tokens._looked_s = float("-inf")
        assert (await client.get("/v1/alerts")).status_code == 401


async def test_a_session_outlives_a_restart(tmp_path: Path) -> None:
    token = mint_token(tmp_path, "analyst")
    async with Node(tmp_path, CONFIG) as node:
        async with (
            open_gate(CONFIG, StateDir(tmp_path)) as gate,
            Daemon(node, tmp_path, gate, {}).client() as client,
        ):
            await signed_in(client, token)
            cookies = client.cookies
        async with (
            open_gate(CONFIG, StateDir(tmp_path)) as gate,
            Daemon(node, tmp_path, gate, {}).client() as client,
        ):
            client.cookies = cookies
            assert (await client.get("/v1/alerts")).status_code == 200


async def test_the_token_in_a_header_wins_over_the_cookie(daemon: Daemon) -> None:
    async with daemon.client() as client:
        await signed_in(client, daemon.tokens["on-call"])
        assert (await client.get("/v1/alerts", headers=daemon.bearer("sensor"))).status_code == 403
        assert (await client.get("/v1/alerts", headers={"Authorization": "Bearer wrong"})).status_code == 401
        about = (await client.get("/v1/session", headers=daemon.bearer("analyst"))).json()
        assert (about["role"], about["csrf"]) == ("analyst", None)
        answer = await client.post(CHANGES_PATH, json=CHANGE, headers=daemon.bearer("analyst"))
        assert answer.status_code == 200, "a program that sends a token needs no more than that"


# -- forged requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({}, "origin"),
        ({"Origin": "https://evil.example"}, "origin"),
        ({"Origin": "null"}, "origin"),
        ({"Sec-Fetch-Site": "cross-site"}, "origin"),
        ({"Sec-Fetch-Site": "same-site"}, "origin"),
        ({"Origin": OWN, "X-Killcord-CSRF": ""}, "csrf"),
        ({"Origin": OWN, "X-Killcord-CSRF": "0" * 64}, "csrf"),
    ],
)
async def test_what_another_sites_page_asks_for_is_refused_and_written_down(
    daemon: Daemon, headers: dict[str, str], field: str
) -> None:
    async with daemon.client() as client:
        right = await signed_in(client, daemon.tokens["analyst"])
        forged = (
            headers
            if "X-Killcord-CSRF" in headers
            else {**right, **headers, "Origin": headers.get("Origin", "")}
        )
        if not forged["Origin"]:
            del forged["Origin"]
        answer = await client.post(CHANGES_PATH, json=CHANGE, headers=forged)
        assert (answer.status_code, answer.json()["field"]) == (403, field)
        answer = await client.delete("/v1/session", headers=forged)
        assert (answer.status_code, answer.json()["field"]) == (403, field)
        assert (await client.post(CHANGES_PATH, json=CHANGE, headers=right)).status_code == 200
    refused = [one for one in await daemon.trail() if one["outcome"] == "refused"]
    assert {(one["by"], one["act"]) for one in refused} == {
        ("the-analyst", "POST /v1/alerts/changes"),
        ("the-analyst", "DELETE /v1/session"),
    }


async def test_a_form_post_of_another_site_does_nothing(daemon: Daemon) -> None:
    async with daemon.client() as client:
        await signed_in(client, daemon.tokens["on-call"])
        forged = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
        body = b'{"target": "agent:x", "reason": "a form can send this"}'
        assert (await client.post("/v1/revocations", content=body, headers=forged)).status_code == 403


async def test_a_configured_origin_may_act(daemon: Daemon) -> None:
    async with daemon.client() as client:
        right = await signed_in(client, daemon.tokens["analyst"])
        headers = {**right, "Origin": "https://soc.example"}
        assert (await client.post(CHANGES_PATH, json=CHANGE, headers=headers)).status_code == 200


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_another_site_cannot_sign_a_browser_in_as_somebody_else(
    daemon: Daemon, headers: dict[str, str]
) -> None:
    async with daemon.client() as client:
        answer = await client.post("/v1/session", json={"token": daemon.tokens["admin"]}, headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (403, "origin")
    assert "set-cookie" not in answer.headers


# -- the brake ------------------------------------------------------------------------------------------------------


async def test_guessing_is_slowed_down_and_nobody_else_is(daemon: Daemon) -> None:
    async with daemon.client("10.0.0.9") as attacker, daemon.client("10.0.0.1") as other:
        statuses = [
            (await attacker.get("/v1/alerts", headers={"Authorization": f"Bearer kc_guess_{number:030}"}))
            for number in range(10)
        ]
        assert [one.status_code for one in statuses] == [401] * 6 + [429] * 4
        assert 1 <= int(statuses[-1].headers["retry-after"]) <= 60
        assert (await attacker.post("/v1/session", json={"token": "wrong"})).status_code == 429
        assert (await attacker.get("/v1/alerts", headers=daemon.bearer("analyst"))).status_code == 429
        assert (await other.get("/v1/alerts", headers=daemon.bearer("analyst"))).status_code == 200


async def test_who_has_worked_from_an_address_before_goes_on(daemon: Daemon) -> None:
    async with daemon.client() as client:
        assert (await client.get("/v1/alerts", headers=daemon.bearer("on-call"))).status_code == 200
        for _ in range(10):
            await client.get("/v1/alerts", headers={"Authorization": "Bearer forgotten-sensor"})
        assert (await client.get("/v1/alerts", headers={"Authorization": "Bearer x"})).status_code == 429
        assert (await client.get("/v1/alerts", headers=daemon.bearer("on-call"))).status_code == 200


async def test_a_client_cannot_choose_the_address_it_is_counted_under(daemon: Daemon) -> None:
    async with daemon.client("10.0.0.9") as attacker:
        statuses = []
        for number in range(10):
            headers = {"Authorization": "Bearer wrong", "X-Forwarded-For": f"10.1.1.{number}"}
            statuses.append((await attacker.get("/v1/alerts", headers=headers)).status_code)
    assert 429 in statuses


# -- what the trail says --------------------------------------------------------------------------------------------


async def test_each_act_is_written_down_with_who_and_what_came_of_it(daemon: Daemon) -> None:
    async with daemon.client() as client:
        await client.post(
            CHANGES_PATH, json={**CHANGE, "comment": "x" * 5_000}, headers=daemon.bearer("analyst")
        )
        await client.post(CHANGES_PATH, json=CHANGE, headers=daemon.bearer("analyst"))
        kill = {"target": "agent:x", "reason": "it pays strangers"}
        await client.post("/v1/revocations", json=kill, headers=daemon.bearer("analyst"))
        await client.post("/v1/revocations", json=kill, headers=daemon.bearer("on-call"))
        await client.post("/v1/revocations", json=kill)
    unknown, failed, refused, done, wrong = (await daemon.trail())[:5]
    assert (wrong["outcome"], len(wrong["detail"]["comment"])) == ("refused", 2_000)
    assert (done["by"], done["role"], done["from"]) == ("the-analyst", "analyst", "10.0.0.1")
    assert (done["act"], done["object"]) == ("POST /v1/alerts/changes", "al-1")
    assert (done["outcome"], done["detail"]["comment"]) == ("done", "our own test")
    assert (refused["outcome"], refused["object"]) == ("refused", "agent:x")
    assert refused["detail"]["reason"] == "it pays strangers"
    assert (failed["outcome"], failed["by"], failed["object"]) == ("failed", "the-on-call", "agent:x")
    assert (unknown["outcome"], unknown["by"]) == ("refused", "")


async def test_sign_ins_are_written_down_and_no_secret_is(daemon: Daemon) -> None:
    async with daemon.client() as client:
        await signed_in(client, daemon.tokens["analyst"])
        await client.post("/v1/session", json={"token": "kc_guess_" + "s" * 40})
        await client.get("/v1/alerts", headers={"Authorization": "Bearer kc_other_" + "s" * 40})
    trail = await daemon.trail()
    assert [(one["act"], one["by"], one["outcome"]) for one in trail] == [
        ("GET /v1/alerts", "", "refused"),
        ("POST /v1/session", "", "refused"),
        ("POST /v1/session", "the-analyst", "done"),
    ]
    text = json.dumps(trail)
    assert "ssss" not in text
    assert daemon.tokens["analyst"] not in text


async def test_actions_that_are_taken_in_are_not_written_twice(daemon: Daemon) -> None:
    action = {"id": "1", "ts": 1.0, "agent_id": "x", "tool": "t"}
    async with daemon.client() as client:
        assert (
            await client.post("/v1/actions", json=action, headers=daemon.bearer("sensor"))
        ).status_code == 200
        assert (
            await client.post("/v1/actions", json=action, headers=daemon.bearer("analyst"))
        ).status_code == 403
    assert [(one["by"], one["outcome"]) for one in await daemon.trail()] == [("the-analyst", "refused")]


async def test_who_is_refused_without_end_cannot_fill_the_disk_and_is_counted(daemon: Daemon) -> None:
    async with daemon.client() as client:
        for _ in range(100):
            await client.post(
                "/v1/revocations", json={"target": "agent:x", "reason": "r"}, headers=daemon.bearer("sensor")
            )
            await client.post("/v1/revocations", json={"target": "agent:x", "reason": "r"})
    trail = await daemon.trail()
    known = sum(one["by"] == "the-sensor" for one in trail)
    unknown = sum(one["by"] == "" for one in trail)
    assert 60 <= known <= 65
    assert 10 <= unknown <= 15
    assert daemon.gate.insiders.left_out + daemon.gate.strangers.left_out == 200 - known - unknown
    daemon.gate._tell_left_out()
    daemon.gate._told_s = 0.0
    told = [one for one in await daemon.trail() if one["act"] == "refusals not listed"]
    assert sum(one["detail"]["count"] for one in told) <= 200 - known - unknown


async def test_a_kill_that_cannot_be_written_down_happens_all_the_same(daemon: Daemon) -> None:
    await daemon.gate.trail._commit.__aexit__()
    kept: list[Any] = []
    daemon.services.switch.revoke_and_wait = lambda *args, **how: kept.append(how) or _fail()  # type: ignore[method-assign, func-returns-value]
    async with daemon.client() as client:
        answer = await client.post(
            "/v1/revocations", json={"target": "agent:x", "reason": "now"}, headers=daemon.bearer("on-call")
        )
    assert answer.status_code == 503
    assert kept[0]["by"] == "the-on-call"
    assert daemon.gate.trail.unwritten == 1
    await daemon.gate.trail._commit.__aenter__()


def _fail() -> None:
    from killswitch import StoreUnreachable

    raise StoreUnreachable("away")


async def test_nobody_acts_under_a_name_of_their_choice(daemon: Daemon) -> None:
    kill = {"target": "agent:x", "reason": "r", "by": "somebody else"}
    async with daemon.client() as client:
        for path, body in (
            ("/v1/revocations", kill),
            ("/v1/restorations", kill),
            (CHANGES_PATH, {**CHANGE, "by": "somebody else"}),
        ):
            answer = await client.post(path, json=body, headers=daemon.bearer("on-call"))
            assert answer.status_code == 422
            assert "by" in answer.json()["error"]
