"""Alerts and mutes over HTTP: groups, their life, and every refusal with its field."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.config import Config
from monitor.core.alerts import Alert
from monitor.errors import LogError
from monitor.gate import open_gate
from monitor.live.messages import alert_message
from monitor.log.segments import Record
from monitor.state_dir import StateDir
from tests.monitor.alerts import alert, told
from tests.monitor.engines import Node
from tests.monitor.test_web import Edge


class Desk(Edge):
    """The edge, with an analyst in front of it."""

    async def show(self, *alerts: Alert) -> None:
        await self.services.desk.publish([alert_message(each) for each in alerts])

    async def get(self, path: str) -> Any:
        status, answer, _ = await self.ask("GET", path, token="look")
        assert status == 200, answer
        return answer

    async def send(self, path: str, body: Any, token: str = "look", method: str = "POST") -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, answer, _ = await self.ask(method, path, data, token=token)
        return status, answer

    async def change(self, ids: list[str], change: str, token: str = "look", **fields: Any) -> Any:
        body = {"ids": ids, "change": change, **fields}
        status, answer = await self.send("/v1/alerts/changes", body, token)
        assert status == 200, answer
        return answer

    async def ids(self, filter_text: str = "") -> list[str]:
        return [
            group["id"] for group in (await self.get(f"/v1/alerts?filter={quote(filter_text)}"))["alerts"]
        ]

    def fill_the_disk(self) -> None:
        self.node.feed_log.append = _refuse  # type: ignore[method-assign]


def _refuse(*_: Record) -> list[int]:
    raise LogError("the disk is full")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Node(tmp_path, Config()) as node, open_gate(Config(), StateDir(tmp_path)) as gate:
        found = Desk(node, tmp_path, gate)
        found.services.config = Config()
        yield found


# -- groups ---------------------------------------------------------------------------------------------------------


async def test_repeats_are_one_group_with_a_count_and_everything_else_is_its_own(desk: Desk) -> None:
    await desk.show(alert(1), alert(2, agent="other"), alert(3))
    await desk.show(alert(4, signal="time"), alert(5), alert(6, verdict="drift"))
    groups = {group["id"]: group for group in (await desk.get("/v1/alerts"))["alerts"]}
    assert {name: group["count"] for name, group in groups.items()} == {
        "al-1": 3, "al-2": 1, "al-4": 1, "al-6": 1,
    }  # fmt: skip
    assert (groups["al-1"]["alert"]["id"], groups["al-1"]["last_alert_id"]) == ("al-1", "al-5")
    assert await desk.ids() == ["al-6", "al-1", "al-4", "al-2"]


async def test_the_feed_tells_each_alerts_group(desk: Desk) -> None:
    await desk.show(alert(1), alert(2))
    await desk.change(["al-1"], "acknowledge")
    await desk.show(alert(3))
    await desk.change(["al-1"], "close", reason="benign")
    await desk.show(alert(4))
    told = [message["group"] for message in reversed(desk.node.feed.newest("alert", 10))]
    assert [(group["id"], group["count"], group["state"]) for group in told] == [
        ("al-1", 1, "open"), ("al-1", 2, "open"), ("al-1", 3, "acknowledged"), ("al-4", 1, "open"),
    ]  # fmt: skip


async def test_nobody_is_shown_an_alert_twice(desk: Desk) -> None:
    await desk.show(alert(1), alert(1))
    await desk.show(alert(1), alert(2))
    assert [m["alert"]["id"] for m in desk.node.feed.newest("alert", 10)] == ["al-2", "al-1"]


async def test_a_group_is_as_severe_as_its_worst_alert(desk: Desk) -> None:
    await desk.show(alert(1, severity="low"), alert(2, severity="critical"), alert(3, severity="medium"))
    assert await desk.ids("severity:critical") == ["al-1"]
    (group,) = (await desk.get("/v1/alerts"))["alerts"]
    assert (group["severity"], group["alert"]["severity"]) == ("critical", "low")


async def test_a_group_in_full_has_its_alerts_newest_first_and_its_history(desk: Desk) -> None:
    await desk.show(*(alert(number) for number in range(1, 61)))
    await desk.change(["al-1"], "assign", assignee="bob", comment="yours")
    found = await desk.get("/v1/alerts/al-1")
    assert [each["id"] for each in found["alerts"]] == [f"al-{number}" for number in range(60, 10, -1)]
    (done,) = found["history"]
    assert done.pop("at") == found["changed_at"]
    assert done == {
        "change": "assign", "by": "the-analyst", "state": "open", "assignee": "bob", "reason": None, "comment": "yours",
    }  # fmt: skip
    assert (found["assignee"], found["comments"], found["changed_by"]) == ("bob", 1, "the-analyst")
    assert (await desk.get("/v1/alerts/al-33"))["id"] == "al-1", "any of its alerts finds the group"


async def test_precedents_are_what_people_said_of_the_same_signal(desk: Desk) -> None:
    for number, agent in enumerate(["other", "billing-bot", "other", "third"], 1):
        await desk.show(alert(number, agent=agent))
        await desk.change([f"al-{number}"], "close", reason="benign", comment=f"why {number}")
    await desk.show(alert(5, signal="time"), alert(6))
    found = (await desk.get("/v1/alerts/al-6"))["precedents"]
    assert [(each["id"], each["comment"]) for each in found] == [
        ("al-2", "why 2"), ("al-4", "why 4"), ("al-3", "why 3"), ("al-1", "why 1"),
    ]  # fmt: skip
    assert (await desk.get("/v1/alerts/al-5"))["precedents"] == []


# -- lists ----------------------------------------------------------------------------------------------------------


async def test_pages_follow_each_other_without_gap_or_repeat(desk: Desk) -> None:
    await desk.show(*(alert(number, agent=f"agent-{number % 13}") for number in range(100)))
    whole, paged, query = await desk.ids(), [], ""
    while True:
        page = await desk.get(f"/v1/alerts?limit=5{query}")
        paged += [group["id"] for group in page["alerts"]]
        if page["next"] is None:
            break
        query = f"&before={page['next']}"
    assert (paged, len(whole)) == (whole, 13)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("agent:billing-*", ["al-1"]),
        ("state:open", ["al-3"]),
        ("-state:closed", ["al-3", "al-1"]),
        ("human:alice@example.com tool:send_money", ["al-3", "al-2", "al-1"]),
        ("id:al-2", ["al-2"]),
        ("nothing-like-it", []),
    ],
)
async def test_a_filter_narrows_the_list(desk: Desk, text: str, found: list[str]) -> None:
    await desk.show(alert(1), alert(2, agent="x"), alert(3, agent="y"))
    await desk.change(["al-1"], "acknowledge")
    await desk.change(["al-2"], "close", reason="duplicate")
    assert await desk.ids(text) == found


@pytest.mark.parametrize(
    ("query", "field"),
    [("filter=stat:open", "filter"), ("filter=%22", "filter"), ("before=x", "before"), ("before=-1", "before"),
     ("before=" + "9" * 50, "before"), ("limit=0", "limit")],
)  # fmt: skip
async def test_a_query_that_cannot_be_read_names_its_field(desk: Desk, query: str, field: str) -> None:
    status, answer, _ = await desk.ask("GET", f"/v1/alerts?{query}", token="look")
    assert (status, answer["field"]) == (422, field)


# -- changes --------------------------------------------------------------------------------------------------------


async def test_a_bulk_change_does_what_it_can_and_says_of_each_other_why_not(desk: Desk) -> None:
    await desk.show(alert(1), alert(2, agent="x"), alert(3, agent="y"))
    await desk.change(["al-2"], "close", reason="confirmed", token="stop")
    answer = await desk.change(["al-1", "al-2", "al-9", "al-3", "al-1"], "close", reason="benign")
    assert answer["changed"] == ["al-1", "al-3"]
    refused = {each["id"]: each["error"] for each in answer["refused"]}
    assert set(refused) == {"al-2", "al-9"}
    assert "on-call" in refused["al-2"]
    assert await desk.ids("state:closed") == ["al-3", "al-2", "al-1"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"ids": [], "change": "acknowledge"}, "ids"),
        ({"ids": ["x"] * 501, "change": "acknowledge"}, "ids"),
        ({"ids": [""], "change": "acknowledge"}, "ids[0]"),
        ({"ids": ["al-1"], "change": "forget"}, "change"),
        ({"ids": ["al-1"], "change": "close"}, "reason"),
        ({"ids": ["al-1"], "change": "close", "reason": "bored"}, "reason"),
        ({"ids": ["al-1"], "change": "acknowledge", "reason": "benign"}, "reason"),
        ({"ids": ["al-1"], "change": "acknowledge", "assignee": "bob"}, "assignee"),
        ({"ids": ["al-1"], "change": "comment"}, "comment"),
        ({"ids": ["al-1"], "change": "comment", "comment": " "}, "comment"),
        ({"ids": ["al-1"], "change": "comment", "comment": "x" * 2001}, "comment"),
        ({"ids": ["al-1"], "change": "comment", "comment": "x", "by": "root"}, None),
    ],
)
async def test_a_wrong_change_is_refused_and_nothing_is_written(
    desk: Desk, body: Any, field: str | None
) -> None:
    await desk.show(alert(1))
    before = desk.node.feed.last_seq
    status, answer = await desk.send("/v1/alerts/changes", body)
    assert (status, answer["field"]) == (422, field)
    assert answer["error"]
    assert desk.node.feed.last_seq == before


async def test_what_is_not_durable_has_not_happened(desk: Desk) -> None:
    await desk.show(alert(1))
    before = await desk.get("/v1/alerts/al-1")
    desk.fill_the_disk()
    for path, body in (
        ("/v1/alerts/changes", {"ids": ["al-1"], "change": "acknowledge"}),
        ("/v1/mutes", {"agent_id": "x", "signal": "tool", "reason": "r", "for_s": 60}),
    ):
        assert (await desk.send(path, body))[0] == 503
    assert await desk.get("/v1/alerts/al-1") == before
    assert (await desk.get("/v1/mutes"))["mutes"] == []


# -- mutes ----------------------------------------------------------------------------------------------------------

MUTE = {"agent_id": "billing-bot", "signal": "tool", "reason": "a known migration", "for_s": 3600}


async def test_a_mute_hides_exactly_its_agents_signal_until_it_is_lifted(desk: Desk) -> None:
    await desk.show(alert(1), alert(2, agent="x"), alert(3, signal="time"))
    status, mute = await desk.send("/v1/mutes", MUTE)
    assert status == 201
    assert mute["by"] == "the-analyst"
    assert mute["until"] - mute["at"] == pytest.approx(3600)
    assert (await desk.get("/v1/mutes"))["mutes"] == [mute]
    await desk.show(alert(4))
    assert await desk.ids("state:muted") == ["al-1"]
    assert desk.node.feed.newest("alert", 1)[0]["group"]["muted_by"] == mute["id"]
    assert (await desk.send(f"/v1/mutes/{mute['id']}", b"", method="DELETE"))[0] == 204
    assert await desk.ids("state:muted") == []
    assert (await desk.send(f"/v1/mutes/{mute['id']}", b"", method="DELETE"))[0] == 404


@pytest.mark.parametrize(
    ("changed", "status", "field"),
    [
        ({"for_s": 0}, 422, "for_s"),
        ({"for_s": 30 * 86_400 + 1}, 422, "for_s"),
        ({"reason": ""}, 422, "reason"),
        ({"agent_id": ""}, 422, "agent_id"),
        ({"signal": "kill switch"}, 422, "signal"),
        ({"scope": "all"}, 422, None),
    ],
)
async def test_a_wrong_mute_is_refused(desk: Desk, changed: Any, status: int, field: str | None) -> None:
    found, answer = await desk.send("/v1/mutes", MUTE | changed)
    assert (found, answer["field"]) == (status, field)
    assert (await desk.get("/v1/mutes"))["mutes"] == []


async def test_muting_the_same_again_is_a_conflict(desk: Desk) -> None:
    await desk.send("/v1/mutes", MUTE)
    status, answer = await desk.send("/v1/mutes", MUTE)
    assert (status, answer["field"]) == (409, "agent_id")


# -- rubbish --------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KNOWN = st.sampled_from(
    ["al-1", "close", "comment", "benign", "billing-bot", "tool", "kill switch", "\x00", "\ud800"]
)
FIELDS = st.sampled_from(
    ["ids", "change", "assignee", "reason", "comment", "agent_id", "signal", "for_s", "by", "state"]
)
NEAR = st.dictionaries(
    FIELDS, KNOWN | JSON | st.lists(KNOWN, max_size=3) | st.integers(-1, 10**9), max_size=6
)
BODIES = st.binary(max_size=60) | st.one_of(JSON, NEAR).map(lambda value: json.dumps(value).encode())


async def assert_answered(desk: Desk, method: str, path: str, body: bytes) -> None:
    status, answer, _ = await desk.ask(method, path, body, token="look")
    assert status in (200, 201, 204, 404, 409, 422)
    if status >= 400:
        assert answer["error"]
        assert "field" in answer


async def test_whatever_is_sent_gets_an_answer_and_the_log_can_be_read_again(tmp_path: Path) -> None:
    """400 bodies and 200 queries, of rubbish and of what nearly makes sense."""
    async with Node(tmp_path, Config()) as node, open_gate(Config(), StateDir(tmp_path)) as gate:
        desk = Desk(node, tmp_path, gate)
        desk.services.config = Config()
        await desk.show(alert(1), alert(2, agent="x"))
        bodies = examples(st.tuples(st.sampled_from(["/v1/alerts/changes", "/v1/mutes"]), BODIES), 400)
        for path, body in bodies:
            await assert_answered(desk, "POST", path, body)
        for query in examples(st.text(max_size=30), 200):
            for name in ("filter", "before", "limit"):
                await assert_answered(desk, "GET", f"/v1/alerts?{name}={quote(query, errors='replace')}", b"")
            await assert_answered(desk, "GET", f"/v1/alerts/x{query}x", b"")
            await assert_answered(desk, "DELETE", f"/v1/mutes/x{query}x", b"")
        before = told(desk.services.desk.book, 0.0)
    async with Node(tmp_path, Config()) as again:
        assert told(again.desk.book, 0.0) == before


def examples(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    found: list[Any] = []

    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found
