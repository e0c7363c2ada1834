"""What was kept while the store was away is carried out as soon as it answers, once, whoever kept it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from killswitch import Switch, Target
from killswitch.revocations import Request
from killswitch.storage.journal import Journal
from monitor.kill.journal_drain import JournalDrain, flush
from tests.killswitch.conftest import Server, until

pytestmark = pytest.mark.redis
WHY = {"reason": "it pays strangers", "by": "alice"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "valkey")
    yield server
    server.close()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def agent(name: str) -> Target:
    return Target("agent", name)


def kept(journal: Journal, name: str, change_id: str, **fields: object) -> None:
    journal.add(Request(target=agent(name), change_id=change_id, **{"kind": "revoke", **WHY, **fields}))  # type: ignore[arg-type]


def revoked(switch: Switch) -> dict[str, str]:
    return {target.value: record.level for target, record in switch.snapshot().revocations.items()}


def test_a_kill_while_the_store_is_away_is_pending_and_carried_out_when_it_is_back(
    server: Server, journal: Journal
) -> None:
    with (
        Switch(server.url, timeout_s=0.3, journal=journal) as switch,
        JournalDrain(journal, switch) as drain,
    ):
        server.kill()
        outcome = switch.revoke(agent("billing-bot"), **WHY)
        assert outcome.pending
        assert drain.pending() == 1
        drain.wake()
        server.start()
        until(lambda: not drain.pending(), 30)
        assert revoked(switch) == {"billing-bot": "revoke"}
        (record,) = switch.snapshot().revocations.values()
        assert (record.change_id, record.reason, record.by) == (outcome.change_id, *WHY.values())


def test_what_another_process_keeps_is_found(server: Server, journal: Journal) -> None:
    with Switch(server.url) as switch, JournalDrain(journal, switch) as drain:
        kept(Journal(journal.directory), "billing-bot", "c-1")
        until(lambda: not drain.pending())
        assert revoked(switch) == {"billing-bot": "revoke"}


def test_a_kill_that_was_carried_out_before_and_lifted_since_is_not_repeated(
    server: Server, journal: Journal
) -> None:
    """The process that drained it died before it could take it out."""
    with Switch(server.url) as switch:
        switch.revoke(agent("billing-bot"), change_id="c-1", **WHY)
        switch.restore(agent("billing-bot"), **WHY)
        kept(journal, "billing-bot", "c-1")
        assert len(flush(journal, switch).applied) == 1
        assert revoked(switch) == {}
        assert not journal.pending()


def test_a_suspension_that_is_over_is_dropped_and_said(
    server: Server, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    kept(journal, "a", "c-1", kind="suspend", expires_at_s=1000.0)
    kept(journal, "b", "c-2", kind="suspend", expires_at_s=time.time() + 600)
    with Switch(server.url) as switch, JournalDrain(journal, switch) as drain:
        until(lambda: not drain.pending())
        assert revoked(switch) == {"b": "suspend"}
    assert "agent:a is dropped" in caplog.text


def test_a_change_id_that_means_something_else_is_set_aside_and_holds_nobody_up(
    server: Server, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    with Switch(server.url) as switch:
        switch.revoke(agent("other"), change_id="c-1", **WHY)
        kept(journal, "a", "c-1")
        kept(journal, "b", "c-2")
        with JournalDrain(journal, switch) as drain:
            until(lambda: not drain.pending())
        assert set(revoked(switch)) == {"other", "b"}
    assert journal.damaged == 1
    assert "can never be carried out" in caplog.text


def test_a_store_that_stays_away_is_said_once_a_minute(
    tmp_path: Path, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    kept(journal, "a", "c-1")
    with (
        caplog.at_level(logging.ERROR),
        Switch(f"unix://{tmp_path}/nothing", timeout_s=0.05, journal=journal) as switch,
        JournalDrain(journal, switch) as drain,
    ):
        until(lambda: "1 kept kills wait" in caplog.text)
        for _ in range(3):
            drain.wake()
        until(lambda: drain.pending() == 1)
    assert caplog.text.count("kept kills wait") == 1
    assert len(journal.pending()) == 1


def test_a_journal_that_cannot_be_read_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with Switch("redis://127.0.0.1:1") as switch, JournalDrain(Journal(tmp_path / "file"), switch) as drain:
        until(lambda: "cannot look into the journal" in caplog.text)
        assert drain.pending() == 0
