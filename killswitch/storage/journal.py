"""Kills that the store could not be told of, kept on this machine until it can: one file each.

Theory of operation
-------------------
A file is complete and on disk before it has its name, so whatever has a name was asked for by somebody and is kept
through ``kill -9`` and power failure. Names sort by time, then by change id; within one directory no name is older than
one that is there already, also when the clock was set back. Any number of processes may add and drain at once: the
store applies each change id once, so draining an entry twice is harmless, and so is an entry whose removal was lost.

Only what stops somebody is kept. A restore that waits for hours and then happens would surprise whoever killed
meanwhile, so those are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from killswitch.errors import BadRecord, InvalidRequest, InvalidTarget, JournalError, KillswitchError
from killswitch.revocations import LEVELS, MAX_SECONDS, Request
from killswitch.targets import Target

VERSION: Final = 1
MAX_ENTRY_BYTES: Final = (
    131_072  # security limit: twice what the longest kill takes, its control characters escaped
)
MAX_ENTRIES: Final = 10_000
MAX_NS: Final = 1 << 63  # a name from beyond the year 2262 is none of ours; ours must have room above it
ABANDONED_S: Final = 3_600.0  # a scratch file this old belongs to a writer that was killed


@dataclass(frozen=True, slots=True)
class Entry:
    """One kill that waits: the file's ``name``, what was asked, and when (seconds since 1970, the asker's clock)."""

    name: str
    request: Request
    at_s: float


class Journal:
    """A directory of kills that wait for the store. Safe for several threads and processes.

    Parameters
    ----------
    directory : Path
        Made, for its owner only, with the first entry.
    max_entries : int
        Security limit: how many may wait.
    """

    def __init__(self, directory: Path, max_entries: int = MAX_ENTRIES) -> None:
        self.directory = directory
        self.max_entries = max_entries

    def add(self, request: Request) -> Entry:
        """Return once `request` is on disk; about two fsyncs. The same change id again is the same entry.

        Raises
        ------
        InvalidRequest
            If it is no kill.
        JournalError
            If the directory is full or cannot be written: the kill is not kept then.
        """
        data = encode_request(request, time.time())
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            names = self._names()
            suffix = _suffix(request.change_id)
            for name in names:
                if name.endswith(suffix) and (entry := self._read(name)) is not None:
                    return entry
            if len(names) >= self.max_entries:
                raise JournalError(
                    f"the journal {self.directory} is full: {len(names)} kills wait; get the store to answer, or make"
                    " room after writing down what is in it"
                )
            newest_ns = max((int(name[:20]) for name in names), default=0)
            name = f"{max(time.time_ns(), newest_ns + 1):020d}{suffix}"
            self._write(name, data)
        except OSError as error:
            raise JournalError(
                f"cannot keep a kill in {self.directory}: {error}; make it writable"
            ) from error
        return decode_entry(name, data)

    def pending(self) -> list[Entry]:
        """Return what waits, the oldest first; O(n) reads.

        A file that holds no request is set aside as ``NAME.damaged``, one that cannot be opened is left; neither is in
        the way of the others.
        """
        self._forget_abandoned()
        return [entry for name in self._names() if (entry := self._read(name)) is not None]

    def __len__(self) -> int:
        return len(self._names())

    def oldest_at_s(self) -> float | None:
        """Return when the oldest kill that waits was asked for, in seconds since 1970; None if none waits."""
        names = self._names()
        return int(names[0][:20]) / 1e9 if names else None

    @property
    def damaged(self) -> int:
        """How many files were set aside, because nobody could have carried them out."""
        return len(list(self.directory.glob("*.damaged")))

    def remove(self, entry: Entry) -> None:
        """Take out an entry that was seen to. If that does not survive a crash, it is only seen to again."""
        with contextlib.suppress(FileNotFoundError):
            (self.directory / entry.name).unlink()

    def set_aside(self, entry: Entry) -> None:
        """Keep an entry that can never be carried out where a person finds it: as ``NAME.damaged``."""
        self._set_aside(entry.name)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        try:
            with os.scandir(self.directory) as found:
                return sorted(entry.name for entry in found if _is_entry(entry.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise JournalError(f"cannot look into the journal {self.directory}: {error}") from error

    def _read(self, name: str) -> Entry | None:
        try:
            return decode_entry(name, _read_small(self.directory / name))
        except BadRecord:
            self._set_aside(name)
        except OSError:
            pass  # gone since, seen to by another process; or not ours to read, and then not ours to set aside
        return None

    def _set_aside(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self.directory / name).rename(self.directory / f"{name}.damaged")

    def _write(self, name: str, data: bytes) -> None:
        scratch = self.directory / f".{uuid.uuid4().hex}.new"
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            owner = self.directory.stat()
            if (
                os.geteuid() == 0 and owner.st_uid != 0
            ):  # the daemon, which drains it, must be able to read it
                os.fchown(handle, owner.st_uid, owner.st_gid)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.rename(self.directory / name)
        folder = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _forget_abandoned(self) -> None:
        for scratch in self.directory.glob(".*.new"):
            with contextlib.suppress(OSError):
                if time.time() - scratch.stat().st_mtime > ABANDONED_S:
                    scratch.unlink()


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of the entries in one pass.

    ``applied`` were carried out, ``expired`` are suspensions that would have ended by now, ``refused`` can never be
    carried out (with the reason) and were set aside. ``waiting`` is left, ``problem`` says why (of the last one).
    """

    applied: tuple[Entry, ...] = ()
    expired: tuple[Entry, ...] = ()
    refused: tuple[tuple[Entry, str], ...] = ()
    waiting: tuple[Entry, ...] = ()
    problem: str = ""


def drain(
    journal: Journal,
    apply: Callable[[Request], None],
    *,
    now_s: float,
    should_stop: Callable[[], bool] = lambda: False,
) -> Drained:
    """Try every entry once, the oldest first; one that fails holds up only later ones of the same target.

    Parameters
    ----------
    apply : callable
        Carries out one request; raises a KillswitchError if that did not work. InvalidRequest and InvalidTarget mean
        that it never will.
    now_s : float
        Seconds since 1970, for suspensions.
    should_stop : callable
        Asked before each entry; what is left then waits.

    Raises
    ------
    JournalError
        If the directory cannot be read.
    """
    applied, expired, waiting = [], [], []
    refused: list[tuple[Entry, str]] = []
    stuck: set[Target] = set()
    problem = ""
    for entry in journal.pending():
        request = entry.request
        if request.expires_at_s is not None and request.expires_at_s <= now_s:
            journal.remove(entry)
            expired.append(entry)
        elif request.target in stuck or should_stop():
            waiting.append(entry)
        else:
            try:
                apply(request)
            except (InvalidRequest, InvalidTarget) as error:
                journal.set_aside(entry)
                refused.append((entry, str(error)))
            except KillswitchError as error:
                stuck.add(request.target)
                waiting.append(entry)
                problem = str(error)
            else:
                journal.remove(entry)
                applied.append(entry)
    return Drained(tuple(applied), tuple(expired), tuple(refused), tuple(waiting), problem)


# -- one entry as JSON --------------------------------------------------------------------------------------------


def encode_request(request: Request, at_s: float) -> bytes:
    """Return the kill as JSON.

    Raises
    ------
    InvalidRequest
        If it is a restore or an expiry.
    """
    if request.kind not in LEVELS:
        raise InvalidRequest(
            "kind", f"a {request.kind} is never kept for later; repeat it when the store answers"
        )
    plain = {
        "v": VERSION,
        "kind": request.kind,
        "target": str(request.target),
        "reason": request.reason,
        "by": request.by,
        "change_id": request.change_id,
        "expires_at_s": request.expires_at_s,
        "evidence": list(request.evidence),
        "at_s": at_s,
    }
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def decode_entry(name: str, data: bytes) -> Entry:
    """Return the entry in `data`.

    Raises
    ------
    BadRecord
        For anything that is no kill of version 1.
    """
    if len(data) > MAX_ENTRY_BYTES:
        raise BadRecord(f"{len(data)} bytes or more, more than {MAX_ENTRY_BYTES}")
    try:
        plain: Any = _DECODER.decode(data.decode())
        return _entry(name, plain)
    except BadRecord:
        raise
    except (InvalidRequest, InvalidTarget) as error:
        raise BadRecord(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not JSON: {error}"[:200]) from error


def _no_constant(name: str) -> NoReturn:
    raise BadRecord(f"{name} is no JSON number")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


def _entry(name: str, plain: Any) -> Entry:
    """Narrow foreign JSON; what the fields of a request may hold is looked at by Request itself."""
    if type(plain) is not dict or plain.get("v") != VERSION or plain.get("v") is True:
        raise BadRecord("not a kill of version 1")
    field: Callable[[str], Any] = plain.get
    if field("kind") not in LEVELS:
        raise BadRecord(f"kind: {field('kind')!r:.80} is no kill")
    at_s, evidence = field("at_s"), field("evidence")
    if type(at_s) not in (int, float) or not 0 <= at_s < MAX_SECONDS:
        raise BadRecord("at_s: expected seconds since 1970")
    if type(evidence) is not list:
        raise BadRecord("evidence: expected a list")
    request = Request(
        kind=field("kind"),
        target=Target.parse(field("target")),
        reason=field("reason"),
        by=field("by"),
        change_id=field("change_id"),
        expires_at_s=field("expires_at_s"),
        evidence=tuple(evidence),
    )
    return Entry(name, request, at_s)


def _suffix(change_id: str) -> str:
    # A hash, because a change id may hold anything, and file names may not.
    return f"-{hashlib.sha256(change_id.encode()).hexdigest()[:32]}.json"


def _is_entry(name: str) -> bool:
    stamp = name[:20]
    return (
        name.endswith(".json")
        and len(name) == 58
        and stamp.isascii()
        and stamp.isdigit()
        and int(stamp) < MAX_NS
    )


def _read_small(path: Path) -> bytes:
    """Return a regular file's first bytes; never blocks, follows no link. Raises OSError, or BadRecord for no file."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise BadRecord("not a regular file")
        return os.read(handle, MAX_ENTRY_BYTES + 1)  # a regular file's bytes come in one piece
    finally:
        os.close(handle)
