"""The book: whatever passes the desk, it is what the feed's log says, and its memory is bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from monitor.alerts.book import Book
from monitor.alerts.desk import Desk
from monitor.alerts.group import Group
from monitor.alerts.keeper import Keeper
from monitor.alerts.life import CLOSE_REASONS, KINDS, Change
from monitor.alerts.logged import decode_logged
from monitor.config import Alerts
from monitor.core.alerts import Alert
from monitor.errors import ChangeRefused, LogError
from monitor.live.messages import alert_message
from tests.monitor.alerts import alert, told

START_S = 1_795_000_000.0
HOUR_S = 3600.0
SMALL = Alerts(group_window_s=HOUR_S, max_open_groups=5, max_closed_groups=3, closed_days=2.0, max_mutes=3)
KEPT = 12


def stamp(now_s: float) -> str:
    return datetime.fromtimestamp(now_s, UTC).isoformat().replace("+00:00", "Z")


class Log:
    """A feed whose log is a list, and that fails when told to."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.payloads: list[bytes] = []
        self.is_full = False
        self.now_s = START_S

    async def publish(self, messages: Iterable[dict[str, Any]]) -> None:
        await asyncio.sleep(0)
        if self.is_full:
            raise LogError("the disk is full")
        for message in messages:
            self.payloads.append(msgspec.json.encode({**message, "ts": stamp(self.now_s)}))
            self.keeper.note(len(self.payloads), self.payloads[-1])


def small_desk(config: Alerts = SMALL, kept: int = KEPT) -> tuple[Desk, Log]:
    log = Log(Keeper(Book(config, kept_alerts=kept)))
    return Desk(log, log.keeper.book, lambda: log.now_s), log


def reread(payloads: list[bytes], config: Alerts = SMALL, kept: int = KEPT) -> Book:
    book = Book(config, kept_alerts=kept)
    for seq, payload in enumerate(payloads, 1):
        book.apply(seq, decode_logged(payload))
    return book


class Story(RuleBasedStateMachine):
    """Alerts, people and mutes in any order, with a disk that is full now and then, and time that goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.desk, self.log = small_desk()
        self.numbers = 0
        self.shown: list[Alert] = []

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    @rule(seconds=st.sampled_from([1.0, HOUR_S / 2, HOUR_S, 50 * HOUR_S]))
    def time_passes(self, seconds: float) -> None:
        self.log.now_s += seconds

    @rule(is_full=st.sampled_from([False, False, False, True]))
    def the_disk(self, is_full: bool) -> None:
        self.log.is_full = is_full

    @rule(
        batch=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["tool", "time"])), max_size=4),
        again=st.booleans(),
    )
    def alerts_come(self, batch: list[tuple[str, str]], again: bool) -> None:
        fresh = [alert(self.numbers + n, agent, signal) for n, (agent, signal) in enumerate(batch)]
        self.numbers += len(fresh)
        self.shown += fresh
        if again:
            fresh += [each for each in self.shown if self.desk.book.has_alert(each.id)][-2:] + fresh[:1]
        try:
            self.run(self.desk.publish([alert_message(each) for each in fresh]))
        except LogError:
            assert self.log.is_full

    @rule(
        kind=st.sampled_from(KINDS),
        reason=st.none() | st.sampled_from(CLOSE_REASONS),
        numbers=st.lists(st.integers(0, 30), max_size=4),
    )
    def people_change(self, kind: Any, reason: Any, numbers: list[int]) -> None:
        change = Change(
            kind=kind,
            by="alice",
            at_s=self.log.now_s,
            reason=reason,
            comment="seen" if kind == "comment" else None,
        )
        before = told(self.desk.book, self.log.now_s)
        try:
            changed = self.run(self.desk.change([f"al-{number}" for number in numbers], change))
        except (LogError, ChangeRefused):
            assert told(self.desk.book, self.log.now_s) == before
            return
        for group in changed.groups:
            assert group.history[-1].change == kind
        assert len({group.id for group in changed.groups}) == len(changed.groups)

    @rule(agent=st.sampled_from("abc"), hours=st.sampled_from([1, 24, 720, 721]))
    def people_mute(self, agent: str, hours: int) -> None:
        try:
            mute = self.run(self.desk.mute(agent, "tool", "known", "bob", hours * HOUR_S))
        except (LogError, ChangeRefused):
            return
        assert mute.until == self.log.now_s + hours * HOUR_S
        assert self.desk.book.mutes.muting(agent, "anomalous", "tool", mute.until) is None

    @rule()
    def people_unmute(self) -> None:
        for mute in self.desk.book.mutes.in_force(self.log.now_s)[:1]:
            try:
                self.run(self.desk.lift(mute.id, "carol"))
            except LogError:
                continue
            assert self.desk.book.mutes.get(mute.id, self.log.now_s) is None

    @invariant()
    def the_log_gives_the_book(self) -> None:
        book = reread(self.log.payloads)
        assert told(book, self.log.now_s) == told(self.desk.book, self.log.now_s)

    @invariant()
    def nothing_is_told_twice(self) -> None:
        ids = [message["alert"]["id"] for message in self.messages("alert")]
        assert len(set(ids)) == len(ids)

    @invariant()
    def memory_is_bounded(self) -> None:
        book = self.desk.book
        assert book.open_groups <= SMALL.max_open_groups
        assert len(book.closed()) <= SMALL.max_closed_groups
        assert len(book) == book.open_groups + len(book.closed())
        assert len(book._alerts) <= KEPT
        assert sorted(book._alerts) == sorted(
            name for group in book._groups.values() for name in book.alert_ids(group)
        )
        assert set(book._newest.values()) <= set(book._groups.values())

    @invariant()
    def groups_hold_what_belongs_together(self) -> None:
        for message in self.messages("alert"):
            group = self.desk.book.group(message["group"]["id"])
            if group and message["alert"]["id"] in self.desk.book.alert_ids(group):
                assert group.agent_id == message["alert"]["agent_id"]
                assert group.signal == message["alert"]["reasons"][0]["signal"]

    def messages(self, kind: str) -> list[Any]:
        decoded = [msgspec.json.decode(payload) for payload in self.log.payloads]
        return [message for message in decoded if message["type"] == kind]


Story.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestStory = Story.TestCase


# -- grouping -------------------------------------------------------------------------------------------------------


async def show(desk: Desk, *alerts: Alert) -> None:
    await desk.publish([alert_message(each) for each in alerts])


def ids(groups: Iterable[Group]) -> list[tuple[str, int]]:
    return [(group.id, group.count) for group in groups]


async def test_a_repeat_joins_while_the_last_one_is_young(tmp_path: Any) -> None:
    desk, log = small_desk()
    for number, later_s in enumerate([0.0, HOUR_S - 1, HOUR_S - 1, HOUR_S, 1.0]):
        log.now_s += later_s
        await show(desk, alert(number))
    assert ids(desk.book.newest_first()) == [("al-3", 2), ("al-0", 3)]


async def test_a_closed_group_takes_no_more_even_if_it_is_reopened_later() -> None:
    desk, _ = small_desk()
    close = Change(kind="close", by="alice", at_s=START_S, reason="benign")
    await show(desk, alert(1))
    await desk.change(["al-1"], close)
    await show(desk, alert(2))
    await desk.change(["al-1"], Change(kind="reopen", by="bob", at_s=START_S))
    await show(desk, alert(3))
    assert ids(desk.book.newest_first()) == [("al-2", 2), ("al-1", 1)]


async def test_a_reopened_group_takes_repeats_again_if_there_is_no_newer_one() -> None:
    desk, _ = small_desk()
    await show(desk, alert(1))
    await desk.change(["al-1"], Change(kind="close", by="alice", at_s=START_S, reason="benign"))
    await desk.change(["al-1"], Change(kind="reopen", by="bob", at_s=START_S))
    await show(desk, alert(2))
    assert ids(desk.book.newest_first()) == [("al-1", 2)]


async def test_alerts_of_a_daemon_that_did_not_group_are_grouped_when_read() -> None:
    payloads = [
        msgspec.json.encode({"type": "alert", "ts": stamp(START_S + at_s), "alert": alert(number)})
        for number, at_s in enumerate([0.0, 10.0, 2 * HOUR_S])
    ]
    assert ids(reread(payloads).newest_first()) == [("al-2", 1), ("al-0", 2)]


async def test_another_window_does_not_regroup_the_past() -> None:
    desk, log = small_desk()
    for number in range(3):
        log.now_s += 600
        await show(desk, alert(number))
    narrow = Alerts(group_window_s=1.0)
    assert ids(reread(log.payloads, narrow).newest_first()) == [("al-0", 3)]


async def test_what_retention_left_of_a_group_is_taken_up() -> None:
    """Its first alerts and an acknowledgement are gone from the log; the state and the count are not."""
    desk, log = small_desk()
    await show(desk, alert(1), alert(2))
    await desk.change(["al-1"], Change(kind="acknowledge", by="alice", at_s=START_S))
    await show(desk, alert(3))
    await desk.change(["al-1"], Change(kind="comment", by="bob", at_s=START_S, comment="mine"))
    (group,) = reread(log.payloads[3:]).newest_first()
    assert (group.id, group.count, group.life.state, group.life.comments) == ("al-1", 3, "acknowledged", 1)
    assert list(reread(log.payloads[4:]).newest_first()) == [], "nothing can be said of an alert that is gone"


# -- two at once ----------------------------------------------------------------------------------------------------


async def test_of_two_who_close_at_once_one_is_told_who_was_first() -> None:
    desk, _ = small_desk()
    await show(desk, alert(1))
    closes = [
        Change(kind="close", by=by, at_s=START_S, reason=reason)
        for by, reason in (("alice", "benign"), ("bob", "confirmed"))
    ]
    first, second = await asyncio.gather(*(desk.change(["al-1"], close) for close in closes))
    assert ([group.id for group in first.groups], second.groups) == (["al-1"], [])
    assert "alice" in second.refused[0][1]
    assert [done.by for done in desk.book.group("al-1").history] == ["alice"]


async def test_of_two_who_assign_the_last_wins_and_both_are_in_the_history() -> None:
    desk, _ = small_desk()
    await show(desk, alert(1))
    assigns = [Change(kind="assign", by="x", at_s=START_S, assignee=who) for who in ("alice", "bob")]
    await asyncio.gather(*(desk.change(["al-1"], assign) for assign in assigns))
    group = desk.book.group("al-1")
    assert group.life.assignee == "bob"
    assert [done.assignee for done in group.history] == ["alice", "bob"]


async def test_a_caller_who_goes_away_takes_nothing_back() -> None:
    desk, _ = small_desk()
    await show(desk, alert(1))
    change = Change(kind="acknowledge", by="alice", at_s=START_S)
    asking = asyncio.ensure_future(desk.change(["al-1"], change))
    await asyncio.sleep(0)
    asking.cancel()
    await show(desk, alert(2))
    assert desk.book.group("al-1").life.state == "acknowledged"
    assert ids(desk.book.newest_first()) == [("al-1", 2)]


# -- bounds ---------------------------------------------------------------------------------------------------------


async def test_an_open_group_is_never_dropped_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    desk, log = small_desk()
    await show(desk, *(alert(number, agent=f"agent-{number}") for number in range(6)))
    assert desk.book.dropped_open == 1
    assert desk.book.group("al-0") is None
    assert "alert al-0 of agent-0 is dropped though nobody closed it" in caplog.text
    log.now_s += 49 * HOUR_S
    await show(desk, alert(9))
    assert [group.id for group in desk.book.newest_first()] == ["al-9"]
    assert desk.book.dropped_open == 6


def test_a_message_that_cannot_be_read_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    keeper = Keeper(Book(SMALL))
    for seq, payload in enumerate(
        [
            b"nonsense",
            b"[]",
            b'{"type": "alert", "ts": "never", "alert": {"id": "x", "agent_id": "y"}}',
            b"\xff",
        ]
    ):
        assert keeper.note(seq, payload) is None
    assert len(keeper.book) == 0
    assert caplog.text.count("cannot be taken up") == 4
    good = msgspec.json.encode({"type": "alert", "ts": stamp(START_S), "alert": alert(1)})
    assert keeper.note(9, good) is not None
    assert len(keeper.book) == 1


def test_a_mute_ends_by_the_time_that_is_passed_in() -> None:
    desk, _ = small_desk()
    mute = asyncio.run(desk.mute("a", "tool", "known", "bob", 60.0))
    mutes = desk.book.mutes
    assert mutes.muting("a", "anomalous", "tool", START_S + 59.9) == mute.id
    assert mutes.muting("a", "anomalous", "tool", START_S + 60.0) is None
    assert mutes.in_force(START_S + 60.0) == []
    for other in (("b", "anomalous", "tool"), ("a", "anomalous", "time")):
        assert mutes.muting(*other, START_S) is None


@pytest.mark.parametrize(
    "verdict",
    ["kill_refused", "store_damaged", "store_forged", "drill_failed", "break_glass", "record_damaged"],
)
async def test_alerts_about_the_kill_switch_cannot_be_muted(verdict: str) -> None:
    desk, _ = small_desk()
    with pytest.raises(ChangeRefused, match="signal: "):
        await desk.mute("a", "kill switch", "noise", "bob", 60.0)
    await desk.mute("a", "tool", "noise", "bob", 60.0)
    await show(desk, alert(1, "a"), alert(2, "a", verdict=verdict, severity="critical"))
    told_ids = {
        group.id: desk.book.muted_by(group, START_S) is not None for group in desk.book.newest_first()
    }
    assert told_ids == {"al-1": True, "al-2": False}


def test_a_hundred_thousand_groups_are_looked_up_and_paged_without_walking_them_all() -> None:
    book = Book(Alerts())
    for number in range(100_000):
        payload = msgspec.json.encode(
            {"type": "alert", "ts": stamp(START_S), "alert": alert(number, agent=f"agent-{number}")}
        )
        book.apply(number + 1, decode_logged(payload))
    assert len(book) == 100_000
    since_s = time.perf_counter()
    page = [group.id for _, group in zip(range(200), book.newest_first(50_000), strict=False)]
    print(f"a page of 100,000 groups: {(time.perf_counter() - since_s) * 1e3:.1f} ms")
    assert page[0] == "al-49998"
    assert book.group("al-77777").agent_id == "agent-77777"
