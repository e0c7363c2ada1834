"""Ways in which other agent kill switches were seen to fail. Ours must not; each failure is one test."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from benchmarks.faults import Server
from killswitch import (
    Approval,
    ApprovalNeeded,
    BadKey,
    Guard,
    InvalidRequest,
    Journal,
    Keyring,
    Petition,
    PublicKey,
    Refused,
    Revoked,
    Signer,
    StepUpRequired,
    StoreUnreachable,
    Switch,
    Target,
    UncheckableAction,
    UnknownRevocation,
    approve,
)
from killswitch.revocations import Request
from killswitch.storage.journal import drain
from killswitch.storage.store import PREFIX
from monitor.config import parse_config
from monitor.core.pipeline import Pipeline
from monitor.errors import ConfigError
from tests.killswitch.conftest import ROOT, Point, refuses, until
from tests.monitor.streams import ENFORCE, START_S, WARM, config, habits, observed, strange, warm

DAEMON, ALICE, BOB = (Signer.generate(name) for name in ("daemon", "alice", "bob"))
KEYRING = Keyring.founding(
    PublicKey.of(DAEMON, "daemon"), (PublicKey.of(ALICE, "operator"), PublicKey.of(BOB, "operator"))
)
WHY: dict[str, Any] = {"reason": "exfiltrates", "by": "alice"}
EVIL = Target("agent", "did:evil")
Connect = Callable[..., Guard]


def test_1_a_revocation_reaches_running_processes_and_is_not_erased_by_the_next_one(
    switch: Switch, url: str, prefix: str, start_point: Callable[..., Point]
) -> None:
    """A list read only at start: not seen by running processes, and overwritten by their next write."""
    running = start_point(url)
    with Switch(url, prefix=prefix) as other:
        other.epoch()
        switch.revoke_and_wait(EVIL, **WHY)
        assert running.check("did:evil").startswith("Revoked")
        other.revoke(Target("agent", "unrelated"), **WHY)
    assert set(switch.snapshot().revocations) == {EVIL, Target("agent", "unrelated")}
    assert running.check("did:evil").startswith("Revoked")


def test_2_a_kill_of_an_agent_that_nobody_knows_is_on_record_and_waits_for_it(
    switch: Switch, url: str, start_point: Callable[..., Point]
) -> None:
    """Killing an unregistered agent counted as a kill, stopped nobody later, and nobody could ask."""
    assert EVIL not in switch.snapshot().revocations
    assert switch.revoke(EVIL, **WHY).changed
    assert switch.snapshot().revocations[EVIL].reason == "exfiltrates"
    assert start_point(url).check("did:evil").startswith("Revoked")


def test_2_the_command_line_kills_in_other_processes(own: Server, tmp_path: Path, connect: Connect) -> None:
    """The command built a switch of its own, to which nobody listened."""
    guard = connect(own.url, prefix=PREFIX)
    assert command("status", str(EVIL), own.url, tmp_path) == 0
    assert command("kill", str(EVIL), own.url, tmp_path, "--reason", "exfiltrates") == 0
    assert refuses(guard, agent="did:evil")
    assert command("status", str(EVIL), own.url, tmp_path) == 1


def test_7_a_kill_by_one_process_stops_every_other_one(
    url: str, prefix: str, start_point: Callable[..., Point]
) -> None:
    """Of 32 tests of a kill switch none had two processes."""
    points = [start_point(url) for _ in range(3)]
    assert [point.check("did:evil") for point in points] == ["allowed"] * 3
    with Writing(url, prefix) as writing:
        assert writing.asked_for() == "done agent:w-0"
        assert {point.check("w-0").split()[0] for point in points} == {"Revoked"}
    assert [point.check("did:evil") for point in points] == ["allowed"] * 3


def test_8_a_kill_while_the_store_is_down_is_not_reported_as_done(own: Server, prefix: str) -> None:
    """The kill was logged, a normal event returned, and forgotten when the store came back."""
    own.kill()
    with Switch(own.url, prefix=prefix, timeout_s=0.3) as switch:
        with pytest.raises(StoreUnreachable) as caught:
            switch.revoke(EVIL, **WHY)
        own.start()
        assert switch.revoke(EVIL, change_id=caught.value.change_id, **WHY).changed


def test_8_a_kill_while_the_store_is_down_is_pending_and_carried_out_when_it_is_back(
    own: Server, prefix: str, connect: Connect, tmp_path: Path
) -> None:
    guard, journal = connect(own.url, lease_s=0.5), Journal(tmp_path / "journal")
    own.kill()
    with Switch(own.url, prefix=prefix, timeout_s=0.3, journal=journal) as switch:
        assert switch.revoke(EVIL, **WHY).pending
        until(lambda: refuses(guard, agent="did:evil"))  # by its lease
        own.start()

        def write(kept: Request) -> None:
            switch.revoke(kept.target, reason=kept.reason, by=kept.by, change_id=kept.change_id)

        assert len(drain(journal, write, now_s=time.time()).applied) == 1
        assert len(journal) == 0
        assert set(switch.snapshot().revocations) == {EVIL}
    until(lambda: not refuses(guard, agent="other"))
    with pytest.raises(Revoked):
        guard.check(agent="did:evil")


def test_9_every_process_knows_why_when_and_by_whom(
    switch: Switch, url: str, connect: Connect, start_point: Callable[..., Point]
) -> None:
    """Other processes saw an empty reason, no time and no audit events."""
    guard, far = connect(), start_point(url)
    switch.revoke_and_wait(EVIL, evidence=("action-1",), **WHY)
    assert far.check("did:evil") == "Revoked agent:did:evil is revoked by alice: exfiltrates (change 1)"
    with pytest.raises(Revoked) as caught:
        guard.check(agent="did:evil")
    record = caught.value.revocation
    assert (record.reason, record.by, record.evidence) == ("exfiltrates", "alice", ("action-1",))
    assert abs(record.at_s - time.time()) < 60
    assert [(change.by, change.reason) for change in switch.changes(0)] == [("alice", "exfiltrates")]


@pytest.mark.parametrize("target", ["human:eve", "delegation:d-2", "tenant:acme", "fleet"])
def test_9_a_kill_reaches_all_that_act_for_what_was_killed(switch: Switch, guard: Guard, target: str) -> None:
    """The tree of sub-agents was empty in other processes: only the parent was stopped."""
    chain: dict[str, Any] = {"tenant": "acme", "human": ["alice", "eve"]}
    switch.revoke_and_wait(Target.parse(target), **WHY)
    for depth in range(2, 5):
        delegation = [f"d-{number}" for number in range(depth + 1)]
        assert refuses(guard, agent=f"sub-{depth}", delegation=delegation, **chain)
    if target != "fleet":
        guard.check(agent="parent", tenant="other", human=["alice"], delegation=["d-0", "d-1"])


def test_10_what_runs_is_stopped_by_the_push_and_not_by_the_next_poll(switch: Switch, guard: Guard) -> None:
    """A group that polled each second cancelled after 547 ms in the median."""
    with guard.watch(agent="did:evil") as watch:
        written_s: list[float] = []
        switch.revoke(EVIL, on_written=lambda outcome: written_s.append(time.monotonic()), **WHY)
        assert watch.wait(5)
        assert watch.refused is not None
    assert written_s


def test_11_a_kill_is_not_evicted_by_junk(
    switch: Switch, url: str, prefix: str, start_point: Callable[..., Point]
) -> None:
    """One signed trigger and 3,000 junk entries in the stream: a worker started later was not frozen."""
    switch.revoke(EVIL, **WHY)
    with redis.Redis.from_url(url) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(3_000):
            pipeline.xadd(f"{prefix}log", {"junk": number}, maxlen=1_000)
        pipeline.execute()
    cold = start_point(url)
    assert cold.check("did:evil").startswith("Revoked")
    assert switch.revoke_and_wait(Target("agent", "next"), **WHY)[1].contained
    assert cold.check("next").startswith("Revoked")


def test_12_without_the_store_nothing_is_allowed(own: Server, connect: Connect, prefix: str) -> None:
    """With the store down `is_frozen()` was False."""
    guard = connect(own.url, lease_s=0.3)
    own.kill()
    until(lambda: refuses(guard, agent="anybody"))
    assert refuses(connect(own.url, wait=False), agent="anybody")
    with pytest.raises(StoreUnreachable):
        Guard.connect(own.url, prefix=prefix, timeout_s=0.2)


def test_12_one_key_under_two_names_is_one_person(own: Server, prefix: str) -> None:
    """One key under two ids met a quorum of two."""
    alice, alias = PublicKey.of(ALICE, "operator"), PublicKey("bob", "operator", ALICE.public)
    with pytest.raises(BadKey):
        Keyring.founding(PublicKey.of(DAEMON, "daemon"), (alice, alias))
    with Switch(own.url, prefix=prefix, signer=DAEMON, keyring=KEYRING) as switch:
        switch.mend(lambda snapshot: ())
        lifts = switch.revoke(EVIL, **WHY).change_id
        with pytest.raises(ApprovalNeeded):
            switch.restore(EVIL, approvals=votes(lifts, ALICE, Signer("bob", ALICE.seed)), **WHY)


def test_12_an_old_restoration_cannot_be_replayed(own: Server, prefix: str, connect: Connect) -> None:
    with Switch(own.url, prefix=prefix, signer=DAEMON, keyring=KEYRING) as switch:
        switch.mend(lambda snapshot: ())
        guard = connect(own.url, keyring=KEYRING)
        approvals = votes(switch.revoke(EVIL, **WHY).change_id, ALICE, BOB)
        assert switch.restore_and_wait(EVIL, approvals=approvals, **WHY)[1].contained
        guard.check(agent="did:evil")
        switch.revoke_and_wait(EVIL, **WHY)
        with pytest.raises(ApprovalNeeded):
            switch.restore(EVIL, approvals=approvals, **WHY)
        with Switch(own.url, prefix=prefix) as intruder:  # may write to the store and asks nobody
            intruder.restore(EVIL, approvals=approvals, **WHY)
            until(lambda: guard.status().epoch >= intruder.epoch())
        assert refuses(guard, agent="did:evil")


def test_13_a_graceful_stop_keeps_the_kill(own: Server, prefix: str, connect: Connect) -> None:
    """Stopping the engine in good order cleared and saved "not blocked"."""
    with Switch(own.url, prefix=prefix) as switch, Guard.connect(own.url, prefix=prefix) as guard:
        switch.revoke(EVIL, **WHY)
        until(lambda: refuses(guard, agent="did:evil"))
    own.stop()
    own.start()
    assert refuses(connect(own.url), agent="did:evil")


def test_14_nothing_waits_for_a_human(switch: Switch, guard: Guard) -> None:
    """The scoring loop awaited the release of a quarantined agent, for ever."""
    learned, pipeline = Pipeline(config()), Pipeline(config(ENFORCE))
    warm(learned)
    pipeline.restore(learned.dump())
    caught = pipeline.step(observed(strange(0, "agent-0", after=WARM)), START_S)
    assert [request.target for request in caught.requests] == ["agent:agent-0"]  # and nobody ever answers it
    switch.revoke_and_wait(Target("agent", "agent-0"), level="step_up", **WHY)
    with pytest.raises(StepUpRequired):
        guard.check(agent="agent-0")
    guard.check(agent="agent-1")
    assert len(pipeline.step(habits(400, first=WARM), START_S).p) == 400


def test_16_a_crash_between_asking_and_answering_loses_nothing_that_was_answered(
    own: Server, prefix: str
) -> None:
    """The message was acknowledged before the action ran, so a crash lost the response."""
    with Writing(own.url, prefix) as writing:
        done = {writing.asked_for() for _ in range(20)}
        writing.kill()
        done |= writing.rest()
    own.kill()
    own.start()
    with Switch(own.url, prefix=prefix) as switch:
        revoked = {f"done {target}" for target in switch.snapshot().revocations}
        changes = [change.change_id for change in switch.changes(0)]
        assert done <= revoked
        assert len(revoked) <= len(done) + 1  # at most one was on its way
        assert len(set(changes)) == len(changes) == len(revoked)


def test_17_no_allow_outlives_the_kill(switch: Switch, guard: Guard) -> None:
    """A cached "allow" was good for its time to live."""
    for _ in range(1_000):
        guard.check(agent="did:evil", session="s", tool="t")
    switch.revoke_and_wait(EVIL, **WHY)
    with pytest.raises(Revoked):
        guard.check(agent="did:evil", session="s", tool="t")


@pytest.mark.parametrize("names", [{"service": "x"}, {"agent": "a", "workload": "w"}, {"agents": ["a"]}])
def test_18_a_new_kind_of_principal_does_not_slip_through(guard: Guard, names: dict[str, Any]) -> None:
    """A kind the switch did not support fell into "unsupported: continue"."""
    with pytest.raises(UncheckableAction) as caught:
        guard.check(**names)
    assert isinstance(caught.value, Refused)


def test_18_a_revocation_of_a_new_kind_is_not_ignored(
    switch: Switch, connect: Connect, url: str, prefix: str
) -> None:
    guard = connect(lease_s=0.5)
    later = {
        "v": 1, "target": "workload:w", "level": "revoke", "reason": "r", "by": "b", "at_s": 1.0,
        "expires_at_s": None, "change_id": "c", "epoch": 1,
    }  # fmt: skip
    with redis.Redis.from_url(url) as client:
        pipeline = client.pipeline()
        pipeline.hset(f"{prefix}state", "workload:w", json.dumps(later))
        pipeline.set(f"{prefix}epoch", 1)
        pipeline.publish(
            f"{prefix}changes", json.dumps({**later, "kind": "revoke", "previous": None, "new": later})
        )
        pipeline.execute()
    until(lambda: refuses(guard, agent="anybody"))
    with pytest.raises(UnknownRevocation, match="workload"):
        guard.check(agent="anybody")


def test_18_revoking_reaches_the_credentials_that_were_minted(switch: Switch, guard: Guard) -> None:
    """A revocation did not reach the keys that the agent had minted for others."""
    minted: dict[str, Any] = {"credential": "minted", "delegation": ["root", "by-did:evil", "leaf"]}
    guard.check(agent="child", **minted)
    switch.revoke_and_wait(Target("delegation", "by-did:evil"), **WHY)
    assert refuses(guard, agent="child", **minted)
    assert refuses(
        guard, credential="minted-by-the-child", delegation=["root", "by-did:evil", "leaf", "below"]
    )
    guard.check(agent="child", credential="its-own", delegation=["root"])


def test_18_immediate_is_the_default(url: str, prefix: str, connect: Connect) -> None:
    """ "Immediate" revocation had to be opted in to."""
    guard = connect()
    with Switch(url, prefix=prefix) as switch:
        written_s: list[float] = []
        switch.revoke(EVIL, on_written=lambda outcome: written_s.append(time.monotonic()), **WHY)
        until(lambda: refuses(guard, agent="did:evil"))
    assert guard.status().lease_remaining_s > 0  # it was told, and did not merely run out of time
    with pytest.raises(Revoked):
        guard.check(agent="did:evil")


@pytest.mark.parametrize("name", ["fail_open", "fail_closed", "on_error", "on_unknown", "strict"])
def test_18_no_setting_makes_a_point_allow_when_in_doubt(url: str, prefix: str, name: str) -> None:
    """A flag "fail closed" was read and then dropped. There is no flag, and one that is given is an error."""
    options: dict[str, Any] = {name: False}
    with pytest.raises(TypeError, match=name):
        Guard.connect(url, prefix=prefix, **options)
    with pytest.raises(ConfigError, match=name):
        parse_config(f"[killswitch]\n{name} = false\n")


@pytest.mark.parametrize("lease_s", [0.0, -1.0, 3601.0, float("inf"), float("nan")])
def test_18_the_lease_cannot_be_switched_off(url: str, prefix: str, lease_s: float) -> None:
    with pytest.raises(InvalidRequest, match="lease_s"):
        Guard.connect(url, prefix=prefix, lease_s=lease_s)


def test_what_users_ask_for_one_can_ask_who_would_honour_a_kill_now(
    switch: Switch, url: str, start_point: Callable[..., Point]
) -> None:
    """ "The switch reports at runtime whether it can still halt, between drills." """
    start_point(url, 0.5)
    gone = start_point(url, 0.5)
    assert [point.live for point in switch.points()] == [True, True]
    gone.close()
    until(lambda: [point.live for point in switch.points()] == [True, False])


# -- what the tests above ask with ----------------------------------------------------------------------------------


class Writing:
    """A process that revokes one agent after the other and says ``done agent:w-N`` when the switch has answered."""

    PROGRAM = """
import itertools, sys
from killswitch import Switch, Target
switch = Switch(sys.argv[1], prefix=sys.argv[2])
for number in itertools.count():
    target = Target("agent", f"w-{number}")
    if switch.revoke(target, reason="exfiltrates", by="alice").durable:
        print("done", target, flush=True)
"""

    def __init__(self, url: str, prefix: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM, url, prefix], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.communicate()

    def asked_for(self) -> str:
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()

    def rest(self) -> set[str]:
        """What it had still said when it was killed; a line that is cut off was not said."""
        return {line.strip() for line in self._process.stdout if line.endswith("\n")}


def command(name: str, target: str, url: str, state: Path, *more: str) -> int:
    """The exit status of a ``killcord`` command."""
    line = [sys.executable, "-m", "monitor.cli", name, target, "--redis", url, "--state", str(state), *more]
    return subprocess.run(line, cwd=ROOT, capture_output=True, timeout=60, check=False).returncode


def votes(lifts: str, *signers: Signer) -> tuple[Approval, ...]:
    petition = Petition.open(EVIL, lifts, reason="fixed", by="alice", now_s=time.time())
    return tuple(approve(petition, signer, time.time()) for signer in signers)
