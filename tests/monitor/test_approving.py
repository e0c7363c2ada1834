"""Keys, petitions and votes on the command line, against a real store and a real enforcement point."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from benchmarks.faults import Server
from killswitch import Guard, Keyring, Petition, PublicKey, Refused, Signer, Switch, Target
from killswitch.storage.journal import Journal
from killswitch.storage.links import Link
from killswitch.trust.petitions import Petitions
from monitor.cli.asking import shown
from monitor.cli.main import main
from monitor.kill.keys import keyring_file, open_keys
from monitor.state_dir import Address, StateDir
from tests.killswitch.conftest import until

AGENT = Target("agent", "billing-bot")
WHY = ("--reason", "a false alarm")


class Office:
    """A state directory as a daemon leaves it, its store, and what people type."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory, self.url = directory, url
        self.state = StateDir(directory / "state")
        self.state.announce(Address("http://127.0.0.1:9", url, os.getpid()))
        self.keys = open_keys(self.state)
        self.daemon_key = str(self.state.path / "daemon.key")
        with self.switch() as switch:
            switch.mend(lambda snapshot: ())

    def switch(self) -> Switch:
        return Switch(self.url, signer=self.keys.signer, keyring=Keyring.load(keyring_file(self.state)))

    def run(self, *words: str) -> int:
        return main([*words, "--state", str(self.state.path)])

    def key(self, name: str) -> str:
        return str(self.directory / f"{name}.key")

    def line(self, name: str, role: Any = "operator") -> str:
        """Make a key for somebody and return the line that `keys new` prints."""
        if not Path(self.key(name)).exists():
            assert main(["keys", "new", name, "--role", role, "--out", self.key(name)]) == 0
        return PublicKey.of(Signer.load(Path(self.key(name))), role).line()

    def propose(self, *words: str) -> str:
        out = self.directory / "next.json"
        out.unlink(missing_ok=True)
        assert self.run("keys", "propose", *words, "--out", str(out)) == 0
        return str(out)

    def enrol(self, *names: str) -> None:
        """Put operators, and a recovery key, on the fresh keyring; two of the operators must agree from then on."""
        added = [word for name in names for word in ("--add", self.line(name))]
        out = self.propose(*added, "--add", self.line("safe", "recovery"))
        assert self.run("keys", "sign", out, "--key", self.daemon_key) == 0
        assert self.run("keys", "publish", out) == 0

    def kill(self, target: Target = AGENT) -> str:
        with self.switch() as switch:
            return switch.revoke(target, reason="sends money", by="policy").change_id

    def is_stopped(self, target: Target = AGENT) -> bool:
        with self.switch() as switch:
            return target in switch.snapshot().revocations

    def petitions(self) -> list[Petition]:
        with closing(Link(self.url, timeout_s=2.0)) as link:
            return [found.petition for found in Petitions(link, "killcord:petitions").all(time.time())]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("valkey"))
    yield server
    server.close()


@pytest.fixture
def office(server: Server, tmp_path: Path) -> Office:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    return Office(tmp_path, server.url)


@pytest.fixture
def strict(office: Office, capsys: pytest.CaptureFixture[str]) -> Office:
    """An office in which two of three operators must agree."""
    office.enrol("alice", "bob", "carol")
    capsys.readouterr()
    return office


@pytest.fixture
def guard(office: Office) -> Iterator[Guard]:
    """A point that was given the first keyring and follows from there."""
    with Guard.connect(office.url, keyring=office.keys.keyring) as guard:
        yield guard


def is_allowed(guard: Guard) -> bool:
    try:
        guard.check(agent="billing-bot")
    except Refused:
        return False
    return True


Said = Callable[[], Any]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What was printed last on standard output, as JSON."""
    return lambda: json.loads(capsys.readouterr().out.splitlines()[-1])


# Restoring


def test_while_nobody_is_enrolled_restoring_takes_no_key(office: Office, guard: Guard) -> None:
    office.kill()
    assert office.run("restore", "agent:billing-bot", *WHY) == 0
    until(lambda: is_allowed(guard))
    assert office.petitions() == []


def test_two_people_restore_and_the_point_believes_them(strict: Office, guard: Guard, said: Said) -> None:
    strict.kill()
    until(lambda: not is_allowed(guard))
    assert strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.key("alice"), "--json") == 1
    waiting = said()
    assert (waiting["agreed"], waiting["missing"], waiting["applied"]) == (["alice"], 1, False)
    assert not is_allowed(guard)
    assert strict.run("approve", waiting["petition"], "--key", strict.key("bob"), "--json") == 0
    assert said()["applied"]
    until(lambda: is_allowed(guard))
    assert strict.petitions() == []


def test_restoring_the_same_target_agrees_to_the_open_petition(strict: Office) -> None:
    strict.kill()
    assert strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.key("alice")) == 1
    assert strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.key("alice")) == 1
    assert len(strict.petitions()) == 1
    assert strict.run("restore", "agent:billing-bot", "--reason", "x", "--key", strict.key("bob")) in (0, 1)
    assert not strict.is_stopped()


def test_the_next_person_is_told_what_to_type(strict: Office, capsys: pytest.CaptureFixture[str]) -> None:
    strict.kill()
    assert strict.run("restore", "agent:billing-bot", *WHY) == 1
    told = capsys.readouterr()
    (petition,) = strict.petitions()
    assert f"killcord approve {petition.id} --key FILE" in told.err
    assert "nobody yet; 2 more needed" in told.out
    assert "sends money" in told.out


def test_the_daemon_s_key_alone_restores_nothing_once_people_are_enrolled(strict: Office) -> None:
    strict.kill()
    assert strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.daemon_key) == 1
    assert strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.key("alice")) == 1
    assert strict.is_stopped()


def test_the_recovery_key_restores_alone(strict: Office, guard: Guard) -> None:
    strict.kill()
    until(lambda: not is_allowed(guard))
    assert strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.key("safe")) == 0
    until(lambda: is_allowed(guard))


def test_what_is_not_stopped_needs_nobody(strict: Office, said: Said) -> None:
    strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.key("alice"), "--json")
    assert "nothing to restore" in said()["note"]
    assert strict.petitions() == []


def test_a_stranger_s_vote_is_refused_and_leaves_nothing(
    strict: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    strict.kill()
    strict.line("mallory")
    assert strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.key("mallory")) == 1
    assert "not on the keyring" in capsys.readouterr().err
    assert strict.petitions() == []


def test_a_key_without_a_keyring_says_what_to_name(
    office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    office.line("alice")
    elsewhere = ("--redis", office.url, "--state", str(tmp_path / "none"))
    words = ["restore", "agent:billing-bot", *WHY, "--key", office.key("alice"), *elsewhere]
    assert main(words) == 2
    assert "--keyring" in capsys.readouterr().err


def test_people_vote_from_elsewhere_with_the_first_keyring(
    strict: Office, tmp_path: Path, said: Said
) -> None:
    first = tmp_path / "first.json"
    assert strict.keys.keyring is not None
    first.write_bytes(strict.keys.keyring.encode())
    there = ("--redis", strict.url, "--keyring", str(first), "--state", str(tmp_path / "none"), "--json")
    strict.kill()
    assert main(["restore", "agent:billing-bot", *WHY, "--key", strict.key("alice"), *there]) == 1
    petition = said()["petition"]
    assert main(["approve", petition, "--key", strict.key("carol"), *there]) == 0
    assert not strict.is_stopped()


# Approving


def test_petitions_are_listed_and_shown(
    strict: Office, said: Said, capsys: pytest.CaptureFixture[str]
) -> None:
    assert strict.run("approve", "--list") == 0
    assert "no petition is open" in capsys.readouterr().out
    strict.kill()
    strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.key("alice"), "--by", "alice@desk")
    capsys.readouterr()
    assert strict.run("approve", "--list", "--json") == 0
    (listed,) = said()
    assert (listed["target"], listed["by"], listed["reason"]) == ("agent:billing-bot", "alice@desk", WHY[1])
    assert strict.run("approve", listed["petition"]) == 0
    assert "alice (operator," in capsys.readouterr().out
    assert strict.is_stopped()


def test_a_petition_for_what_was_killed_again_is_dropped(strict: Office, said: Said) -> None:
    strict.kill()
    strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.key("alice"), "--json")
    petition = said()["petition"]
    strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.key("safe"))
    strict.kill()
    with closing(Link(strict.url, timeout_s=2.0)) as link:
        kept = replace(
            Petition.open(AGENT, "an-old-record", reason="r", by="b", now_s=time.time()), id=petition
        )
        Petitions(link, "killcord:petitions").add(kept, time.time())
    assert strict.run("approve", petition, "--key", strict.key("bob")) == 1
    assert strict.is_stopped()
    assert strict.petitions() == []


def test_an_unknown_petition_is_a_usage_error(strict: Office) -> None:
    assert strict.run("approve", "nope", "--key", strict.key("bob")) == 2
    assert strict.run("approve") == 2


def test_words_from_the_store_cannot_move_the_cursor(
    strict: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    record = strict.kill()
    nasty = Petition.open(AGENT, record, reason="\x1b[2Jtrust\u202eme", by="b\r", now_s=time.time())
    with closing(Link(strict.url, timeout_s=2.0)) as link:
        Petitions(link, "killcord:petitions").add(replace(nasty, id="$(halt)"), time.time())
    strict.run("approve", "--list")
    listed = capsys.readouterr().out
    assert not set(listed) & {"\x1b", "\u202e", "\r"}
    strict.run("approve", "$(halt)")
    assert "killcord approve '$(halt)'" in capsys.readouterr().err
    assert shown("plain é words") == "plain é words"


# The keyring


def test_the_keyring_is_shown(strict: Office, said: Said, capsys: pytest.CaptureFixture[str]) -> None:
    assert strict.run("keys", "show", "--json") == 0
    keyring = said()
    assert (keyring["version"], keyring["quorum"]) == (2, {"*": 2})
    assert [key["role"] for key in keyring["keys"]] == [
        "operator",
        "operator",
        "operator",
        "daemon",
        "recovery",
    ]
    strict.run("keys", "show")
    assert "version 2, quorum *=2" in capsys.readouterr().out


def test_a_new_key_is_private_and_its_line_adds_it(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "new", "alice", "--out", office.key("alice")]) == 0
    line = capsys.readouterr().out.strip()
    assert line == office.line("alice")
    assert Path(office.key("alice")).stat().st_mode & 0o077 == 0
    assert main(["keys", "new", "alice", "--out", office.key("alice")]) == 1
    out = office.propose("--add", line)
    told = capsys.readouterr().out
    assert f"adds    {line}" in told
    assert "no recovery key" in told
    assert "quorum  *=0 -> *=1" in told
    assert Path(out).exists()


def test_a_keyring_that_too_few_have_signed_is_not_published(
    strict: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    out = strict.propose("--remove", "carol", "--quorum", "1")
    strict.run("keys", "sign", out, "--key", strict.key("alice"))
    assert strict.run("keys", "publish", out) == 1
    assert "needs 1 more operator" in capsys.readouterr().err
    strict.run("keys", "sign", out, "--key", strict.key("bob"))
    assert strict.run("keys", "publish", out) == 0
    assert Keyring.load(keyring_file(strict.state)).version == 3


def test_a_removed_key_votes_no_more(strict: Office, guard: Guard) -> None:
    out = strict.propose("--remove", "carol")
    for name in ("alice", "bob"):
        strict.run("keys", "sign", out, "--key", strict.key(name))
    assert strict.run("keys", "publish", out) == 0
    strict.kill()
    assert strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.key("carol")) == 1
    until(lambda: guard.status().keyring == 3)


def test_only_keys_in_force_sign_the_next(strict: Office, capsys: pytest.CaptureFixture[str]) -> None:
    out = strict.propose("--add", strict.line("dave"))
    assert strict.run("keys", "sign", out, "--key", strict.key("dave")) == 1
    assert "would not count" in capsys.readouterr().err
    assert b"dave" in Path(out).read_bytes().splitlines()[0]
    assert len(Path(out).read_bytes().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--remove", "nobody"), 2),
        (("--quorum", "many"), 2),
        (("--quorum", "*="), 2),
        (("--quorum", "fleet=-1"), 2),
        (("--quorum", "4"), 1),
        (("--remove", "alice", "--remove", "bob"), 1),
        (("--add", "rubbish"), 1),
    ],
)
def test_a_proposal_that_could_not_work_is_refused(
    strict: Office, words: tuple[str, ...], status: int
) -> None:
    out = strict.directory / "bad.json"
    assert strict.run("keys", "propose", *words, "--out", str(out)) == status
    assert not out.exists()


def test_a_kind_gets_a_quorum_of_its_own_and_loses_it_again(strict: Office, said: Said) -> None:
    for words, quorum in (
        (("fleet=3", "session=1"), {"*": 2, "fleet": 3, "session": 1}),
        (("fleet=",), None),
    ):
        out = strict.propose(*(word for text in words for word in ("--quorum", text)))
        for name in ("alice", "bob", "carol"):
            strict.run("keys", "sign", out, "--key", strict.key(name))
        assert strict.run("keys", "publish", out) == 0
        strict.run("keys", "show", "--json")
        assert said()["quorum"] == (quorum or {"*": 2, "session": 1})


def test_keyrings_are_handed_out_again_when_the_store_lost_them(strict: Office, server: Server) -> None:
    out = strict.propose("--quorum", "1")
    for name in ("alice", "bob"):
        strict.run("keys", "sign", out, "--key", strict.key(name))
    assert strict.run("keys", "publish", out) == 0
    with redis.Redis.from_url(server.url) as client:
        client.delete("killcord:keyrings")
        assert strict.run("keys", "publish", out) == 0  # the one in force
        assert client.hkeys("killcord:keyrings") == [b"3"]
        assert strict.run("keys", "publish") == 0
    with Switch(strict.url, keyring=strict.keys.keyring) as switch:
        latest = switch.latest_keyring()
        assert latest is not None
        assert latest.version == 3


def test_there_is_nothing_to_hand_out_again_before_the_first(office: Office) -> None:
    assert office.run("keys", "publish") == 2


def test_files_that_are_none_are_named(strict: Office, capsys: pytest.CaptureFixture[str]) -> None:
    junk = strict.directory / "junk"
    junk.write_text("junk")
    assert strict.run("keys", "publish", str(junk)) == 1
    assert strict.run("keys", "sign", str(strict.directory / "missing"), "--key", strict.key("alice")) == 2
    assert strict.run("keys", "propose", "--out", str(strict.directory / "no" / "where")) == 2
    told = capsys.readouterr().err
    assert all(name in told for name in ("junk", "missing", "where"))


# Killing


def test_a_key_that_cannot_be_used_is_not_in_the_way_of_a_kill(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    keyring_file(office.state).write_text("damaged")
    office.run("kill", "agent:billing-bot", *WHY)
    assert "without a signature" in capsys.readouterr().err
    with Switch(office.url) as switch:
        assert AGENT in switch.snapshot().revocations


def test_a_kill_is_kept_while_the_store_is_away(tmp_path: Path, said: Said) -> None:
    state = StateDir(tmp_path / "state")
    state.announce(Address("http://127.0.0.1:9", "redis://127.0.0.1:1", os.getpid()))
    assert main(["kill", "agent:billing-bot", *WHY, "--state", str(state.path), "--json"]) == 1
    assert said()["pending"]
    assert [entry.request.target for entry in Journal(state.path / "journal").pending()] == [AGENT]


def test_a_kill_elsewhere_is_not_kept_in_this_daemon_s_journal(office: Office) -> None:
    assert office.run("kill", "agent:billing-bot", *WHY, "--redis", "redis://127.0.0.1:1") == 3
    assert list(Journal(office.state.path / "journal").pending()) == []


FLEET = ("kill", "fleet", *WHY)


def test_the_fleet_is_stopped_only_when_it_is_meant(office: Office) -> None:
    with open(os.devnull) as nothing:
        ran = subprocess.run(
            [sys.executable, "-m", "monitor.cli", *FLEET, "--state", str(office.state.path)],
            stdin=nothing, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert (ran.returncode, "--confirm fleet" in ran.stderr) == (2, True)
    assert not office.is_stopped(Target("fleet"))
    assert office.run(*FLEET, "--confirm", "flett") == 2
    office.run(*FLEET, "--confirm", "fleet")
    assert office.is_stopped(Target("fleet"))


def typed(office: Office, answer: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a terminal on which `answer` is typed."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode() + b"\n")
        return subprocess.run(
            [sys.executable, "-m", "monitor.cli", *words, "--state", str(office.state.path)],
            stdin=theirs, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)


def test_on_a_terminal_the_word_fleet_has_to_be_typed(office: Office) -> None:
    assert typed(office, "yes", *FLEET).returncode == 2
    assert not office.is_stopped(Target("fleet"))
    typed(office, "fleet", *FLEET)
    assert office.is_stopped(Target("fleet"))


def test_on_a_terminal_people_see_what_they_agree_to(strict: Office, said: Said) -> None:
    strict.kill()
    strict.run("restore", "agent:billing-bot", *WHY, "--key", strict.key("alice"), "--json")
    words = ("approve", said()["petition"], "--key", strict.key("bob"))
    declined = typed(strict, "no", *words)
    assert declined.returncode == 1
    assert "restore agent:billing-bot" in declined.stdout
    assert "Agree to restore agent:billing-bot as bob?" in declined.stderr
    assert strict.is_stopped()
    typed(strict, "yes", *words)
    assert not strict.is_stopped()


def test_on_a_terminal_people_see_the_keyring_they_sign(strict: Office) -> None:
    out = strict.propose("--quorum", "1")
    words = ("keys", "sign", out, "--key", strict.key("alice"))
    declined = typed(strict, "no", *words)
    assert (declined.returncode, "quorum  *=2 -> *=1" in declined.stdout) == (1, True)
    assert len(Path(out).read_bytes().splitlines()) == 1
    assert typed(strict, "yes", *words).returncode == 0
    assert len(Path(out).read_bytes().splitlines()) == 2
