"""The audit trail: durable, paged, and nothing that the command line did is lost or told twice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from monitor.errors import LogError, LogFailed
from monitor.log import audit
from monitor.log.audit import AuditTrail, Entry, Inbox
from monitor.log.segments import Record


def entry(number: int, by: str = "alice") -> Entry:
    return Entry(
        float(number), by, "admin", "10.0.0.1", "POST /v1/x", f"agent:{number}", "done", {"status": 200}
    )


def trail(path: Path) -> AuditTrail:
    return AuditTrail(path / "audit", path / "inbox", retention_days=1.0)


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    async with trail(tmp_path) as first:
        assert [await first.note(entry(number)) for number in range(3)] == [1, 2, 3]
    async with trail(tmp_path) as again:
        entries, following = await again.page(10)
    assert [(one["seq"], one["object"]) for one in entries] == [
        (3, "agent:2"),
        (2, "agent:1"),
        (1, "agent:0"),
    ]
    assert following is None
    assert set(entries[0]) == {"seq", "at", "by", "role", "from", "act", "object", "outcome", "detail"}


@pytest.mark.parametrize("recent", [audit.RECENT, 4])
async def test_pages_hold_everything_once(
    tmp_path: Path, recent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "RECENT", recent)
    async with trail(tmp_path) as written:
        for number in range(20):
            await written.note(entry(number))
        seen, before = [], None
        while True:
            entries, before = await written.page(3, before)
            seen += [one["seq"] for one in entries]
            if before is None:
                break
    assert seen == list(range(20, 0, -1))


async def test_an_empty_trail_has_one_empty_page(tmp_path: Path) -> None:
    async with trail(tmp_path) as empty:
        assert await empty.page(10) == ([], None)
        assert await empty.page(10, 1) == ([], None)


async def test_what_the_command_line_did_is_taken_in_at_start_and_while_running(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    inbox.put(entry(1, "before"))
    async with trail(tmp_path) as running:
        inbox.put(entry(2, "while"))
        await running.take_in()
        entries, _ = await running.page(10)
    assert [one["by"] for one in entries] == ["while", "before"]
    assert list((tmp_path / "inbox").iterdir()) == []


async def test_a_crash_before_the_inbox_is_emptied_tells_nothing_twice(tmp_path: Path) -> None:
    path = Inbox(tmp_path / "inbox").put(entry(1))
    content = path.read_bytes()
    async with trail(tmp_path):
        pass
    path.write_bytes(content)
    async with trail(tmp_path) as again:
        assert len((await again.page(10))[0]) == 1
    assert not path.exists()


async def test_junk_in_the_inbox_is_set_aside(tmp_path: Path) -> None:
    good = Inbox(tmp_path / "inbox").put(entry(1))
    good.with_name("0.json").write_text("junk")
    async with trail(tmp_path) as running:
        assert len((await running.page(10))[0]) == 1
    assert [path.name for path in (tmp_path / "inbox").iterdir()] == ["0.damaged"]


async def test_what_cannot_be_written_is_counted_and_stays_in_the_inbox(tmp_path: Path) -> None:
    async with trail(tmp_path) as full:

        def fail(*_: Record) -> list[int]:
            raise LogFailed("the disk is gone")

        full._log.append = fail  # type: ignore[method-assign]
        with pytest.raises(LogError):
            await full.note(entry(1))
        path = Inbox(tmp_path / "inbox").put(entry(2))
        await full.take_in()
        assert path.exists()
        assert full.unwritten == 2
    with pytest.raises(LogError):
        await full.note(entry(3))
    assert full.unwritten == 3


async def test_entries_that_are_too_old_go_with_their_segment(tmp_path: Path) -> None:
    import os

    async with AuditTrail(tmp_path / "audit", tmp_path / "inbox", retention_days=1.0) as old:
        old._log._segment_bytes = 1
        for number in range(3):
            await old.note(entry(number))
        for path in old._log.segments():
            os.utime(path, (time.time() - 90_000,) * 2)
        old._drop_due_s = 0.0
        await old.take_in()
        assert old._log.first_seq == 3
