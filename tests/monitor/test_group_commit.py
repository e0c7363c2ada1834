"""Group commit: one fsync for many, answers in order, and never a yes for what is not on disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.errors import LogError, LogFailed
from monitor.log import group_commit
from monitor.log.group_commit import GroupCommit
from monitor.log.segments import Record, SegmentedLog


class Disk:
    """A log whose disk can be held up and made to fail."""

    def __init__(self, log: SegmentedLog) -> None:
        self.log = log
        self.directory = log.directory
        self.syncing = threading.Event()
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.append_errors: list[Exception] = []
        self.sync_error: Exception | None = None
        self.groups: list[int] = []

    def append(self, *records: Record) -> list[int]:
        if self.append_errors:
            raise self.append_errors.pop(0)
        self.groups.append(len(records))
        return self.log.append(*records)

    def sync(self) -> None:
        self.syncing.set()
        assert self.may_sync.wait(30)
        if self.sync_error:
            raise self.sync_error
        self.log.sync()

    async def hold(self, commit: GroupCommit) -> asyncio.Future[int]:
        """Return the future of a record whose sync is under way and goes on only after `release`."""
        self.may_sync.clear()
        self.syncing.clear()
        first = commit.enqueue(Record(b"held"))
        assert await asyncio.to_thread(self.syncing.wait, 30)
        return first

    def release(self) -> None:
        self.may_sync.set()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(SegmentedLog(tmp_path))
    yield disk
    disk.release()
    disk.log.close()


def started(disk: Disk, **hooks: Callable[..., None]) -> GroupCommit:
    log: Any = disk
    return GroupCommit(log, **hooks)


def on_disk(disk: Disk) -> list[bytes]:
    return [frame.payload for frame in disk.log.read()]


async def refused(future: asyncio.Future[Any]) -> LogError:
    with pytest.raises(LogError) as caught:
        await future
    return caught.value


async def test_a_record_is_on_disk_when_its_future_resolves(disk: Disk) -> None:
    async with started(disk) as commit:
        assert await commit.enqueue(Record(b"a", 3)) == 1
        assert on_disk(disk) == [b"a"]
        assert await commit.enqueue(Record(b"b")) == 4


async def test_what_waits_shares_one_sync_and_is_answered_in_order(disk: Disk) -> None:
    order: list[tuple[str, int]] = []
    async with started(disk, on_durable=lambda seq, record: order.append(("durable", seq))) as commit:
        first = await disk.hold(commit)
        waiting = [commit.enqueue(Record(b"%d" % number, 2)) for number in range(50)]
        for future in waiting:
            future.add_done_callback(lambda done: order.append(("answered", done.result())))
        assert commit.waiting == 1 + 100
        disk.release()
        assert await asyncio.gather(first, *waiting) == [1, *range(2, 102, 2)]
        assert (commit.syncs, commit.waiting) == (2, 0)
    assert disk.groups == [1, 50]
    assert [seq for kind, seq in order if kind == "answered"] == list(range(2, 102, 2))
    assert order[:51] == [("durable", seq) for seq in [1, *range(2, 102, 2)]]


async def test_a_long_queue_is_cut_into_groups(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_GROUP_BYTES", 10)
    async with started(disk) as commit:
        first = await disk.hold(commit)
        sizes = [4, 4, 4, 40, 1, 1]
        waiting = [commit.enqueue(Record(bytes(size))) for size in sizes]
        disk.release()
        assert await asyncio.gather(first, *waiting) == list(range(1, 8))
    assert disk.groups == [1, 2, 1, 1, 2]


@pytest.mark.parametrize("error", [LogError("full"), LogFailed("broken"), OSError("bus")])
async def test_a_failure_refuses_the_whole_group(disk: Disk, error: Exception) -> None:
    lost: list[bytes] = []
    async with started(disk, on_refused=lambda record: lost.append(record.payload)) as commit:
        first = await disk.hold(commit)
        waiting = [commit.enqueue(Record(b"%d" % number)) for number in range(3)]
        disk.append_errors.append(error)
        disk.release()
        assert await first == 1
        for future in waiting:
            await refused(future)
        assert (lost, commit.waiting) == ([b"0", b"1", b"2"], 0)
        assert on_disk(disk) == [b"held"]


async def test_after_a_full_disk_has_room_again_records_are_taken_again(disk: Disk) -> None:
    async with started(disk) as commit:
        disk.append_errors.append(LogError("full"))
        await refused(commit.enqueue(Record(b"lost")))
        assert await commit.enqueue(Record(b"kept")) == 1
    assert on_disk(disk) == [b"kept"]


async def test_after_a_failed_sync_nothing_later_is_answered_yes(disk: Disk) -> None:
    async with started(disk) as commit:
        disk.sync_error = LogFailed("fsync failed")
        assert isinstance(await refused(commit.enqueue(Record(b"a"))), LogFailed)
        assert isinstance(await refused(commit.enqueue(Record(b"b"))), LogFailed)


async def test_closing_writes_what_still_waits_and_takes_no_more(disk: Disk) -> None:
    async with started(disk) as commit:
        waiting = [commit.enqueue(Record(b"%d" % number)) for number in range(5)]
    assert [future.result() for future in waiting] == [1, 2, 3, 4, 5]
    with pytest.raises(LogError, match="shutting down"):
        commit.enqueue(Record(b"late"))


async def test_a_defect_leaves_nobody_waiting(disk: Disk) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError

    commit = await started(disk, on_durable=defect).__aenter__()
    first = await disk.hold(commit)
    later = commit.enqueue(Record(b"later"))
    barrier = commit.barrier()
    disk.release()
    for future in (first, later, barrier):
        await refused(future)
    with pytest.raises(LogError):
        commit.enqueue(Record(b"after"))
    with pytest.raises(ZeroDivisionError):
        await commit.__aexit__()


# -- barriers -------------------------------------------------------------------------------------------------------


async def test_a_barrier_passes_once_all_before_it_is_durable(disk: Disk) -> None:
    async with started(disk) as commit:
        assert commit.barrier().done()
        first = await disk.hold(commit)
        second = commit.enqueue(Record(b"second"))
        barrier = commit.barrier()
        commit.enqueue(Record(b"not waited for"))
        assert not barrier.done()
        disk.release()
        await barrier
        assert first.done()
        assert second.done()
        assert b"second" in on_disk(disk)


async def test_a_barrier_fails_with_any_record_before_it(disk: Disk) -> None:
    """A repeated action whose first copy could not be written is no duplicate, even if later writes succeed."""
    async with started(disk) as commit:
        disk.append_errors.append(LogError("full"))
        first = commit.enqueue(Record(b"first"))
        during = commit.barrier()
        await refused(first)
        after = commit.barrier()
        assert await commit.enqueue(Record(b"second")) == 1
        await refused(during)
        await after


async def test_a_barrier_over_several_groups_fails_with_the_first(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_GROUP_BYTES", 1)
    async with started(disk) as commit:
        await disk.hold(commit)
        lost, kept = commit.enqueue(Record(b"lost")), commit.enqueue(Record(b"kept"))
        barrier = commit.barrier()
        disk.append_errors.append(LogError("full"))
        disk.release()
        await refused(lost)
        assert await kept == 2
        await refused(barrier)


async def test_a_caller_that_goes_away_harms_nobody(disk: Disk) -> None:
    async with started(disk) as commit:
        await disk.hold(commit)
        gone, stays = commit.enqueue(Record(b"gone")), commit.enqueue(Record(b"stays"))
        gone_barrier, barrier = commit.barrier(), commit.barrier()
        gone.cancel()
        gone_barrier.cancel()
        disk.release()
        assert await stays == 3
        await barrier
    assert on_disk(disk) == [b"held", b"gone", b"stays"]


async def test_a_caller_that_goes_away_is_still_refused(disk: Disk) -> None:
    lost: list[bytes] = []
    async with started(disk, on_refused=lambda record: lost.append(record.payload)) as commit:
        disk.append_errors.append(LogError("full"))
        commit.enqueue(Record(b"gone")).cancel()
        await refused(commit.barrier())
    assert lost == [b"gone"]
