"""The audit trail: who did what, from where, and what came of it; durable, and paged from the newest back.

The daemon writes it. What people change on the command line while it runs, or while none does, is put into an inbox as
one file each, on disk before the change is made; the daemon takes it from there into the trail, once, whatever crashes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from monitor.errors import LogError
from monitor.log.group_commit import GroupCommit
from monitor.log.segments import Record, SegmentedLog, read_log
from monitor.state_dir import write_private

log = logging.getLogger("killcord.audit")

Outcome = Literal["done", "refused", "failed"]

RECENT: Final = 5_000
MAX_INBOX_BYTES: Final = 64 * 1024
DAY_S: Final = 86_400.0
DROP_INTERVAL_S: Final = 3_600.0


class Entry(msgspec.Struct, frozen=True, omit_defaults=False):
    """One act. `at` is in seconds since 1970; `address` is the client's, or ``command line``.

    `id` is set for what came through the inbox, so that it is taken once.
    """

    at: float
    by: str
    role: str
    address: str
    act: str
    object: str
    outcome: Outcome
    detail: dict[str, Any]
    id: str = ""

    def shown(self, seq: int) -> dict[str, Any]:
        """Return the entry as `GET /v1/audit` has it."""
        return {
            "seq": seq,
            "at": self.at,
            "by": self.by,
            "role": self.role,
            "from": self.address,
            "act": self.act,
            "object": self.object,
            "outcome": self.outcome,
            "detail": self.detail,
        }


class AuditTrail:
    """The trail of one daemon. All methods belong to one event loop; an asynchronous context manager.

    Parameters
    ----------
    on_durable
        Told the number of each entry once it is on disk.

    Attributes
    ----------
    unwritten : int
        How many entries could not be written since the start.
    """

    def __init__(
        self,
        directory: Path,
        inbox: Path,
        *,
        retention_days: float,
        on_durable: Callable[[int], object] = lambda seq: None,
    ) -> None:
        self._log = SegmentedLog(directory)
        self._inbox = inbox
        self._retention_s = retention_days * DAY_S
        self._commit = GroupCommit(self._log, self._durable, self._refused)
        self._recent: deque[tuple[int, Entry]] = deque(maxlen=RECENT)
        self._drop_due_s = 0.0
        self._on_durable = on_durable
        self.unwritten = 0
        for frame in self._log.read(max(0, self._log.next_seq - RECENT)):
            self._recent.append((frame.first_seq, msgspec.json.decode(frame.payload, type=Entry)))

    async def __aenter__(self) -> AuditTrail:
        await self._commit.__aenter__()
        await self.take_in()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._commit.__aexit__(*error)
        self._log.close()

    def note(self, entry: Entry) -> asyncio.Future[int]:
        """Write an entry in the background; the future resolves when it is on disk and fails with `LogError`.

        Nobody has to wait for it: what cannot be written is logged and counted.
        """
        try:
            return self._commit.enqueue(Record(msgspec.json.encode(entry)))
        except LogError as error:
            self._refused(Record(msgspec.json.encode(entry)))
            failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            failed.exception()  # nobody need look at it
            return failed

    async def page(self, limit: int, before: int | None = None) -> tuple[list[dict[str, Any]], int | None]:
        """Return up to `limit` entries below the number `before`, newest first, and where the next page begins."""
        end = self._log.next_seq if before is None else min(before, self._log.next_seq)
        oldest_here = self._recent[0][0] if self._recent else end
        if end - limit >= oldest_here or oldest_here <= self._log.first_seq:
            found = [(seq, entry) for seq, entry in reversed(self._recent) if seq < end][:limit]
        else:
            found = await asyncio.to_thread(self._stored, max(1, end - limit), end)
        following = found[-1][0] if len(found) == limit and found[-1][0] > self._log.first_seq else None
        return [entry.shown(seq) for seq, entry in found], following

    @property
    def last_seq(self) -> int:
        """The number of the newest entry on disk, 0 if there is none."""
        return self._recent[-1][0] if self._recent else self._log.next_seq - 1

    async def take_in(self) -> None:
        """Take what the command line left in the inbox into the trail, and forget what is too old."""
        for path in await asyncio.to_thread(_waiting, self._inbox):
            await self._take(path)
        if time.monotonic() >= self._drop_due_s:
            self._drop_due_s = time.monotonic() + DROP_INTERVAL_S
            await asyncio.to_thread(self._drop_old)

    # -- inside -------------------------------------------------------------------------------------------------

    async def _take(self, path: Path) -> None:
        entry = await asyncio.to_thread(_read, path)
        if entry is None:
            return
        if not any(
            known.id == entry.id for _, known in self._recent
        ):  # else a crash kept it from being removed
            try:
                await self.note(entry)
            except LogError:
                return  # it stays where it is
        await asyncio.to_thread(path.unlink, True)

    def _stored(self, first: int, end: int) -> list[tuple[int, Entry]]:
        found = []
        for frame in read_log(self._log.directory, first):
            if frame.first_seq >= end:
                break
            found.append((frame.first_seq, msgspec.json.decode(frame.payload, type=Entry)))
        return found[::-1]

    def _drop_old(self) -> None:
        try:
            self._log.drop_before(
                self._log.next_seq, older_than_s=time.time() - self._retention_s, keep_bytes=sys.maxsize
            )
        except OSError as error:  # what is kept too long harms nobody
            log.error("old audit entries could not be deleted: %s", error)

    def _durable(self, seq: int, record: Record) -> None:
        self._recent.append((seq, msgspec.json.decode(record.payload, type=Entry)))
        self._on_durable(seq)

    def _refused(self, record: Record) -> None:
        self.unwritten += 1
        log.error("not in the audit trail: %s", record.payload.decode(errors="replace"))


class Inbox:
    """Where the command line leaves what it is about to change."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, entry: Entry) -> Path:
        """Leave an entry; on disk when this returns. Raises OSError; blocks."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        marked = msgspec.structs.replace(entry, id=secrets.token_hex(8))
        path = self._directory / f"{time.time_ns():020d}-{marked.id}.json"
        write_private(path, msgspec.json.encode(marked))
        return path


def _waiting(inbox: Path) -> list[Path]:
    try:
        return sorted(inbox.glob("*.json"))
    except OSError as error:
        log.error("%s cannot be read: %s", inbox, error)
        return []


def _read(path: Path) -> Entry | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(MAX_INBOX_BYTES), type=Entry)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.error("%s is no entry of the audit trail (%s) and is set aside", path, error)
        path.rename(path.with_suffix(".damaged"))
        return None
