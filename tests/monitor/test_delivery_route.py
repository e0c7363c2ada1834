"""A route delivers everything that its filter wants, in order, at least once, whatever the receiver does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.delivery.deliveries import open_routes
from monitor.delivery.routes import Delivery, RouteConfig
from monitor.delivery.sinks import open_sinks
from monitor.live.feed import Feed
from monitor.log.segments import SegmentedLog
from tests.monitor.delivery_feed import KEY, PACE, alert, change, delivering, private, transition
from tests.monitor.engines import until
from tests.monitor.receivers import HANGS_UP, IS_SILENT, OK, Answer, HttpReceiver, http_receiver


def webhook(tmp_path: Path, receiver: HttpReceiver, **keys: Any) -> RouteConfig:
    secret = keys.pop("secret_file", None) or private(tmp_path, KEY)
    return RouteConfig(
        **{"name": "hook", "kind": "webhook", "url": receiver.url, "secret_file": secret, **keys}
    )


def seqs(receiver: HttpReceiver) -> list[int]:
    return [got.json["seq"] for got in receiver.taken]


async def test_alerts_and_their_changes_are_delivered_and_nothing_else(tmp_path: Path) -> None:
    async with (
        http_receiver() as receiver,
        delivering(tmp_path, webhook(tmp_path, receiver)) as (feed, deliveries),
    ):
        await until(lambda: deliveries.status()[0]["state"] == "waiting")
        await feed.publish([alert(1), transition(), change("close", "closed", reason="benign"), transition()])
        await until(lambda: deliveries.status()[0]["cursor"] == 4)
    assert [got.json["type"] for got in receiver.taken] == ["alert", "alert_change"]
    assert receiver.taken[0].json == {"seq": 1, **alert(1)}


TROUBLES = [
    HANGS_UP,
    IS_SILENT,
    Answer(500),
    Answer(429, {"retry-after": "0"}),
    Answer(401),
    Answer(404),
    Answer(302),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda answer: str(answer.status))
async def test_trouble_delays_and_loses_nothing(tmp_path: Path, trouble: Answer) -> None:
    async with http_receiver() as receiver:
        receiver.decide = lambda got: trouble if len(receiver.asked) in (1, 2, 4) else OK
        route = webhook(tmp_path, receiver, timeout_s=0.2)
        async with delivering(tmp_path, route) as (feed, deliveries):
            await feed.publish([alert(number) for number in range(1, 6)])
            await until(lambda: deliveries.status()[0]["cursor"] == 5)
            status = deliveries.status()[0]
    assert seqs(receiver) == [1, 2, 3, 4, 5]
    assert (status["sent"], status["failed"], status["set_aside"], status["last_error"]) == (5, 3, 0, None)


@pytest.mark.parametrize("status", [400, 413, 422, 499])
async def test_what_is_refused_for_good_is_set_aside_with_the_answer_and_the_rest_goes_on(
    tmp_path: Path, status: int
) -> None:
    async with http_receiver() as receiver:
        receiver.decide = lambda got: (
            Answer(status, body=b"no such thing" * 1000) if got.json["seq"] == 2 else OK
        )
        async with delivering(tmp_path, webhook(tmp_path, receiver)) as (feed, deliveries):
            await feed.publish([alert(number) for number in range(1, 4)])
            await until(lambda: deliveries.status()[0]["cursor"] == 3)
            assert deliveries.status()[0]["set_aside"] == 1
    assert seqs(receiver) == [1, 3]
    letters = (tmp_path / "delivery/hook/dead-letters.ndjson").read_text().splitlines()
    letter = json.loads(letters[0])
    assert (len(letters), letter["seq"], letter["message"]["alert"]["id"]) == (1, 2, "al-2")
    assert letter["answer"].startswith("no such thing")
    assert len(letter["answer"]) == 2048
    assert (tmp_path / "delivery/hook/dead-letters.ndjson").stat().st_mode & 0o077 == 0


async def test_a_restart_goes_on_where_the_route_was(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        route = webhook(tmp_path, receiver)
        async with delivering(tmp_path, route) as (feed, _):
            await feed.publish([alert(1), alert(2)])
            await until(lambda: len(receiver.taken) == 2)
        receiver.decide = lambda got: Answer(503)
        async with delivering(tmp_path, route) as (feed, _):
            await feed.publish([alert(3), alert(4)])
            await until(lambda: len(receiver.asked) > 3)
        receiver.decide = lambda got: OK
        async with delivering(tmp_path, route) as (_, deliveries):
            await until(lambda: deliveries.status()[0]["cursor"] == 4)
    ids = [got.headers["webhook-id"] for got in receiver.taken]
    assert [seq for seq, _ in dict.fromkeys(zip(seqs(receiver), ids, strict=True))] == [1, 2, 3, 4]


@pytest.mark.parametrize(("since", "delivered"), [("now", [3]), ("oldest", [1, 2, 3])])
async def test_a_new_route_begins_where_it_is_told_to(
    tmp_path: Path, since: str, delivered: list[int]
) -> None:
    async with delivering(tmp_path) as (feed, _):
        await feed.publish([alert(1), alert(2)])
    async with http_receiver() as receiver:
        route = webhook(tmp_path, receiver, since=since)
        async with delivering(tmp_path, route) as (feed, deliveries):
            await feed.publish([alert(3)])
            await until(lambda: deliveries.status()[0]["cursor"] == 3)
    assert seqs(receiver) == delivered


async def test_one_route_that_hangs_delays_neither_another_nor_the_feed(tmp_path: Path) -> None:
    async with http_receiver() as stuck, http_receiver() as other:
        stuck.decide = lambda got: IS_SILENT
        routes = [
            webhook(tmp_path, stuck, name="stuck", timeout_s=60.0),
            webhook(tmp_path, other, name="other"),
        ]
        async with delivering(tmp_path, *routes) as (feed, deliveries):
            for number in range(50):
                await asyncio.wait_for(feed.publish([alert(number)]), 20)
            await until(lambda: deliveries.status()[1]["behind"] == 0)
            assert (deliveries.status()[0]["behind"], len(other.taken)) == (50, 50)
            assert len(stuck.asked) == 1


async def test_a_route_that_retention_overtook_says_how_much_it_missed(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        receiver.decide = lambda got: Answer(503)
        route = webhook(tmp_path, receiver)
        async with delivering(tmp_path, route, segment_bytes=300) as (feed, _):
            for number in range(1, 9):
                await feed.publish([alert(number)])
        for segment in sorted((tmp_path / "feed").glob("*.seg"))[:5]:
            segment.unlink()
        receiver.decide = lambda got: OK
        async with delivering(tmp_path, route, segment_bytes=300) as (_, deliveries):
            await until(lambda: deliveries.status()[0]["cursor"] == 8)
            status = deliveries.status()[0]
    assert status["missed"] + status["sent"] == 8
    assert status["missed"] >= 5
    assert seqs(receiver) == list(range(status["missed"] + 1, 9))


async def test_muted_alerts_go_only_where_they_are_asked_for(tmp_path: Path) -> None:
    async with http_receiver() as quiet, http_receiver() as asks:
        routes = [
            webhook(tmp_path, quiet, name="quiet", filter="agent:billing-*"),
            webhook(tmp_path, asks, name="asks", filter="state:open,muted"),
        ]
        async with delivering(tmp_path, *routes) as (feed, deliveries):
            await feed.publish([alert(1, group={"muted_by": "mu-1"}), alert(2)])
            await until(lambda: [status["cursor"] for status in deliveries.status()] == [2, 2])
    assert (seqs(quiet), seqs(asks)) == ([2], [1, 2])


async def test_an_unreadable_place_breaks_its_route_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "delivery/hook").mkdir(parents=True)
    (tmp_path / "delivery/hook/place.json").write_text("{")
    async with http_receiver() as receiver:
        routes = [webhook(tmp_path, receiver), webhook(tmp_path, receiver, name="other")]
        async with delivering(tmp_path, *routes) as (feed, deliveries):
            await feed.publish([alert(1)])
            await until(lambda: deliveries.status()[1]["cursor"] == 1)
            broken = deliveries.status()[0]
    assert broken["state"] == "broken"
    assert "place.json" in broken["last_error"]


async def test_a_log_that_began_anew_is_delivered_from_its_start(tmp_path: Path) -> None:
    (tmp_path / "delivery/hook").mkdir(parents=True)
    (tmp_path / "delivery/hook/place.json").write_text('{"seq": 7000}')
    async with delivering(tmp_path) as (feed, _):
        await feed.publish([alert(1), alert(2)])
    async with http_receiver() as receiver, delivering(tmp_path, webhook(tmp_path, receiver)):
        await until(lambda: seqs(receiver) == [1, 2])


async def test_a_test_goes_the_way_that_all_go(tmp_path: Path) -> None:
    async with (
        http_receiver() as receiver,
        delivering(tmp_path, webhook(tmp_path, receiver)) as (_, deliveries),
    ):
        await deliveries.test("hook")
    assert [got.json["test"] for got in receiver.taken] == [True, True]
    assert "TEST" in receiver.taken[0].json["alert"]["title"]
    assert receiver.taken[1].json["alert_change"]["state"] == "closed"


ANSWERS = st.sampled_from([OK, OK, HANGS_UP, Answer(500), Answer(429, {"retry-after": "0"}), Answer(403)])


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.lists(ANSWERS, max_size=6)), min_size=1, max_size=4),
    st.integers(0, 3),
)
async def test_whatever_is_answered_and_whichever_place_a_crash_left_every_message_comes_in_order(
    tmp_path_factory: pytest.TempPathFactory, lives: list[tuple[int, list[Answer]]], stale: int
) -> None:
    """A `kill -9` leaves the place file of an earlier moment: any that was ever on disk will do."""
    state = tmp_path_factory.mktemp("lives")
    place, places, published = state / "delivery/hook/place.json", [], 0
    async with http_receiver() as receiver:
        answers: list[Answer] = []
        receiver.decide = lambda got: answers.pop() if answers else OK
        route = webhook(state, receiver)
        for count, troubles in lives:
            answers[:] = troubles
            async with delivering(state, route) as (feed, deliveries):
                places.append(place.read_text())
                await feed.publish([alert(published + number) for number in range(count)])
                published += count
                await until(lambda: len(answers) == 0 or deliveries.status()[0]["behind"] == 0)
            place.write_text(places[-1 - stale % len(places)])
        async with delivering(state, route) as (_, deliveries):
            await until(lambda: deliveries.status()[0]["behind"] == 0)
    once = {got.headers["webhook-id"]: got.json["seq"] for got in reversed(receiver.taken)}
    assert sorted(once.values()) == list(range(1, published + 1))
    assert list(dict.fromkeys(seqs(receiver))) == list(range(1, published + 1))


async def test_a_message_that_cannot_be_formed_is_set_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with (
        http_receiver() as receiver,
        delivering(tmp_path, webhook(tmp_path, receiver)) as (feed, deliveries),
    ):
        await feed.publish([{"type": "alert", "ts": "now", "alert": None}, alert(2)])
        await until(lambda: deliveries.status()[0]["behind"] == 0)
        assert (deliveries.status()[0]["sent"], deliveries.status()[0]["set_aside"]) == (1, 1)
    assert seqs(receiver) == [2]


async def test_a_route_ends_with_its_feed(tmp_path: Path) -> None:
    async with http_receiver() as receiver:
        config = Delivery(routes=(webhook(tmp_path, receiver),))
        log = SegmentedLog(tmp_path / "feed")
        async with Feed(log, recent=10, client_buffer=10) as feed:
            (route,) = open_routes(
                config, open_sinks(config), feed, log.directory, tmp_path / "delivery", PACE
            )
            running = asyncio.create_task(route.run())
            await until(lambda: route.state == "waiting")
        await asyncio.wait_for(running, 20)
        log.close()


async def test_a_damaged_log_is_told_of_and_tried_again(tmp_path: Path) -> None:
    async with delivering(tmp_path, segment_bytes=300) as (feed, _):
        for number in range(1, 21):  # more than the feed itself reads at its start
            await feed.publish([alert(number)])
    first = min((tmp_path / "feed").glob("*.seg"))
    whole = first.read_bytes()
    first.write_bytes(whole[:60] + b"?" + whole[61:])
    async with http_receiver() as receiver:
        route = webhook(tmp_path, receiver, since="oldest")
        async with delivering(tmp_path, route, segment_bytes=300) as (_, deliveries):
            await until(lambda: "damaged at byte" in str(deliveries.status()[0]["last_error"]))
            first.write_bytes(whole)
            await until(lambda: deliveries.status()[0]["behind"] == 0)
    assert seqs(receiver) == list(range(1, 21))
