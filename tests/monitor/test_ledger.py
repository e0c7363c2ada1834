"""The daemon's own copy of the revocations: durable, whatever a crash or a disk does to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch import Change, Revocation, Target
from monitor.errors import DaemonError
from monitor.kill import ledger as module
from monitor.kill.ledger import Ledger
from tests.killswitch import records

ROOT = Path(__file__).resolve().parents[2]


def made(name: str = "billing-bot", epoch: int = 1, reason: str = "it pays strangers") -> Revocation:
    return Revocation(Target("agent", name), "revoke", reason, "alice", 1.0, None, f"c-{epoch}", epoch)


def opened(path: Path, **options: int) -> Ledger:
    return Ledger(path / "revocations", **options)


def reopened(ledger: Ledger) -> Ledger:
    ledger.close()
    return Ledger(ledger._path)


def test_what_was_put_is_there_again(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    assert (ledger.is_new, ledger.records, ledger.epoch) == (True, {}, 0)
    ledger.put(made("a", 1), 1)
    ledger.put(made("b", 2), 2)
    ledger.clear(Target("agent", "a"), 3)
    ledger.note(7)
    ledger.note(5)
    again = reopened(ledger)
    assert (again.is_new, again.epoch, again.damaged) == (False, 7, 0)
    assert again.records == {Target("agent", "b"): made("b", 2)}


@given(st.lists(records.revocations() | records.targets(), max_size=12))
@settings(max_examples=40, deadline=None)
def test_any_history_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, history: list[Revocation | Target]
) -> None:
    ledger = opened(tmp_path_factory.mktemp("ledger"))
    for epoch, item in enumerate(history, 1):
        if isinstance(item, Target):
            ledger.clear(item, epoch)
        else:
            ledger.put(item, epoch)
    again = reopened(ledger)
    assert (again.records, again.epoch) == (ledger.records, ledger.epoch)


def test_it_is_for_its_owner_only(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.put(made(), 1)
    assert oct((tmp_path / "revocations").stat().st_mode)[-3:] == "600"


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_torn_tail_is_dropped_and_the_rest_stays(tmp_path: Path, cut: int) -> None:
    ledger = opened(tmp_path)
    ledger.put(made("a", 1), 1)
    ledger.put(made("b", 2), 2)
    content = ledger._path.read_bytes()
    ledger._path.write_bytes(content[:-cut])
    again = reopened(ledger)
    assert set(again.records) == {Target("agent", "a")}
    assert again.damaged == 0
    again.put(made("c", 3), 3)
    assert len(reopened(again).records) == 2


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damage_costs_one_entry_and_never_the_start(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    ledger = opened(tmp_path_factory.mktemp("ledger"))
    for number in range(1, 6):
        ledger.put(made(f"a-{number}", number), number)
    content = bytearray(ledger._path.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    content[where] ^= data.draw(st.integers(1, 255))
    ledger._path.write_bytes(bytes(content))
    again = reopened(ledger)
    # A line end that is gone joins two entries; a byte that became one cuts one in two.
    assert len(again.records) >= 3
    assert all(record == made(record.target.value, record.epoch) for record in again.records.values())


@pytest.mark.parametrize("content", [b"", b"\n\n\n", b"junk\n", os.urandom(5000), b"00000000 set 1 {}\n"])
def test_any_file_is_a_ledger(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "revocations").write_bytes(content)
    ledger = opened(tmp_path)
    assert ledger.records == {}
    ledger.put(made(), 1)
    assert reopened(ledger).records


def test_history_is_forgotten_when_there_is_much_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_HISTORY_LINES", 50)
    ledger = opened(tmp_path)
    for epoch in range(1, 500):
        ledger.put(made("a", epoch), epoch)
    assert len(ledger._path.read_bytes().splitlines()) < 60
    assert reopened(ledger).records == {Target("agent", "a"): made("a", 499)}


def test_beyond_its_limit_it_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    ledger = opened(tmp_path, max_records=2)
    ledger.put(made("a", 1), 1)
    ledger.put(made("b", 2), 2)
    with pytest.raises(DaemonError, match="agent:c"):
        ledger.put(made("c", 3), 3)
    ledger.put(made("b", 4), 4)
    assert {target.value for target in reopened(ledger).records} == {"a", "b"}


def test_many_are_put_in_one_write_all_or_none(tmp_path: Path) -> None:
    ledger = opened(tmp_path, max_records=3)
    ledger.put_all([made("a", 1), made("b", 2)], 2)
    with pytest.raises(DaemonError, match="cannot hold 2 more"):
        ledger.put_all([made("c", 3), made("d", 4)], 4)
    ledger.put_all([made("b", 5), made("c", 6)], 6)
    ledger.put_all([], 7)
    again = reopened(ledger)
    assert ({target.value for target in again.records}, again.epoch) == ({"a", "b", "c"}, 6)


def test_a_disk_that_fails_is_said_and_nothing_known_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = opened(tmp_path)
    ledger.put(made("a", 1), 1)

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fdatasync", fail)
        with pytest.raises(DaemonError, match="make room"):
            ledger.put(made("b", 2), 2)
    ledger.put(made("c", 3), 3)
    assert {target.value for target in reopened(ledger).records} == {"a", "b", "c"}


def test_a_place_where_nothing_can_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match="cannot be written"):
        Ledger(tmp_path / "missing" / "revocations")
    (tmp_path / "directory").mkdir()
    with pytest.raises(DaemonError, match="cannot be read"):
        Ledger(tmp_path / "directory")


WRITER = """
import sys
from pathlib import Path
from killswitch import Change, Revocation, Target
from monitor.kill.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
epoch = ledger.epoch
while True:
    epoch += 1
    ledger.put(Revocation(Target("agent", f"a-{epoch}"), "revoke", "test", "me", 1.0, None, f"c-{epoch}", epoch), epoch)
    print(epoch, flush=True)
"""


def test_nothing_acknowledged_is_lost_when_its_writer_is_killed(tmp_path: Path) -> None:
    acknowledged = 0
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "revocations")],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(20)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.read().splitlines()
        writer.wait(10)
        writer.stdout.close()
        acknowledged = int(lines[-1])
        ledger = opened(tmp_path)
        assert len(ledger.records) >= acknowledged
        assert ledger.epoch >= acknowledged
        ledger.close()
    assert acknowledged >= 80


def lifted(record: Revocation, epoch: int) -> Change:
    return Change(epoch, f"r-{epoch}", "restore", record.target, record, None, "cleared", "bob", 2.0)


def test_a_restoration_is_kept_through_restarts_until_the_target_is_restored_again(tmp_path: Path) -> None:
    ledger, first, second = opened(tmp_path), made("a", 1), made("a", 3)
    ledger.put(first, 1)
    ledger.lift(lifted(first, 2), 2)
    ledger = reopened(ledger)
    assert (ledger.records, ledger.epoch, ledger.has_lifted(first)) == ({}, 2, True)
    ledger.put(second, 3)
    assert not ledger.has_lifted(second)
    assert ledger.has_seen(replace(second, epoch=9))
    ledger.lift(lifted(second, 4), 4)
    assert reopened(reopened(ledger)).has_lifted(second)


def test_a_kill_with_an_id_that_was_overheard_is_not_taken_for_known(tmp_path: Path) -> None:
    """Somebody who hears an id just before it is written must not be able to use it up."""
    ledger, forged = opened(tmp_path), replace(made("b", 1), change_id="c-2")
    ledger.put(forged, 1)
    assert not ledger.has_seen(made("a", 2))
    assert not ledger.has_seen(made("b", 2, reason="another"))


def test_what_a_restoration_lifted_is_what_we_held_whatever_it_says_itself(tmp_path: Path) -> None:
    """The votes do not cover that field: another record named there must not count as lifted."""
    ledger, held, other = opened(tmp_path), made("a", 1), made("a", 7)
    ledger.put(held, 1)
    ledger.lift(replace(lifted(held, 2), previous=other), 2)
    for each in (ledger, reopened(ledger)):
        assert (each.has_lifted(held), each.has_lifted(other)) == (True, False)


def test_the_oldest_restorations_give_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RESTORATIONS", 2)
    monkeypatch.setattr(module, "MAX_SEEN", 2)
    ledger, records = opened(tmp_path), [made(name, epoch) for epoch, name in enumerate("abc", 1)]
    for record in records:
        ledger.put(record, record.epoch)
        ledger.lift(lifted(record, record.epoch), record.epoch)
    assert [ledger.has_lifted(record) for record in records] == [False, True, True]
    assert [ledger.has_seen(record) for record in records] == [False, True, True]
