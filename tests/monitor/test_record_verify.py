"""Tampering with a record: whatever is done to its files is seen, and the place is named."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from monitor.log.segments import Record as Framed
from monitor.log.segments import SegmentedLog, read_log
from monitor.proof.checkpoints import Checkpoint, sign_checkpoint
from monitor.proof.hashing import digests
from monitor.proof.notes import Signer
from monitor.record.batch import Batch
from monitor.record.checkpointing import Checkpointing, kept_checkpoints
from monitor.record.entry import Entry
from monitor.record.links import links_of
from monitor.record.noted import Noted, note_sealed
from monitor.record.places import Places
from monitor.record.query import Query, matching
from monitor.record.reader import Reader
from monitor.record.retention import Limits, Retention
from monitor.record.sealed import ENTRIES, SealedPart, part_path, seal
from monitor.record.store import Store
from monitor.record.verify import Report, verify
from tests.monitor.records import START_S, entries, entry

SIGNER = Signer("watch.example.com/audit", bytes(range(32)))
SIZE = 2 * ENTRIES + 300
NEVER_S = 1e9


def grow(directory: Path, size: int) -> None:
    """Append up to so many entries of actions, sign a checkpoint every 20,000, and note what was sealed."""
    with Store(directory) as store:
        checkpoints = Checkpointing(directory, SIGNER, interval_s=NEVER_S)
        done = store.cursors.get("actions", 0)
        while done < size:
            upto = min(size, done + 20_000)
            store.append(entries(done, upto), {"actions": upto})
            store.settle(wait=True)
            note_sealed(store)
            checkpoints.sign(store)
            done = upto
        checkpoints.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of two sealed parts and a tail, signed; not to be changed."""
    directory = tmp_path_factory.mktemp("record") / "record"
    grow(directory, SIZE)
    return directory


@pytest.fixture
def record(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to tamper with."""
    return Path(shutil.copytree(whole, tmp_path / "record"))


def check(record: Path, *kept: bytes) -> Report:
    return verify(record, [SIGNER.verifier], origin=SIGNER.name, kept=kept)


def newest(record: Path) -> bytes:
    return (record / "checkpoint").read_bytes()


def test_a_record_that_nobody_touched_holds(whole: Path) -> None:
    report = check(whole, newest(whole))
    assert report.problems == []
    assert report.holds
    assert (report.first, report.size, report.contents_deleted) == (0, SIZE + 2, 0)
    assert report.newest is not None
    assert report.newest.size == report.size
    assert report.checkpoints == len(list(kept_checkpoints(whole))) + 1
    assert report.root == Reader(whole).tree().root()


def test_an_empty_record_holds(tmp_path: Path) -> None:
    with Store(tmp_path):
        pass
    assert check(tmp_path).holds


# -- an attacker who knows the format ---------------------------------------------------------------------------------


def made_anew(record: Path, number: int, change: Callable[[list[Entry]], list[Entry]]) -> None:
    """Seal a part again with other entries, everything in it consistent."""
    part = SealedPart(part_path(record / "sealed", number * ENTRIES))
    held = [found for found in Reader(record).entries() if 0 <= found.number - part.first < ENTRIES]
    kept = [Entry(found.leaf, found.content, links_of(found.leaf), START_S) for found in held]
    times = np.repeat(part.table["first_s"], 64)
    kept = [one._replace(ts_s=float(ts_s)) for one, ts_s in zip(kept, times, strict=True)]
    seal(record / "sealed", part.first, [Batch.of(change(kept), {})])


def replaced(at: int, old: bytes, new: bytes) -> Callable[[list[Entry]], list[Entry]]:
    def change(held: list[Entry]) -> list[Entry]:
        leaf = held[at].leaf.replace(old, new)
        assert leaf != held[at].leaf
        return [*held[:at], held[at]._replace(leaf=leaf, links=links_of(leaf)), *held[at + 1 :]]

    return change


FIELDS = [
    (b'"v":1', b'"v":2'),
    (b'"event_id":"action-43"', b'"event_id":"action-44"'),
    (b'"type":"action"', b'"type":"alert"'),
    (b"2026", b"2025"),
    (b'"id":"agent-0"', b'"id":"agent-1"'),
    (b'"run":"run-0"', b'"run":"run-1"'),
    (b"user-0@", b"user-1@"),
    (b'"type":"user"', b'"type":"none"'),
    (b'"id":"a42"', b'"id":"a41"'),
    (b'"tool":"read"', b'"tool":"send"'),
    (b'"fields":["task"]', b'"fields":["args"]'),
    (b'"sha256":"', b'"sha256":"0'),
]


@pytest.mark.parametrize(("old", "new"), FIELDS)
def test_every_field_changed_with_all_hashes_of_its_part_made_anew(
    record: Path, old: bytes, new: bytes
) -> None:
    made_anew(record, 0, replaced(42, old, new))
    report = check(record)
    assert not report.holds
    assert report.problems[0].entry is not None
    assert report.problems[0].entry <= 42
    assert not check_without_notes(record).holds


def check_without_notes(record: Path) -> Report:
    """Check with the checkpoints alone: as if the attacker could also make the record's own notes anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monitor.record.verify.read_noted", lambda directory: Noted({}, [], 0))
        report = verify(record, [SIGNER.verifier])
    return report._replace(problems=[one for one in report.problems if "was sealed" not in one.what])


@pytest.mark.parametrize(
    "change",
    [
        lambda held: [held[1], held[0], *held[2:]],
        lambda held: [*held[:7], *held[8:], held[7]],
        lambda held: [*held[:7], held[9], *held[7:-1]],
        lambda held: [one._replace(leaf=one.leaf.replace(b"read", b"r3ad")) for one in held],
    ],
    ids=["swapped", "dropped", "inserted", "all"],
)
def test_entries_swapped_dropped_inserted_and_a_part_replaced(
    record: Path, change: Callable[[list[Entry]], list[Entry]]
) -> None:
    made_anew(record, 1, change)
    report = check(record)
    assert report.problems[0].entry == ENTRIES
    located = check_without_notes(record).problems[0]
    assert "not what was signed" in located.what
    assert located.entry is not None
    assert ENTRIES - 20_000 <= located.entry <= ENTRIES


def test_a_changed_byte_of_a_leaf_is_named_to_the_entry(record: Path) -> None:
    path = part_path(record / "sealed", 0)
    part = SealedPart(path)
    pieces = [Batch.of([entry(number) for number in range(ENTRIES)], {})]
    changed = bytearray(pieces[0].leaves)
    at = int(pieces[0].leaf_ends[41]) + 30
    changed[at] ^= 1
    forged = Batch(
        {},
        bytes(changed),
        *(getattr(pieces[0], name) for name in ("leaf_ends", "contents", "content_ends")),
        pieces[0].ts_s,
        pieces[0].keys,
        pieces[0].key_entries,
    )
    root, digest, table, locators = part.root, part.index_digest, part.table.copy(), part.locators.copy()
    new = seal(record / "sealed", 0, [forged])  # its blocks; the hashes are put back to what they were
    data = bytearray(path.read_bytes())
    own = new.table.copy()
    own["root"] = table["root"]
    table_at = data.index(new.table.tobytes())
    data[table_at : table_at + own.nbytes] = own.tobytes()
    locators_at = table_at + own.nbytes
    data[locators_at : locators_at + locators.nbytes] = locators.tobytes()
    put_footer(data, root, digest)
    path.write_bytes(data)
    assert check(record).problems[0] == (42, "entry 42 is not what was recorded")


def put_footer(data: bytearray, root: bytes, digest: bytes) -> None:
    footer = struct.Struct("<QQIII32s32sI4s")
    fields = list(footer.unpack_from(data, len(data) - footer.size))
    fields[5:8] = [root, digest, 0]
    fields[7] = zlib.crc32(footer.pack(*fields))
    footer.pack_into(data, len(data) - footer.size, *fields)


def test_no_byte_of_a_sealed_file_can_be_changed_unseen(record: Path) -> None:
    path = part_path(record / "sealed", ENTRIES)
    good = path.read_bytes()
    for at in np.linspace(0, len(good) - 1, 12, dtype=int).tolist():
        data = bytearray(good)
        data[at] ^= 0x10
        path.write_bytes(data)
        report = check(record)
        assert not report.holds, f"byte {at} of {len(good)}"
        assert report.problems[0].entry is not None
        assert ENTRIES <= report.problems[0].entry < 2 * ENTRIES


def test_an_index_that_hides_an_entry_is_seen(record: Path) -> None:
    path = part_path(record / "sealed", 0)
    part = SealedPart(path)
    data = bytearray(path.read_bytes())
    where = data.index(part.read_index())
    data[where : where + 4] = b"\xff\xff\xff\xff"
    put_footer(data, part.root, sha256(data[where : where + len(part.read_index())]).digest())
    path.write_bytes(data)
    assert check(record).problems[0] == (0, f"{path.name} is not what was sealed")


def test_contents_changed_or_gone_without_a_word_are_seen(record: Path) -> None:
    made_anew(record, 0, lambda held: [*held[:5], held[5]._replace(content=b'{"salt":"0"}'), *held[6:]])
    assert check(record).problems[0] == (5, "the content of entry 5 is not what was recorded")
    made_anew(record, 0, lambda held: [*held[:5], held[5]._replace(content=b""), *held[6:]])
    assert check(record).problems[0] == (
        5,
        "the content of entry 5 is gone, and the record does not say why",
    )


def test_a_dropped_part_is_named(record: Path) -> None:
    part_path(record / "sealed", 0).unlink()
    assert check(record).problems[0] == (0, f"entries 0 to {ENTRIES - 1} are missing")


# -- the tail ---------------------------------------------------------------------------------------------------------


def rewrite_tail(record: Path, change: Callable[[list[Batch]], list[Batch]]) -> None:
    frames = [frame for frame in read_log(record / "tail") if frame.first_seq > 2 * ENTRIES]
    batches = change([Batch.decode(frame.payload) for frame in frames])
    shutil.rmtree(record / "tail")
    log = SegmentedLog(record / "tail", first_seq=2 * ENTRIES + 1)
    for batch in batches:
        log.append(Framed(batch.encode(), len(batch)))
    log.close()


def test_a_tail_that_was_cut_is_seen_with_its_own_checkpoints(record: Path) -> None:
    rewrite_tail(record, lambda batches: batches[:-1])
    report = check(record)
    assert report.problems[0].entry == report.size
    assert "tail is cut" in report.problems[0].what


def test_a_tail_that_was_cut_with_its_checkpoints_is_seen_with_one_kept_elsewhere(record: Path) -> None:
    kept = newest(record)
    rewrite_tail(record, lambda batches: batches[:-1])
    cut_checkpoints(record, 2)
    assert check(record).holds
    report = check(record, kept)
    assert "tail is cut" in report.problems[0].what


def cut_checkpoints(record: Path, count: int) -> None:
    notes = list(kept_checkpoints(record))[:-count]
    shutil.rmtree(record / "checkpoints")
    log = SegmentedLog(record / "checkpoints")
    for one in notes:
        log.append(Framed(one))
    log.close()
    (record / "checkpoint").write_bytes(notes[-1])


def test_an_entry_of_the_tail_that_was_changed_is_seen(record: Path) -> None:
    def change(batches: list[Batch]) -> list[Batch]:
        forged = batches[0].leaves.replace(b"read", b"raed")
        assert forged != batches[0].leaves
        first = batches[0]
        return [
            Batch(
                first.cursors,
                forged,
                first.leaf_ends,
                first.contents,
                first.content_ends,
                first.ts_s,
                first.keys,
                first.key_entries,
            ),
            *batches[1:],
        ]

    rewrite_tail(record, change)
    assert "not what was signed" in check(record).problems[0].what


# -- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_that_was_put_back_is_seen(record: Path) -> None:
    (record / "checkpoint").write_bytes(next(iter(kept_checkpoints(record))))
    assert check(record).problems == [(None, "checkpoint is not the newest checkpoint: it was put back")]


def test_a_checkpoint_of_another_key_does_not_count(record: Path) -> None:
    impostor = Signer(SIGNER.name, bytes(32))
    report = check(record, sign_checkpoint(Checkpoint(SIGNER.name, 5, bytes(32)), [impostor]))
    assert [one.what for one in report.problems] == ["a checkpoint does not count: no known key signed it"]


def test_a_checkpoint_of_another_record_does_not_count(record: Path) -> None:
    report = check(record, sign_checkpoint(Checkpoint("elsewhere", 5, bytes(32)), [SIGNER]))
    assert "elsewhere" in report.problems[0].what


def test_a_wrong_checkpoint_of_the_right_key_shows_between_which_entries_it_is(record: Path) -> None:
    report = check(record, sign_checkpoint(Checkpoint(SIGNER.name, 30_000, bytes(32)), [SIGNER]))
    assert report.problems == [(20_000, "entries 20000 to 29999 are not what was signed at 30000")]


# -- what may be gone -------------------------------------------------------------------------------------------------


def test_what_retention_and_people_deleted_is_told_and_the_rest_holds(record: Path) -> None:
    kept = newest(record)
    with Store(record) as store:
        checkpoints = Checkpointing(record, SIGNER, interval_s=NEVER_S)
        years = 1000.0 * 365
        retention = Retention(store, checkpoints, Limits(days=years, content_days=years, bytes=1 << 40))
        count = retention.forget("human:user-1@example.com", "alice@example.com", "asked for it")
        assert count == sum(number % 3 == 1 for number in range(SIZE))
        assert check(record, kept).contents_deleted == count
        assert check(record, kept).problems == []
        now_s = START_S + ENTRIES + 10
        Retention(store, checkpoints, Limits(years, 1 / 86_400, 1 << 40)).keep(now_s)
        report = check(record, kept)
        assert report.problems == []
        assert report.contents_deleted > ENTRIES - 1
        Retention(store, checkpoints, Limits(1 / 86_400, 1 / 86_400, 1 << 40)).keep(now_s)
        report = check(record, kept)
        assert (report.problems, report.first) == ([], ENTRIES)
        checkpoints.close()
    Places(record).pruned.write_bytes(Places(record).pruned.read_bytes() * 2)
    assert not check(record, kept).holds


def test_entries_that_are_gone_without_a_word_are_seen(record: Path) -> None:
    with Store(record) as store:
        store.prune(1)
    assert check(record).problems[0] == (
        0,
        f"entries before {ENTRIES} are gone, and the record does not say why",
    )


def test_what_was_recorded_can_still_be_found_after_all_that(whole: Path) -> None:
    reader = Reader(whole)
    sealed = [found.number for found in matching(reader, Query(("type:record",), newest_first=False))]
    assert len(sealed) == 2
    assert bytes(digests(b"", np.zeros(0, np.int64))) == b""
