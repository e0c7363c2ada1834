"""The live feed: on disk before anyone sees it, resumed without a gap or a repeat, and never slowed by a reader."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import LogError
from monitor.live import feed as module
from monitor.live.feed import Feed, now_text
from monitor.live.reader import Message, Missed, Reader
from monitor.live.stored import wire_text
from monitor.log.segments import SegmentedLog
from monitor.metrics import FEED_MISSED, FEED_SENT, READERS, Metric
from tests.monitor.engines import until


def alert(number: int) -> dict[str, Any]:
    return {"type": "alert", "ts": now_text(), "alert": {"id": f"al-{number}"}}


@pytest.fixture
def log(tmp_path: Path) -> Any:
    log = SegmentedLog(tmp_path / "feed", segment_bytes=300)
    yield log
    log.close()


async def publish(feed: Feed, first: int, last: int) -> None:
    """One by one, so that segments are filled and followed by others."""
    for number in range(first, last + 1):
        await feed.publish([alert(number)])


async def take(items: AsyncIterator[Message | Missed], count: int) -> list[int | Missed]:
    """The next items: sequence numbers of messages, and what was missed."""
    found: list[int | Missed] = []
    while len(found) < count:
        item = await asyncio.wait_for(anext(items), 30)
        if isinstance(item, Message):
            content = json.loads(item.text)
            assert (content["seq"], content["alert"]["id"]) == (item.seq, f"al-{item.seq}")
        found.append(item.seq if isinstance(item, Message) else item)
    return found


async def first_of(feed: Feed, *readers: AsyncIterator[Message | Missed]) -> None:
    """Publish message 1 to readers that are live by then."""
    first = [asyncio.ensure_future(take(items, 1)) for items in readers]
    await until(lambda: feed.readers == len(readers))
    await publish(feed, 1, 1)
    assert await asyncio.gather(*first) == [[1]] * len(readers)


async def test_a_message_is_numbered_and_otherwise_as_published(log: SegmentedLog) -> None:
    async with Feed(log, recent=10, client_buffer=10) as feed:
        items = feed.follow(feed.reader(), 0)
        published = {"type": "status", "ts": "2026-11-23T21:00:00.000Z", "status": {"text": "naïve “quotes”"}}
        await feed.publish([published])
        item = await anext(items)
        assert isinstance(item, Message)
        assert json.loads(item.text) == {"seq": 1, **published}
        await items.aclose()  # type: ignore[attr-defined]


async def test_nothing_is_seen_before_it_is_on_disk(
    log: SegmentedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Feed(log, recent=10, client_buffer=10) as feed:
        reader = feed.reader()
        items = feed.follow(reader, None)
        first = asyncio.ensure_future(anext(items))
        await until(lambda: feed.readers == 1)

        def fail() -> None:
            raise LogError("the disk is gone")

        monkeypatch.setattr(log, "sync", fail)
        with pytest.raises(LogError):
            await feed.publish([alert(1), alert(2)])
        assert (feed.last_seq, feed.newest("alert", 10)) == (0, [])
        assert not first.done()
        first.cancel()


@pytest.mark.parametrize("recent", [100, 5, 1], ids=["from memory", "from disk", "nearly all from disk"])
@pytest.mark.parametrize("since", [0, 1, 7, 19, 20])
async def test_resuming_leaves_no_gap_and_repeats_nothing(log: SegmentedLog, recent: int, since: int) -> None:
    async with Feed(log, recent=recent, client_buffer=100) as feed:
        await publish(feed, 1, 20)
        items = feed.follow(feed.reader(), since)
        first = asyncio.ensure_future(take(items, 25 - since))
        await until(lambda: feed.readers == 1)
        await publish(feed, 21, 25)
        assert await first == list(range(since + 1, 26))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(data=st.data())
def test_whenever_one_resumes_every_message_comes_once(tmp_path: Path, data: st.DataObject) -> None:
    """Readers join at any moment, from any place, while messages are being published."""
    recent, total = data.draw(st.integers(1, 12)), 30
    joins = data.draw(
        st.lists(st.tuples(st.integers(0, total), st.integers(0, total)), min_size=1, max_size=4)
    )

    async def story(log: SegmentedLog) -> None:
        async with Feed(log, recent=recent, client_buffer=100) as feed:
            reading = []
            for number in range(total + 1):
                for start in [min(since, number) for at, since in joins if at == number]:
                    items = feed.follow(feed.reader(), start)
                    reading.append((start, asyncio.ensure_future(take(items, total - start))))
                if number < total:
                    await feed.publish([alert(number + 1)])
            for start, received in reading:
                assert await received == list(range(start + 1, total + 1))

    number = len(list(tmp_path.iterdir()))
    log = SegmentedLog(tmp_path / str(number), segment_bytes=300)
    try:
        asyncio.run(story(log))
    finally:
        log.close()


async def test_numbers_and_recent_messages_survive_a_restart(log: SegmentedLog) -> None:
    async with Feed(log, recent=3, client_buffer=10) as feed:
        await publish(feed, 1, 5)
    async with Feed(log, recent=3, client_buffer=10) as feed:
        assert feed.last_seq == 5
        assert [message["alert"]["id"] for message in feed.newest("alert", 10)] == ["al-5", "al-4", "al-3"]
        await publish(feed, 6, 6)
        assert await take(feed.follow(feed.reader(), 4), 2) == [5, 6]


async def test_the_newest_of_a_kind_come_first(log: SegmentedLog) -> None:
    async with Feed(log, recent=10, client_buffer=10) as feed:
        await publish(feed, 1, 2)
        await feed.publish([{"type": "transition", "ts": now_text(), "transition": {}}, alert(4)])
        assert [message["alert"]["id"] for message in feed.newest("alert", 2)] == ["al-4", "al-2"]
        assert len(feed.newest("transition", 5)) == 1


async def test_a_slow_reader_is_told_exactly_what_it_missed_and_can_fetch_it(log: SegmentedLog) -> None:
    async with Feed(log, recent=2, client_buffer=3) as feed:
        items = feed.follow(feed.reader(), 0)
        await first_of(feed, items)
        await publish(feed, 2, 9)  # and nobody reads
        assert await take(items, 4) == [2, 3, 4, Missed(5, 9)]
        await publish(feed, 10, 10)
        assert await take(items, 1) == [10]
        assert await take(feed.follow(feed.reader(), 4), 6) == [5, 6, 7, 8, 9, 10]


async def test_a_slow_reader_slows_nobody(log: SegmentedLog) -> None:
    async with Feed(log, recent=100, client_buffer=100) as feed:
        slow, quick = feed.follow(Reader(1), 0), feed.follow(feed.reader(), 0)
        await first_of(feed, slow, quick)
        await publish(feed, 2, 20)
        assert await take(quick, 19) == list(range(2, 21))
        assert await take(slow, 2) == [2, Missed(3, 20)]
        # Messages 1 to 20 went to the quick one, 1 and 2 to the slow one.
        assert counted(feed) == {READERS: 2, FEED_SENT: 20 + 2, FEED_MISSED: 18}
        await slow.aclose()  # type: ignore[attr-defined]
        assert counted(feed) == {READERS: 1, FEED_SENT: 20 + 2, FEED_MISSED: 18}


def counted(feed: Feed) -> dict[Metric, float]:
    """What the feed counts of those who read it in any way."""
    return {metric: sum(values.values()) for metric, values in feed.traffic.metrics().items()}


async def test_a_reader_that_leaves_is_forgotten(log: SegmentedLog) -> None:
    async with Feed(log, recent=10, client_buffer=10) as feed:
        reading = asyncio.ensure_future(anext(feed.follow(feed.reader(), None)))
        await until(lambda: feed.readers == 1)
        reading.cancel()
        await until(lambda: feed.readers == 0)


async def test_closing_ends_every_reader_after_the_last_message(log: SegmentedLog) -> None:
    async def read_all(feed: Feed) -> list[int]:
        return [item.seq async for item in feed.follow(feed.reader(), 0) if isinstance(item, Message)]

    async with Feed(log, recent=10, client_buffer=10) as feed:
        reading = asyncio.ensure_future(read_all(feed))
        await until(lambda: feed.readers == 1)
        await publish(feed, 1, 3)
    assert await asyncio.wait_for(reading, 30) == [1, 2, 3]


async def test_what_retention_deleted_counts_as_missed(
    log: SegmentedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Feed(log, recent=1, client_buffer=10, retention_days=90.0) as feed:
        await publish(feed, 1, 20)
        first_kept = int(log.segments()[4].stem)
        for path in log.segments()[:4]:
            os.utime(path, (0, 0))
        monkeypatch.setattr(module, "DROP_INTERVAL_S", 0.0)
        feed._drop_due_s = 0.0
        await publish(feed, 21, 21)
        assert log.first_seq == first_kept > 1
        found = await take(feed.follow(feed.reader(), 0), 23 - first_kept)
        assert found == [Missed(1, first_kept - 1), *range(first_kept, 22)]


def test_the_wire_text_is_the_stored_message_with_its_number() -> None:
    assert wire_text(7, b'{"type":"x"}') == b'{"seq":7,"type":"x"}'


@given(st.lists(st.sampled_from(["put", "take"]), max_size=60), st.integers(1, 4))
def test_a_reader_gets_every_number_as_a_message_or_as_missed(steps: list[str], capacity: int) -> None:
    reader, seq = Reader(capacity), 0
    told: list[int] = []

    def note(item: Message | Missed) -> None:
        told.extend([item.seq] if isinstance(item, Message) else range(item.from_seq, item.to_seq + 1))

    for step in steps:
        if step == "put":
            seq += 1
            reader.put(Message(seq, b""))
        else:
            for item in reader.take():
                note(item)
    for item in reader.take():
        note(item)
    assert told == list(range(1, seq + 1))
    assert reader.sent + reader.missed == seq
