from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from benchmarks.faults import Proxy, Server
from killswitch import Ack, Change, Gap, Guard, Switch, Target
from killswitch.storage.codec import encode_change
from killswitch.storage.following import PAGE
from killswitch.storage.store import Keys
from tests.killswitch.conftest import until

BOT = Target("agent", "bot")
WHY: dict[str, Any] = {"reason": "test", "by": "tester"}


class Reader:
    """Follows in a thread and keeps what it hears."""

    def __init__(self, url: str, prefix: str, after_epoch: int = 0) -> None:
        self.changes: list[Change] = []
        self.acks: list[Ack] = []
        self.gaps: list[Gap] = []
        self.connected = 0
        self.stop = threading.Event()
        self._switch = Switch(url, prefix=prefix)
        self._thread = threading.Thread(target=self._follow, args=(after_epoch,))
        self._thread.start()

    def _follow(self, after_epoch: int) -> None:
        self._switch.follow(
            after_epoch, self.changes.append, self.acks.append, self.stop, self._count, self.gaps.append
        )

    def _count(self) -> None:
        self.connected += 1

    def epochs(self) -> list[int]:
        return [change.epoch for change in self.changes]

    def close(self) -> None:
        self.stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def read(url: str, prefix: str) -> Iterator[Callable[..., Reader]]:
    readers: list[Reader] = []

    def start(at: str = url, after_epoch: int = 0) -> Reader:
        readers.append(Reader(at, prefix, after_epoch))
        until(lambda: readers[-1].connected > 0)
        return readers[-1]

    yield start
    for reader in readers:
        reader.close()


def test_changes_from_before_and_after_come_once_and_in_order(
    switch: Switch, read: Callable[..., Reader]
) -> None:
    for _ in range(2):
        switch.revoke(BOT, **WHY)
        switch.restore(BOT, **WHY)
    reader = read()
    assert reader.epochs() == [1, 2, 3, 4]
    switch.revoke(BOT, **WHY)
    until(lambda: reader.epochs() == [1, 2, 3, 4, 5])
    assert reader.changes == switch.changes(0)
    assert reader.gaps == []


def test_reading_starts_after_the_epoch_one_has(switch: Switch, read: Callable[..., Reader]) -> None:
    for name in "abc":
        switch.revoke(Target("agent", name), **WHY)
    assert read(after_epoch=2).epochs() == [3]


def test_acknowledgements_are_heard(switch: Switch, guard: Guard, read: Callable[..., Reader]) -> None:
    reader = read()
    switch.revoke(BOT, **WHY)
    until(lambda: any(ack.epoch == 1 for ack in reader.acks))
    assert reader.acks[-1].name == "the-guard"
    assert reader.acks[-1].how == "push"


def test_a_restart_of_the_server_loses_and_repeats_nothing(
    own: Server, prefix: str, read: Callable[..., Reader]
) -> None:
    reader = read(own.url)
    with Switch(own.url, prefix=prefix, timeout_s=5.0) as switch:
        switch.revoke(BOT, **WHY)
        own.kill()
        own.start()
        switch.restore(BOT, **WHY)
    until(lambda: reader.epochs() == [1, 2])
    assert reader.connected >= 2
    assert reader.gaps == []


def test_a_push_connection_that_went_silent_is_replaced(
    own: Server, prefix: str, read: Callable[..., Reader]
) -> None:
    proxy = Proxy(own.port)
    reader = read(proxy.url)
    proxy.silence(0)
    with Switch(own.url, prefix=prefix) as switch:
        switch.revoke(BOT, **WHY)
        until(lambda: reader.epochs() == [1])
        until(lambda: reader.connected >= 2)
        switch.restore(BOT, **WHY)
        until(lambda: reader.epochs() == [1, 2])
    proxy.close()


def test_a_log_that_was_trimmed_is_reported_as_a_gap(
    switch: Switch, url: str, prefix: str, read: Callable[..., Reader]
) -> None:
    for name in "abcd":
        switch.revoke(Target("agent", name), **WHY)
    with redis.Redis.from_url(url) as client:
        client.xtrim(f"{prefix}log", minid="3-0", approximate=False)
    reader = read()
    assert reader.epochs() == [3, 4]
    assert reader.gaps == [Gap(0, 3)]


def test_a_log_that_is_gone_is_reported_too(
    switch: Switch, url: str, prefix: str, read: Callable[..., Reader]
) -> None:
    switch.revoke(BOT, **WHY)
    with redis.Redis.from_url(url) as client:
        client.delete(f"{prefix}log")
    reader = read()
    assert (reader.epochs(), reader.gaps) == ([], [Gap(0, 2)])
    switch.restore(BOT, **WHY)
    until(lambda: reader.epochs() == [2])


def test_a_store_that_lost_everything_is_reported_and_followed_anew(
    own: Server, prefix: str, tmp_path: Path, read: Callable[..., Reader]
) -> None:
    reader = read(own.url)
    with Switch(own.url, prefix=prefix, timeout_s=5.0) as switch:
        switch.revoke(BOT, **WHY)
        until(lambda: reader.epochs() == [1])
        own.kill()
        own.directory = tmp_path / "another"
        own.start()
        until(lambda: len(reader.gaps) == 1)
        assert reader.gaps[0].next_epoch <= reader.gaps[0].after_epoch
        switch.revoke(Target("agent", "other"), **WHY)
    until(lambda: reader.epochs() == [1, 2])  # a writer that saw 1 gives it out to nobody again


def test_junk_is_passed_over(switch: Switch, url: str, prefix: str, read: Callable[..., Reader]) -> None:
    reader = read()
    with redis.Redis.from_url(url) as client:
        client.publish(f"{prefix}changes", b"\xff")
        client.publish(f"{prefix}acks", b"[]")
        client.xadd(f"{prefix}log", {"change": "junk"}, id="1-1")
    switch.revoke(BOT, **WHY)
    until(lambda: reader.epochs() != [])
    assert reader.changes[-1].target == BOT


def test_what_a_listener_raises_ends_the_following(switch: Switch) -> None:
    switch.revoke(BOT, **WHY)
    with pytest.raises(ZeroDivisionError):
        switch.follow(0, lambda change: 1 / 0, lambda ack: None, threading.Event())  # type: ignore[arg-type, return-value]


def test_a_store_that_is_not_there_is_waited_for_until_told_to_stop(prefix: str) -> None:
    reader = Reader("redis://127.0.0.1:1", prefix)
    reader.close()
    assert (reader.connected, reader.changes) == (0, [])


def test_a_state_that_was_put_back_as_a_whole_is_reported_at_once_as_a_gap(
    switch: Switch, read: Callable[..., Reader]
) -> None:
    reader = read()
    switch.revoke(BOT, **WHY)
    until(lambda: reader.epochs() == [1])
    assert switch.mend(lambda snapshot: snapshot.revocations.values()) == 2
    until(lambda: reader.gaps == [Gap(1, 3)])
    switch.restore(BOT, **WHY)
    until(lambda: reader.epochs() == [1, 3])


def test_more_changes_than_one_page_come_whole(
    switch: Switch, url: str, prefix: str, read: Callable[..., Reader]
) -> None:
    keys, count = Keys(prefix), PAGE + 7
    with redis.Redis.from_url(url) as client:
        pipeline = client.pipeline(transaction=False)
        for epoch in range(1, count + 1):
            change = Change(epoch, f"c{epoch}", "restore", BOT, None, None, "test", "tester", 1.0)
            pipeline.xadd(
                keys.log, {"id": change.change_id, "change": encode_change(change)}, id=f"{epoch}-0"
            )
        pipeline.set(keys.epoch, count)
        pipeline.execute()
    reader = read()
    until(lambda: reader.epochs() == list(range(1, count + 1)))
    assert reader.gaps == []


def test_nobody_needs_to_hear_of_gaps_and_connections(
    switch: Switch, url: str, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    switch.revoke(BOT, **WHY)
    with redis.Redis.from_url(url) as client:
        client.delete(Keys(prefix).log)
    switch.restore(BOT, **WHY)
    heard: list[int] = []
    stop = threading.Event()

    def take(change: Change) -> None:
        heard.append(change.epoch)
        stop.set()

    switch.follow(0, take, lambda ack: None, stop)
    assert heard == [2]
    assert "changes 1 to 1 are not in the log" in caplog.text


def test_a_kill_under_an_epoch_that_was_passed_already_is_not_dropped_silently(
    own: Server, prefix: str
) -> None:
    """A store was emptied, and somebody who does not know better begins counting anew."""
    late: list[Change] = []
    stop, connected = threading.Event(), threading.Event()
    with Switch(own.url, prefix=prefix) as switch, Switch(own.url, prefix=prefix) as other:
        switch.revoke(BOT, **WHY)
        arguments = (1, lambda change: None, lambda ack: None, stop, connected.set, None, late.append)
        thread = threading.Thread(target=switch.follow, args=arguments)
        thread.start()
        assert connected.wait(5)
        with redis.Redis.from_url(own.url) as client:
            client.flushall()
        other.revoke(Target("agent", "other"), **WHY)
        until(lambda: [change.target.value for change in late] == ["other"])
        stop.set()
        thread.join(5)
