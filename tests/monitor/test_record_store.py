"""The record's store: durable, sealed in parts, found by links, and the same tree whatever happened to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import LogError, RecordDamaged
from monitor.proof.merkle import leaf_hash, root_of
from monitor.record.batch import Batch, key_of
from monitor.record.entry import Entry
from monitor.record.query import Query, find, matching
from monitor.record.reader import Reader
from monitor.record.sealed import ENTRIES, SealedPart, part_paths
from monitor.record.store import Store
from tests.monitor.records import START_S, entries, entry, fill

SIZE = ENTRIES + 5_000


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record with a sealed part and a tail; not to be changed."""
    directory = tmp_path_factory.mktemp("record") / "record"
    fill(directory, SIZE)
    return directory


def numbers(reader: Reader, query: Query) -> list[int]:
    return [found.number for found in matching(reader, query)]


@pytest.fixture(scope="module")
def made() -> list[Entry]:
    """The entries that are in it."""
    return entries(0, SIZE)


def expected(query: Query, made: list[Entry]) -> list[int]:
    found = [
        number
        for number, one in enumerate(made)
        if set(query.links) <= set(one.links) and query.since_s <= one.ts_s < query.until_s
    ]
    return found[::-1] if query.newest_first else found


def test_what_was_appended_is_read_back_in_order_with_its_content(filled: Path) -> None:
    reader = Reader(filled)
    assert (reader.first, reader.size, len(reader.parts)) == (0, SIZE, 1)
    for number in (0, 63, 64, ENTRIES - 1, ENTRIES, SIZE - 1):
        found = reader.entry(number)
        assert (found.number, found.leaf, found.content) == (number, *entry(number)[:2])
    with pytest.raises(IndexError, match=str(SIZE)):
        reader.entry(SIZE)


def test_the_tree_is_that_of_rfc_6962_over_all_leaves(filled: Path, made: list[Entry]) -> None:
    leaves = [leaf_hash(one.leaf) for one in made]
    tree = Reader(filled).tree()
    assert tree.root() == root_of(leaves)
    for size in (0, 1, 63, 64, 65, 1000, ENTRIES, ENTRIES + 1, SIZE):
        assert tree.root(size) == root_of(leaves[:size])


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize(
    "query",
    [
        Query(("agent:agent-3",)),
        Query(("agent:agent-3", "tool:send")),
        Query(("human:user-1@example.com", "session:run-9")),
        Query(("session:run-1311",), START_S + 65_550, START_S + 65_560),
        Query(("action:a65540",)),
        Query((), START_S + 65_500, START_S + 65_600.5),
        Query(("agent:nobody",)),
        Query(("agent:agent",)),
    ],
)
def test_entries_are_found_by_links_and_time_across_parts_and_tail(
    filled: Path, made: list[Entry], query: Query, newest_first: bool
) -> None:
    query = query._replace(newest_first=newest_first)
    assert numbers(Reader(filled), query) == expected(query, made)


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_follow_on_each_other(filled: Path, made: list[Entry], newest_first: bool) -> None:
    reader, query = Reader(filled), Query(("session:run-1310",), newest_first=newest_first)
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = find(reader, query, cursor=cursor, limit=7)
        found += [one.number for one in page.entries]
        cursor, pages = page.next, pages + 1
    assert pages == 8
    assert found == expected(query, made)


def test_an_entry_is_found_the_moment_it_is_durable(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        reader = Reader(tmp_path)
        store.append([entry(0)], {"actions": 1})
        assert numbers(reader, Query(("agent:agent-0",))) == []
        reader.refresh()
        assert numbers(reader, Query(("agent:agent-0",))) == [0]


def test_how_far_its_sources_were_recorded_is_part_of_the_record(tmp_path: Path) -> None:
    fill(tmp_path, ENTRIES + 10)
    with Store(tmp_path) as store:
        assert (store.size, store.cursors) == (ENTRIES + 10, {"actions": ENTRIES + 10})
        store.append([entry(ENTRIES + 10)], {"feed": 7})
    with Store(tmp_path) as store:
        assert store.cursors == {"actions": ENTRIES + 10, "feed": 7}


def test_two_do_not_write_one_record(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(LogError, match="in use"):
        Store(tmp_path)


def test_a_missing_part_is_named(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "sealed").mkdir()
    os.link(part_paths(filled / "sealed")[0], tmp_path / "sealed" / f"{ENTRIES:015d}.sealed")
    with pytest.raises(RecordDamaged):
        Reader(tmp_path)


def test_a_tail_that_is_gone_is_damage_not_a_new_record(tmp_path: Path) -> None:
    fill(tmp_path, ENTRIES + 10)
    for segment in (tmp_path / "tail").glob("*.seg"):
        segment.unlink()
    with pytest.raises(RecordDamaged, match=str(ENTRIES)):
        Store(tmp_path)


@pytest.mark.parametrize("at", [5, -5, -40, -100])
def test_a_damaged_footer_is_no_part(filled: Path, tmp_path: Path, at: int) -> None:
    path = tmp_path / part_paths(filled / "sealed")[0].name
    data = bytearray(part_paths(filled / "sealed")[0].read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordDamaged, match=path.name):
        SealedPart(path)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=400))
def test_bytes_that_are_no_batch_are_refused(data: bytes) -> None:
    with pytest.raises(LogError):
        Batch.decode(data)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_batch_with_a_changed_byte_is_refused_or_readable(data: st.DataObject) -> None:
    encoded = bytearray(Batch.of(entries(0, 5), {"actions": 5}).encode())
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        batch = Batch.decode(bytes(encoded))
    except LogError:
        return
    assert [batch.leaf(i) + batch.content(i) for i in range(len(batch))]


# -- deleting ----------------------------------------------------------------------------------------------------------


def test_forgetting_somebody_deletes_contents_everywhere_and_leaves_the_tree(tmp_path: Path) -> None:
    fill(tmp_path, SIZE)
    reader = Reader(tmp_path)
    root = reader.tree().root()
    theirs = numbers(reader, Query(("human:user-1@example.com",)))
    with Store(tmp_path) as store:
        assert store.forget("human:user-1@example.com") == len(theirs)
        assert store.forget("human:user-1@example.com") == 0
        assert store.tree().root() == root
        store.append([entry(SIZE)], {"actions": SIZE + 1})
    reader.refresh()
    assert reader.tree().root(SIZE) == root
    for found in reader.entries():
        is_theirs = found.number % 3 == 1
        assert (found.content == b"") == is_theirs
    assert next(reader.entries()).content == entry(0).content


def test_a_crash_while_the_tail_is_written_anew_leaves_the_old_or_the_new_one(tmp_path: Path) -> None:
    fill(tmp_path, 100)
    (tmp_path / "tail.new").mkdir()
    (tmp_path / "tail.new" / "00000000000000000001.seg").write_bytes(b"half")
    with Store(tmp_path) as store:
        assert store.size == 100
        assert not (tmp_path / "tail.new").exists()
        store.forget("agent:agent-0")
    (tmp_path / "tail").rename(tmp_path / "tail.new")  # as if the crash came between the two
    with Store(tmp_path) as store:
        assert store.size == 100
    assert Reader(tmp_path).entry(7).content == b""


def test_pruned_parts_leave_their_roots(tmp_path: Path) -> None:
    fill(tmp_path, 2 * ENTRIES + 100)
    with Store(tmp_path) as store:
        root = store.tree().root()
        store.prune(1)
        assert store.tree().root() == root
        store.append([entry(store.size)], {})
    with Store(tmp_path) as store:
        assert (store.first, store.size) == (ENTRIES, 2 * ENTRIES + 101)
        assert store.tree().root(2 * ENTRIES + 100) == root
    reader = Reader(tmp_path)
    assert next(reader.entries()).number == ENTRIES
    assert numbers(reader, Query(("action:a5",))) == []


# -- crashes -----------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from monitor.record.store import Store
from tests.monitor.records import entries
with Store(Path(sys.argv[1])) as store:
    while True:
        size = store.size
        store.append(entries(size, size + 1500), {"actions": size + 1500})
        print(store.size, flush=True)
"""


def test_killed_at_any_instant_it_has_what_it_said_it_had(tmp_path: Path) -> None:
    acknowledged = 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout
            for _ in range(12):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split("\n")
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1])])
        reader = Reader(tmp_path)
        assert reader.size >= acknowledged
        assert reader.entry(acknowledged - 1)[:2] == (acknowledged - 1, entry(acknowledged - 1).leaf)
    assert acknowledged > ENTRIES
    leaves = [leaf_hash(entry(number, content=True).leaf) for number in range(acknowledged)]
    assert Reader(tmp_path).tree().root(acknowledged) == root_of(leaves)


def test_keys_that_collide_find_only_what_was_asked_for(tmp_path: Path) -> None:
    key_of_first = key_of("agent:agent-0")
    assert key_of_first != key_of("agent:agent-1")
    made = [entry(0)._replace(links=("agent:agent-0", "agent:agent-1")), entry(1)]  # as if both had one key
    with Store(tmp_path) as store:
        store.append(made, {})
    assert numbers(Reader(tmp_path), Query(("agent:agent-1",))) == [1]
