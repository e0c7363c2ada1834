"""What was asked for is kept until it is carried out: through crashes, junk, a clock set back and other processes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.errors import BadRecord, InvalidRequest, JournalError, StoreUnreachable
from killswitch.revocations import (
    LEVELS,
    MAX_BY_CHARS,
    MAX_EVIDENCE,
    MAX_ID_CHARS,
    MAX_REASON_CHARS,
    Request,
)
from killswitch.storage.journal import MAX_ENTRY_BYTES, Journal, decode_entry, drain, encode_request
from killswitch.targets import Target
from tests.killswitch import records

ROOT = Path(__file__).resolve().parents[2]


def kill(name: str = "billing-bot", change_id: str = "c-1", **fields: object) -> Request:
    plain = {"kind": "revoke", "reason": "it pays strangers", "by": "alice", **fields}
    return Request(target=Target("agent", name), change_id=change_id, **plain)  # type: ignore[arg-type]


@st.composite
def kills(draw: st.DrawFn) -> Request:
    kind = draw(st.sampled_from(LEVELS))
    return Request(
        kind=kind,
        target=draw(records.targets()),
        reason=draw(records.words),
        by=draw(records.words),
        change_id=draw(records.words),
        expires_at_s=draw(records.seconds) if kind == "suspend" else None,
        evidence=tuple(draw(st.lists(records.words, max_size=3))),
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "deep" / "journal")


def ids(journal: Journal) -> list[str]:
    return [entry.request.change_id for entry in journal.pending()]


@given(kills(), records.seconds)
def test_what_is_kept_is_read_back_as_it_was(request_: Request, at_s: float) -> None:
    entry = decode_entry("name", encode_request(request_, at_s))
    assert (entry.request, entry.at_s) == (request_, at_s)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_kill_or_a_bad_record(data: bytes) -> None:
    with pytest.raises(BadRecord):
        decode_entry("name", data)


@given(st.data())
@settings(max_examples=300)
def test_a_kill_with_one_byte_changed_is_a_kill_or_a_bad_record(data: st.DataObject) -> None:
    good = bytearray(encode_request(kill(evidence=("a-1",)), 1.0))
    good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BadRecord):
        decode_entry("name", bytes(good))


@pytest.mark.parametrize(
    "change",
    [
        (b'"v":1', b'"v":2'),
        (b'"v":1', b'"v":true'),
        (b'"kind":"revoke"', b'"kind":"restore"'),
        (b'"kind":"revoke"', b'"kind":["revoke"]'),
        (b'"kind":"revoke"', b'"kind":"suspend"'),
        (b'"at_s":1.0', b'"at_s":NaN'),
        (b'"at_s":1.0', b'"at_s":1e400'),
        (b'"target":"agent:billing-bot"', b'"target":7'),
        (b'"target":"agent:billing-bot"', b'"target":"nobody:x"'),
        (b'"reason":"it pays strangers"', b'"reason":null'),
        (b'"evidence":[]', b'"evidence":[7]'),
        (b'"evidence":[]', b'"evidence":"x"'),
    ],
)
def test_what_is_no_kill_is_refused(change: tuple[bytes, bytes]) -> None:
    data = encode_request(kill(), 1.0)
    assert change[0] in data
    with pytest.raises(BadRecord):
        decode_entry("name", data.replace(*change))


def test_a_kill_beyond_the_size_limit_is_refused() -> None:
    with pytest.raises(BadRecord, match="more than"):
        decode_entry("name", b" " * (MAX_ENTRY_BYTES + 1))


@pytest.mark.parametrize("widest", ["\x01", "\U0001f5a4"], ids=["escaped", "four bytes"])
def test_the_longest_kill_there_is_is_kept(journal: Journal, widest: str) -> None:
    name = widest * MAX_ID_CHARS
    request = Request(
        "suspend", Target("agent", "\U0001f5a4" * 512), widest * MAX_REASON_CHARS, widest * MAX_BY_CHARS, name,
        9e9, (name,) * MAX_EVIDENCE,
    )  # fmt: skip
    journal.add(request)
    assert [entry.request for entry in journal.pending()] == [request]


@pytest.mark.parametrize("kind", ["restore", "expire"])
def test_only_what_stops_somebody_is_kept(journal: Journal, kind: str) -> None:
    with pytest.raises(InvalidRequest, match="never kept"):
        journal.add(kill(kind=kind))
    assert not journal.directory.exists()


def test_entries_come_in_the_order_in_which_they_were_asked_for(journal: Journal) -> None:
    for number in range(50):
        journal.add(kill(change_id=f"c-{number}"))
    assert ids(journal) == [f"c-{number}" for number in range(50)]
    assert len(journal) == 50


def test_a_clock_that_was_set_back_does_not_change_the_order(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for change_id, now_ns in [("first", 3_000_000_000), ("second", 1_000_000_000), ("third", 2_000_000_000)]:
        monkeypatch.setattr(time, "time_ns", lambda now_ns=now_ns: now_ns)
        journal.add(kill(change_id=change_id))
    assert ids(journal) == ["first", "second", "third"]


def test_the_same_change_id_is_the_same_entry(journal: Journal) -> None:
    assert journal.add(kill()) == journal.add(kill())
    assert len(journal) == 1


def test_what_was_removed_is_gone_and_removing_it_again_is_harmless(journal: Journal) -> None:
    entry = journal.add(kill())
    journal.remove(entry)
    journal.remove(entry)
    assert journal.pending() == []


def test_its_files_are_for_their_owner_only(journal: Journal) -> None:
    entry = journal.add(kill())
    assert oct(journal.directory.stat().st_mode)[-3:] == "700"
    assert oct((journal.directory / entry.name).stat().st_mode)[-3:] == "600"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_root_keeps_belongs_to_whoever_drains(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    entry = Journal(tmp_path).add(kill())
    assert (tmp_path / entry.name).stat().st_uid == 12345


def test_an_empty_journal_makes_no_directory(journal: Journal) -> None:
    assert (journal.pending(), len(journal), journal.damaged) == ([], 0, 0)
    assert not journal.directory.exists()


def test_a_full_journal_says_so_and_where(tmp_path: Path) -> None:
    journal = Journal(tmp_path, max_entries=2)
    journal.add(kill(change_id="c-1"))
    entry = journal.add(kill(change_id="c-2"))
    with pytest.raises(JournalError, match=str(tmp_path)):
        journal.add(kill(change_id="c-3"))
    assert journal.add(kill(change_id="c-2")) == entry
    journal.remove(entry)
    journal.add(kill(change_id="c-3"))


def test_a_journal_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="writable"):
        Journal(tmp_path / "file" / "journal").add(kill())
    with pytest.raises(JournalError, match="cannot look into"):
        Journal(tmp_path / "file").pending()


def test_junk_is_set_aside_and_in_nobodys_way(journal: Journal) -> None:
    entry = journal.add(kill())
    tail = entry.name[20:]
    names = [f"{number:020d}{tail}" for number in range(6)]
    (journal.directory / names[0]).write_bytes(b"")
    (journal.directory / names[1]).write_bytes(os.urandom(500))
    (journal.directory / names[2]).write_bytes(b"[" * 70_000)
    (journal.directory / names[3]).mkdir()
    os.mkfifo(journal.directory / names[4])
    (journal.directory / names[5]).symlink_to("/etc/passwd")
    (journal.directory / f"{(1 << 63) + 1:020d}{tail}").write_bytes(b"from the far future")
    (journal.directory / "notes.txt").write_text("not ours")
    assert ids(journal) == ["c-1"]
    assert journal.damaged == 5, "a link is left where it is: it is not ours, and it is not followed"
    journal.add(kill(change_id="c-2"))
    assert ids(journal) == ["c-1", "c-2"]


def test_scratch_files_of_the_dead_are_cleared_away_and_those_of_the_living_are_not(journal: Journal) -> None:
    journal.add(kill())
    old, new = journal.directory / ".dead.new", journal.directory / ".alive.new"
    old.write_text("")
    new.write_text("")
    os.utime(old, (1.0, 1.0))
    journal.pending()
    assert (old.exists(), new.exists()) == (False, True)


# -- draining -----------------------------------------------------------------------------------------------------


class Store:
    """Takes requests; refuses those of the targets it is told to, with the error it is told."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.applied: list[str] = []

    def __call__(self, request: Request) -> None:
        error = self.errors.get(request.target.value)
        if error is not None:
            raise error
        self.applied.append(request.change_id)


def test_draining_carries_everything_out_in_order(journal: Journal) -> None:
    for number in range(5):
        journal.add(kill(change_id=f"c-{number}"))
    store = Store()
    drained = drain(journal, store, now_s=0.0)
    assert store.applied == [f"c-{number}" for number in range(5)]
    assert len(drained.applied) == 5
    assert not journal.pending()


def test_one_target_that_fails_holds_up_nobody_else_and_keeps_its_order(journal: Journal) -> None:
    for number, name in enumerate(["unlucky", "a", "unlucky", "b"]):
        journal.add(kill(name, f"c-{number}"))
    store = Store(unlucky=StoreUnreachable("away"))
    drained = drain(journal, store, now_s=0.0)
    assert store.applied == ["c-1", "c-3"]
    assert [entry.request.change_id for entry in drained.waiting] == ["c-0", "c-2"] == ids(journal)
    assert drained.problem == "away"
    store.errors.clear()
    drain(journal, store, now_s=0.0)
    assert store.applied == ["c-1", "c-3", "c-0", "c-2"]


def test_what_can_never_be_carried_out_is_set_aside_with_its_reason(journal: Journal) -> None:
    journal.add(kill("odd", "c-1"))
    journal.add(kill("odd", "c-2"))
    drained = drain(journal, Store(odd=InvalidRequest("change_id", "was used")), now_s=0.0)
    assert [why for _, why in drained.refused] == ["change_id: was used"] * 2
    assert (len(journal), journal.damaged) == (0, 2)


def test_a_suspension_that_would_be_over_is_dropped(journal: Journal) -> None:
    journal.add(kill(change_id="over", kind="suspend", expires_at_s=100.0))
    journal.add(kill(change_id="not-over", kind="suspend", expires_at_s=100.1))
    store = Store()
    drained = drain(journal, store, now_s=100.0)
    assert [entry.request.change_id for entry in drained.expired] == ["over"]
    assert store.applied == ["not-over"]
    assert len(journal) == 0


def test_draining_stops_when_asked_and_loses_nothing(journal: Journal) -> None:
    for number in range(4):
        journal.add(kill(str(number), f"c-{number}"))
    store = Store()
    drained = drain(journal, store, now_s=0.0, should_stop=lambda: len(store.applied) == 2)
    assert (store.applied, len(drained.waiting), len(journal)) == (["c-0", "c-1"], 2, 2)


def test_a_defect_in_applying_is_not_hidden_and_loses_nothing(journal: Journal) -> None:
    journal.add(kill())
    with pytest.raises(ZeroDivisionError):
        drain(journal, Store(**{"billing-bot": ZeroDivisionError()}), now_s=0.0)
    assert len(journal) == 1


# -- several processes, and their ends ----------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from killswitch.storage.journal import Journal
from killswitch.revocations import Request
from killswitch.targets import Target
journal, name, number = Journal(Path(sys.argv[1])), sys.argv[2], 0
while number < int(sys.argv[3]):
    change_id = f"{name}-{number}"
    journal.add(Request("revoke", Target("agent", name), "test", "test", change_id))
    print(change_id, flush=True)
    number += 1
"""


def start_writer(directory: Path, name: str, entries: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), name, str(entries)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_no_acknowledged_entry_is_lost_when_writers_are_killed_at_any_instant(tmp_path: Path) -> None:
    chance, acknowledged = random.Random(7), set()
    for run in range(8):
        writer = start_writer(tmp_path, f"w{run}", 10_000)
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]  # it works; from here on any instant will do
        threading.Event().wait(chance.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.read().splitlines()
        writer.wait(10)
        writer.stdout.close()
        acknowledged |= {line.decode().strip() for line in lines}
        found = ids(Journal(tmp_path))
        assert acknowledged <= set(found)
        assert len(found) == len(set(found))
        assert Journal(tmp_path).damaged == 0
    assert len(acknowledged) >= 8


def test_several_processes_write_and_drain_one_directory_at_once(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path, name, 30) for name in ("a", "b", "c")]
    journal, store, other = Journal(tmp_path), Store(), Store()
    deadline_s = time.monotonic() + 60
    while (
        any(writer.poll() is None for writer in writers) or len(journal)
    ) and time.monotonic() < deadline_s:
        drains = [
            threading.Thread(target=drain, args=(journal, taker), kwargs={"now_s": 0.0})
            for taker in (store, other)
        ]
        for thread in drains:
            thread.start()
        for thread in drains:
            thread.join(30)
    for writer in writers:
        assert writer.stdout is not None
        assert len(writer.stdout.read().splitlines()) == 30
        writer.stdout.close()
        assert writer.wait(10) == 0
    everything = {f"{name}-{number}" for name in "abc" for number in range(30)}
    assert set(store.applied) | set(other.applied) == everything
    assert journal.damaged == 0
