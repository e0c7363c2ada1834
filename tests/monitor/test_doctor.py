"""What the doctor says of each thing that is broken, with no daemon running: files are damaged for real."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from killswitch import Keyring, PublicKey, Signer, Target
from killswitch.drills.drill_record import Drill
from killswitch.revocations import Request
from killswitch.storage.journal import Journal
from monitor.config import Config, load_config
from monitor.doctor import access, configuration, kills, logs, places, process, runtime
from monitor.doctor.checks import CHECKS
from monitor.doctor.examination import examine
from monitor.doctor.finding import Check, Finding, ok
from monitor.doctor.installation import Installation
from monitor.engines.state_format import fingerprint
from monitor.intake.dead_letters import DeadLetter, DeadLetters
from monitor.kill.drill_log import DrillLog
from monitor.kill.keys import keep_keyring, open_keys
from monitor.log.checkpoint import Checkpoint, write_checkpoint
from monitor.log.segments import Record, SegmentedLog
from monitor.state_dir import Address, StateDir, write_private
from tests.monitor.daemons import mint_token

GONE = 2**22 + 1  # above the largest process id that Linux gives


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory as a stopped daemon leaves it, without the detectors' work in it."""
    made = StateDir(tmp_path / "state")
    made.secret()
    open_keys(made)
    for name in ("log", "feed", "audit"):
        log = SegmentedLog(made.path / name, segment_bytes=64 * 1024)
        for number in range(20):
            log.append(Record(f"entry {number} ".encode() * 1000))
        log.sync()
        log.close()
    return made.path


@pytest.fixture
def installation(state: Path) -> Installation:
    return Installation(state)


def assert_says(finding: Finding, status: str, *words: str) -> None:
    text = f"{finding.found} → {finding.advice}"
    assert finding.status == status, text
    assert all(word in text for word in words), text
    assert bool(finding.advice) == (status in ("warn", "fail")), "who is told of a problem is told what to do"


# -- the whole ------------------------------------------------------------------------------------------------------


def test_a_sound_installation_fails_only_for_want_of_a_daemon(installation: Installation) -> None:
    found = {
        each.check.name: each.finding for each in examine(CHECKS, installation) if each.check.name != "port"
    }
    assert {name for name, finding in found.items() if finding.status == "fail"} == {"daemon"}
    for finding in found.values():
        assert_says(finding, finding.status)


def test_names_are_unique_and_every_check_asks_something() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.question.endswith("?") for check in CHECKS)


def test_every_check_is_in_the_documentation() -> None:
    written = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    rows = "".join(f"| `{check.name}` | {check.question} |\n" for check in CHECKS)
    assert written.endswith(rows)


def test_nothing_is_written(state: Path, installation: Installation) -> None:
    def picture() -> dict[str, tuple[int, int, int]]:
        return {
            str(path): (found.st_mtime_ns, found.st_size, found.st_mode)
            for path in [state, *state.rglob("*")]
            if (found := path.lstat())
        }

    Journal(state / "journal").add(request())
    (state / "journal" / f"{time.time_ns():020d}-{'0' * 32}.json").write_text("no request")
    before = picture()
    list(examine(CHECKS, installation))
    assert picture() == before, "a kept kill that is damaged is not even set aside"


def test_a_check_that_breaks_is_a_finding_and_ends_no_other(installation: Installation) -> None:
    def breaks(_: Installation) -> Finding:
        raise RuntimeError("no such thing")

    checks = (Check("a", "?", breaks), Check("b", "?", lambda _: ok("fine")))
    first, second = (each.finding for each in examine(checks, installation))
    assert_says(first, "fail", "RuntimeError", "no such thing")
    assert second.status == "ok"


def test_a_check_that_hangs_is_left_behind(installation: Installation) -> None:
    never = threading.Event()

    def hangs(_: Installation) -> Finding:
        never.wait(30)
        return ok("at last")

    (only,) = examine([Check("a", "?", hangs)], installation, timeout_s=0.05)
    never.set()
    assert_says(only.finding, "fail", "no answer within 0.05 s")


# -- the daemon -----------------------------------------------------------------------------------------------------


def announced(state: Path, url: str = "http://127.0.0.1:1", pid: int = GONE) -> Installation:
    StateDir(state).announce(Address(url, f"unix://{state}/nothing", pid))
    return Installation(state)


def test_a_daemon_that_was_stopped_is_to_be_started(installation: Installation) -> None:
    assert_says(process.daemon(installation), "fail", "no daemon runs", "killcord up --state")


def test_a_daemon_that_was_killed_is_gone(state: Path) -> None:
    assert_says(process.daemon(announced(state)), "fail", f"process {GONE}", "gone", "killcord up")


def test_a_damaged_announcement_is_told(state: Path) -> None:
    (state / "daemon.json").write_text("{")
    assert_says(process.daemon(Installation(state)), "fail", "cannot be read", "delete")
    assert process.answers(Installation(state)).status == "skipped"


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_another_program_under_the_daemons_number_is_not_the_daemon(state: Path, tmp_path: Path) -> None:
    import subprocess

    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as other:
        try:
            assert_says(process.daemon(announced(state, pid=other.pid)), "fail", "another program")
        finally:
            other.kill()


def test_a_daemon_that_does_not_answer_is_told(state: Path) -> None:
    installation = announced(state, pid=os.getpid())
    assert_says(process.answers(installation), "fail", "does not answer", "killcord kill works without it")
    assert process.ready(installation).status == "skipped"


def test_a_port_that_somebody_else_has_is_told(state: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = tmp_path / "killcord.toml"
        config.write_text(f"[server]\nport = {taken.getsockname()[1]}\n")
        assert_says(process.port(Installation(state, config)), "fail", "cannot be had", "--port")
    assert process.port(Installation(state, config)).status == "ok"


# -- the state directory --------------------------------------------------------------------------------------------


def test_a_directory_that_others_may_enter_is_told(state: Path, installation: Installation) -> None:
    assert places.state_directory(installation).status == "ok"
    state.chmod(0o755)
    assert_says(places.state_directory(installation), "fail", "755", "chmod 700")


@pytest.mark.parametrize("name", ["secret", "daemon.key"])
def test_a_secret_that_others_may_read_is_told(state: Path, installation: Installation, name: str) -> None:
    assert places.secrets(installation).status == "ok"
    (state / name).chmod(0o644)
    assert_says(places.secrets(installation), "fail", name, "chmod 600")


def test_a_secret_that_was_cut_is_told(state: Path, installation: Installation) -> None:
    write_private(state / "secret", b"short")
    assert_says(places.secrets(installation), "fail", "5 bytes", "copy")
    (state / "secret").unlink()
    assert_says(places.secrets(installation), "warn", "no", "bring it back")


def test_a_disk_that_fills_up_is_told(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage(installation.state)
    assert places.disk_space(installation).status in ("ok", "warn", "fail")
    for free, status in ((10**11, "ok"), (10**9, "warn"), (10**8, "fail")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, left=free: real._replace(free=left))
        assert places.disk_space(installation).status == status


def test_the_disk_is_timed_and_nothing_is_left_on_it(installation: Installation) -> None:
    finding = places.sync_latency(installation)
    assert finding.status == "skipped" or "ms" in finding.found


# -- the configuration ----------------------------------------------------------------------------------------------


def configured(state: Path, text: str) -> Installation:
    file = state.with_suffix(".toml")
    file.write_text(text)
    return Installation(state, file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nprot = 1\n", "server.prot"),
        ("[server\n", "not TOML"),
        ("[server]\nport = -1\n", "server.port"),
    ],
)
def test_a_wrong_configuration_names_the_key(state: Path, text: str, words: str) -> None:
    assert_says(configuration.config_file(configured(state, text)), "fail", words, "does not start")


def test_a_configuration_that_is_not_there_is_told(state: Path) -> None:
    assert_says(configuration.config_file(Installation(state, state / "no.toml")), "fail", "no.toml")
    assert configuration.config_file(Installation(state)).status == "skipped"


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("", "ok", "no value"),
        ('[server]\nhost = "127.0.0.2"\n', "ok", "no value"),
        ('[server]\nhost = "::1"\n', "ok", "no value"),
        ('[server]\nhost = "0.0.0.0"\n', "fail", "without TLS"),
        ('[server]\nhost = "killcord.example"\n', "fail", "without TLS"),
        ('[server]\nallowed_origins = ["*"]\n', "fail", "any web page"),
        ('[killswitch]\nredis_url = "redis://d:p@store.example:6379"\n', "warn", "rediss://"),
        ('[killswitch]\nredis_url = "rediss://d:p@store.example:6379"\n', "ok", "no value"),
        ("[drill]\ninterval_s = 0.0\n", "warn", "drills are turned off"),
        ('[response]\nmode = "observe"\n', "warn", "nobody is told"),
        ('[log]\nstore_args = "full"\n', "warn", "raw arguments"),
        ('[log]\nstore_args = "full"\n[server]\nhost = "0.0.0.0"\n', "fail", "raw arguments"),
    ],
)
def test_values_that_are_allowed_and_dangerous_are_told(
    state: Path, text: str, status: str, words: str
) -> None:
    assert_says(configuration.dangerous_values(configured(state, text)), status, words)


# -- the logs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "check"), [("log", logs.action_log), ("feed", logs.feed_log), ("audit", logs.audit_log)]
)
def test_a_damaged_log_names_the_segment(state: Path, name: str, check: object) -> None:
    assert callable(check)
    assert_says(check(Installation(state)), "ok", "whole (20 entries)")
    oldest = min((state / name).glob("*.seg"))
    content = bytearray(oldest.read_bytes())
    content[200] ^= 1
    oldest.write_bytes(content)
    assert_says(check(Installation(state)), "fail", "damaged", oldest.name, "backup")


def test_a_segment_that_was_taken_away_is_missed(state: Path, installation: Installation) -> None:
    segments = sorted((state / "log").glob("*.seg"))
    assert len(segments) > 2
    segments[1].unlink()
    assert_says(logs.action_log(installation), "fail", "follows")


def test_a_foreign_file_in_the_log_is_told(state: Path, installation: Installation) -> None:
    (state / "log" / "mine.seg").write_text("hello")
    assert_says(logs.action_log(installation), "fail", "mine.seg")


def test_a_torn_tail_is_nothing_until_it_is_cut_and_then_to_be_looked_at(state: Path) -> None:
    newest = max((state / "log").glob("*.seg"))
    newest.write_bytes(newest.read_bytes()[:-10])
    assert logs.action_log(Installation(state)).status == "ok", (
        "a crash does that, and the next start cuts it"
    )
    SegmentedLog(state / "log").close()
    assert_says(logs.action_log(Installation(state)), "warn", "torn", "nothing acknowledged")


# -- the checkpoint -------------------------------------------------------------------------------------------------


def checkpointed(state: Path, config: Config, *, of: str | None = None) -> None:
    import hashlib

    seed = int.from_bytes(hashlib.sha256((state / "secret").read_bytes()).digest()[:8], "little")
    write_checkpoint(state / "checkpoint", Checkpoint(7, of or fingerprint(config, seed), {}))


def test_a_damaged_checkpoint_is_told(state: Path, installation: Installation) -> None:
    checkpointed(state, Config())
    assert_says(logs.checkpoint(installation), "ok", "after entry 7")
    file = state / "checkpoint"
    file.write_bytes(file.read_bytes()[:-1])
    assert_says(logs.checkpoint(installation), "fail", "damaged", "delete it")


def test_models_of_another_version_or_configuration_are_told(state: Path) -> None:
    installation = configured(state, "[detection]\nmax_agents = 100\n")
    checkpointed(state, load_config(installation.config_path))
    assert logs.checkpoint(installation).status == "ok"
    checkpointed(state, Config())
    assert_says(logs.checkpoint(installation), "warn", "another version", "replays")


def test_no_checkpoint_matters_once_there_is_much_to_replay(state: Path, installation: Installation) -> None:
    assert_says(logs.checkpoint(installation), "warn", "no checkpoint", "segments")
    for segment in sorted((state / "log").glob("*.seg"))[1:]:
        segment.unlink()
    assert logs.checkpoint(installation).status == "ok"


# -- what was refused -----------------------------------------------------------------------------------------------


def test_actions_that_are_refused_name_the_usual_field(state: Path, installation: Installation) -> None:
    assert logs.dead_letters(installation).status == "ok"
    letters = DeadLetters(state / "dead-letters.ndjson")
    letters.write([DeadLetter(b"{}", "agent_id", "missing"), *[DeadLetter(b"{}", "ts\x1b[2J", "no")] * 2])
    finding = logs.dead_letters(installation)
    assert_says(finding, "warn", "ts\\x1b[2J", "sensor")
    assert "\x1b" not in finding.found
    long_ago_s = time.time() - 2 * logs.RECENT_S
    os.utime(state / "dead-letters.ndjson", (long_ago_s, long_ago_s))
    assert logs.dead_letters(installation).status == "ok"


# -- who gets in ----------------------------------------------------------------------------------------------------


def test_tokens_that_are_missing_damaged_or_end_soon_are_told(
    state: Path, installation: Installation
) -> None:
    assert_says(access.tokens(installation), "warn", "no sensor", "killcord tokens new")
    mint_token(state, "analyst")
    mint_token(state, "sensor", expires_at_s=time.time() - 1)
    assert_says(access.tokens(installation), "warn", "no sensor")
    mint_token(state, "sensor")
    assert_says(access.tokens(installation), "ok", "1 analyst, 1 sensor")
    mint_token(state, "on-call", expires_at_s=time.time() + 3600)
    assert_says(access.tokens(installation), "warn", "1 tokens end", "the-on-call")
    StateDir(state).token_file.write_text("{")
    assert_says(access.tokens(installation), "fail", "damaged", "copy")


@pytest.mark.parametrize(
    ("days", "status", "words"), [(90, "ok", "90 more"), (3, "warn", "3 more"), (-2, "fail", "ended")]
)
def test_a_certificate_that_ends_is_told(
    state: Path, tmp_path: Path, days: int, status: str, words: str
) -> None:
    ends = datetime.now(UTC) + timedelta(days=days, seconds=60)
    made = trustme.CA().issue_cert("localhost", not_after=ends, not_before=ends - timedelta(days=400))
    made.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    text = f'[server]\ntls_cert = "{tmp_path}/cert.pem"\ntls_key = "{tmp_path}/key.pem"\n'
    finding = access.certificate(configured(state, text))
    assert (finding.status, words in finding.found) == (status, True), finding
    (tmp_path / "key.pem").write_text("none")
    assert_says(access.certificate(configured(state, text)), "fail", "no certificate with its key")


def test_without_tls_there_is_no_certificate_to_look_at(installation: Installation) -> None:
    assert access.certificate(installation).status == "skipped"


# -- kills ----------------------------------------------------------------------------------------------------------


def request() -> Request:
    return Request("revoke", Target("agent", "x"), "now", "me", "c-1")


def test_a_kill_that_waits_without_a_daemon_is_told(state: Path, installation: Installation) -> None:
    assert kills.kept_kills(installation).status == "ok"
    Journal(state / "journal").add(request())
    assert_says(kills.kept_kills(installation), "fail", "1 kills wait", "killcord kill --flush")


def test_a_kill_that_was_set_aside_is_told(state: Path, installation: Installation) -> None:
    journal = Journal(state / "journal")
    journal.set_aside(journal.add(request()))
    assert_says(kills.kept_kills(installation), "fail", "set aside", "by hand")


def drilled(state: Path, *, ago_s: float = 0.0, problem: str = "", inconclusive: str = "") -> None:
    at_s = time.time() - ago_s
    DrillLog(state / "drills.ndjson").add(
        Drill(f"d-{at_s}", "session:x", "me", at_s, 1000.0, "", 1, 1.0, True, (), inconclusive, problem)
    )


def test_what_the_last_drill_showed_is_told(state: Path, installation: Installation) -> None:
    assert_says(kills.last_drill(installation), "warn", "no drill yet", "killcord drill")
    drilled(state, problem="the store lost it")
    assert_says(kills.last_drill(installation), "fail", "the store lost it")
    drilled(state, inconclusive="the fleet is stopped")
    assert_says(kills.last_drill(installation), "warn", "showed nothing", "the fleet is stopped")


def test_keys_that_are_gone_damaged_or_not_counted_are_told(state: Path, installation: Installation) -> None:
    assert_says(kills.keys(installation), "warn", "no operator is enrolled", "killcord keys")
    good = (state / "daemon.key").read_bytes()
    (state / "daemon.key").unlink()
    assert_says(kills.keys(installation), "fail", "no daemon.key", "copy")
    Signer.generate("daemon").save(state / "daemon.key")
    assert_says(kills.keys(installation), "fail", "does not count the daemon's key")
    write_private(state / "daemon.key", good[:20])
    assert_says(kills.keys(installation), "fail", "cannot be used")
    write_private(state / "daemon.key", good)
    (state / "keyring.json").write_text("{}")
    assert_says(kills.keys(installation), "fail", "cannot be used")
    (state / "keyring.json").unlink()
    assert_says(kills.keys(installation), "warn", "no keyring")


@pytest.mark.parametrize("with_recovery", [False, True])
def test_operators_without_a_recovery_key_are_told(state: Path, with_recovery: bool) -> None:
    people = [PublicKey.of(Signer.generate(name), "operator") for name in ("alice", "bob")]
    safe = [PublicKey.of(Signer.generate("safe"), "recovery")] if with_recovery else []
    daemon = PublicKey.of(Signer.load(state / "daemon.key"), "daemon")
    keep_keyring(StateDir(state), Keyring(2, (daemon, *people, *safe), {"*": 2}))
    finding = kills.keys(Installation(state))
    if with_recovery:
        assert_says(finding, "ok", "2 operators", "2 restore an agent")
    else:
        assert_says(finding, "warn", "no recovery key")


# -- the environment ------------------------------------------------------------------------------------------------


def test_packages_that_are_missing_are_told(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runtime.packages(installation).status in ("ok", "warn")
    real = runtime._is_there
    monkeypatch.setattr(runtime, "_is_there", lambda name: name != "numba" and real(name))
    assert_says(runtime.packages(installation), "warn", "300 times slower")
    monkeypatch.setattr(runtime, "_is_there", lambda name: name != "river" and real(name))
    assert_says(runtime.packages(installation), "fail", "river", "killcord[daemon]")


@pytest.fixture(autouse=True)
def writable_again(tmp_path: Path) -> Iterator[None]:
    yield
    if (tmp_path / "state").exists():
        (tmp_path / "state").chmod(0o700)


def test_findings_are_plain_values_for_json(installation: Installation) -> None:
    assert json.loads(json.dumps(kills.keys(installation)._asdict()))["status"] == "warn"
