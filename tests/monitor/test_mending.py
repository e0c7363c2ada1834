"""What the store should hold: any kill wins, and only people with enough votes, or time, lift one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from killswitch import Change, Keyring, Petition, PublicKey, Revocation, Signer, Snapshot, Target, approve
from killswitch.revocations import LEVELS, Level, is_weaker
from monitor.kill.mending import (
    QUIET_S,
    Incident,
    break_glass_alert,
    damage_alert,
    forgery_alert,
    lacking,
    mend,
    names,
    take,
)

NOW_S = 1_000.0
A, B = Target("agent", "a"), Target("agent", "b")
ALICE, BOB, DAEMON = (
    Signer(name, bytes([number]) * 32) for number, name in enumerate(("alice", "bob", "daemon"))
)
KEYRING = Keyring(
    1,
    (PublicKey.of(ALICE, "operator"), PublicKey.of(BOB, "operator"), PublicKey.of(DAEMON, "daemon")),
    {"*": 2},
)


def made(
    target: Target = A,
    level: Level = "revoke",
    change_id: str = "c-1",
    expires_at_s: float | None = None,
    **more: bool,
) -> Revocation:
    return Revocation(target, level, "because", "alice", 1.0, expires_at_s, change_id, 1, **more)


def suspended(
    target: Target = A, until_s: float = NOW_S + 60, change_id: str = "c-1", **more: bool
) -> Revocation:
    return made(target, "suspend", change_id, until_s, **more)


def ours(*records: Revocation) -> dict[Target, Revocation]:
    return {record.target: record for record in records}


def seen(*records: Revocation, certified: bool = True, unreadable: tuple[str, ...] = ()) -> Snapshot:
    return Snapshot(5, ours(*records), unreadable=unreadable, certified=certified)


def change(new: Revocation | None, kind: str = "revoke", *voters: Signer, lifts: str = "c-1") -> Change:
    petition = Petition("p-1", A, lifts, "we talked", "alice", NOW_S + 60, NOW_S)
    approvals = tuple(approve(petition, voter, NOW_S) for voter in voters)
    return Change(6, "c-6", kind, A, None, new, "because", "alice", NOW_S, approvals)  # type: ignore[arg-type]


# -- comparing ----------------------------------------------------------------------------------------------------


def test_a_store_as_we_know_it_is_left_alone() -> None:
    found = mend(ours(made(A), suspended(B)), seen(made(A), suspended(B)), NOW_S)
    assert not found.is_damaged
    assert found.gained == ()
    assert found.is_vouched


def test_what_was_lost_is_put_back() -> None:
    found = mend(ours(made(A), made(B)), seen(made(B)), NOW_S)
    assert (found.is_damaged, found.lost, found.weakened) == (True, (made(A),), ())
    assert found.records == ours(made(A), made(B))


def test_what_was_weakened_is_made_strict_again() -> None:
    found = mend(ours(made(A)), seen(suspended(A, change_id="forged")), NOW_S)
    assert (found.weakened, found.gained) == ((made(A),), ())
    assert found.records == ours(made(A))


def test_what_was_gained_is_kept_and_named() -> None:
    forged = made(B, change_id="forged")
    found = mend(ours(made(A)), seen(made(A), forged, certified=False), NOW_S)
    assert (found.is_damaged, found.gained, found.is_vouched) == (False, (forged,), False)
    assert found.records == ours(made(A), forged)


def test_what_has_run_out_is_not_put_back() -> None:
    assert not mend(ours(suspended(A, NOW_S)), seen(), NOW_S).is_damaged
    assert mend(ours(suspended(A, NOW_S, held_after=True)), seen(), NOW_S).lost


def test_junk_is_dropped_unless_somebody_we_know_vouches_for_it() -> None:
    junk = ("'x': not JSON",)
    assert mend({}, seen(certified=False, unreadable=junk), NOW_S).dropped == junk
    assert not mend({}, seen(certified=True, unreadable=junk), NOW_S).is_damaged


@st.composite
def states(draw: st.DrawFn) -> dict[Target, Revocation]:
    found = {}
    for target in draw(st.sets(st.sampled_from([A, B, Target("fleet")]))):
        level = draw(st.sampled_from(LEVELS))
        until_s = draw(st.sampled_from([NOW_S - 1, NOW_S + 5, NOW_S + 50])) if level == "suspend" else None
        held = level == "suspend" and draw(st.booleans())
        record = made(target, level, draw(st.sampled_from(["c-1", "c-2"])), until_s, held_after=held)
        found[target] = record
    return found


@given(states(), states(), st.booleans())
def test_after_mending_nobody_is_freer_than_either_side_says(
    known: dict[Target, Revocation], found: dict[Target, Revocation], certified: bool
) -> None:
    mended = mend(known, Snapshot(5, found, certified=certified), NOW_S)
    for target, record in known.items():
        if record.level_at(NOW_S):
            assert not is_weaker(mended.records.get(target), record, NOW_S)
    for target in found:
        assert target in mended.records
    again = mend(mended.records, Snapshot(6, mended.records, certified=True), NOW_S)
    assert not again.is_damaged
    assert again.gained == ()


# -- one change ---------------------------------------------------------------------------------------------------


def test_every_kill_is_taken_in() -> None:
    assert take(None, change(made()), KEYRING, NOW_S) == "put"
    assert take(suspended(), change(made(change_id="c-6")), KEYRING, NOW_S) == "put"
    assert take(suspended(until_s=NOW_S), change(made(level="step_up")), KEYRING, NOW_S) == "put"


def test_a_change_that_weakens_does_not_count() -> None:
    assert take(made(), change(suspended(change_id="c-6"), "suspend"), KEYRING, NOW_S) == "unproven"


def test_a_restoration_needs_the_votes_that_the_keyring_asks_for() -> None:
    held = made()
    assert take(held, change(None, "restore"), KEYRING, NOW_S) == "unproven"
    assert take(held, change(None, "restore", ALICE), KEYRING, NOW_S) == "unproven"
    assert take(held, change(None, "restore", ALICE, ALICE), KEYRING, NOW_S) == "unproven"
    assert take(held, change(None, "restore", ALICE, DAEMON), KEYRING, NOW_S) == "unproven"
    assert take(held, change(None, "restore", ALICE, BOB), KEYRING, NOW_S) == "clear"
    assert take(held, change(None, "expire", ALICE, BOB), KEYRING, NOW_S) == "unproven"


def test_votes_for_an_earlier_record_lift_no_later_one() -> None:
    replayed = change(None, "restore", ALICE, BOB, lifts="c-0")
    assert take(made(change_id="c-1"), replayed, KEYRING, NOW_S) == "unproven"


def test_what_has_run_out_may_be_swept_up_by_anybody() -> None:
    assert take(suspended(until_s=NOW_S), change(None, "expire"), KEYRING, NOW_S) == "clear"
    assert take(suspended(until_s=NOW_S + 1), change(None, "expire"), KEYRING, NOW_S) == "unproven"


def test_without_a_keyring_the_store_is_believed() -> None:
    assert take(made(), change(None, "restore"), None, NOW_S) == "clear"
    assert take(None, change(None, "restore"), None, NOW_S) == "nothing"


# -- restorations -------------------------------------------------------------------------------------------------


def voted(at_s: float, *voters: Signer, target: Target = A) -> Change:
    petition = Petition("p-1", target, f"c-{at_s}", "we talked", "alice", at_s + 60, at_s)
    approvals = tuple(approve(petition, voter, at_s) for voter in voters)
    return Change(6, "c-6", "restore", target, None, None, "because", "alice", at_s, approvals)


def test_restorations_that_the_store_does_not_have_are_lacking() -> None:
    ours = voted(5.0, ALICE, BOB)
    other = voted(5.0, ALICE, BOB, target=B)
    assert lacking([ours, other], {A: ours}, KEYRING) == (other,)
    assert lacking([ours], {A: ours}, None) == ()


def test_only_a_later_restoration_that_people_approved_stays_in_the_place_of_ours() -> None:
    ours = voted(5.0, ALICE, BOB)
    assert lacking([ours], {A: voted(6.0, ALICE, BOB)}, KEYRING) == ()
    for worse in (voted(4.0, ALICE, BOB), voted(6.0, ALICE), voted(6.0, ALICE, DAEMON), voted(6.0)):
        assert lacking([ours], {A: worse}, KEYRING) == (ours,)


def test_break_glass_is_told_of_whoever_else_voted_and_only_then() -> None:
    safe = Signer("safe", bytes([9]) * 32)
    keyring = Keyring(1, (*KEYRING.keys, PublicKey.of(safe, "recovery")), {"*": 2})
    for votes in ([safe], [ALICE, BOB, safe]):
        alert = break_glass_alert(change(None, "restore", *votes), made(), keyring, NOW_S)
        assert alert is not None
        assert (alert.verdict, alert.severity) == ("break_glass", "critical")
        assert alert.title.startswith("break-glass was used: agent:a was restored by alice")
        assert "safe" in alert.title
    assert break_glass_alert(change(None, "restore", ALICE, BOB), made(), keyring, NOW_S) is None
    other = change(None, "restore", safe, lifts="c-0")
    assert break_glass_alert(other, made(), keyring, NOW_S) is None
    assert break_glass_alert(change(None, "restore", safe), made(), None, NOW_S) is None


# -- telling people -----------------------------------------------------------------------------------------------


def test_one_incident_is_one_alert_and_what_follows_comes_together() -> None:
    incident = Incident()
    assert incident.due([], NOW_S) == []
    assert incident.due(["lost a"], NOW_S) == ["lost a"]
    assert incident.due(["lost a"], NOW_S + 1) == []
    assert incident.due(["lost b"], NOW_S + QUIET_S - 1) == []
    assert incident.due([], NOW_S + QUIET_S) == ["lost a", "lost b"]
    assert incident.due([], NOW_S + 2 * QUIET_S) == []


def test_a_clock_that_was_set_back_silences_nothing_for_long() -> None:
    incident = Incident()
    incident.due(["lost a"], NOW_S)
    assert incident.due(["lost b"], NOW_S - 3600) == ["lost b"]


def test_the_alerts_say_how_many_and_which() -> None:
    lost = names([made(A), made(B)], "lost")
    alert = damage_alert(lost, "", NOW_S)
    assert alert.title == "the revocation store lost 2 revocations; put right from the daemon's record"
    assert (alert.verdict, alert.severity, len(alert.reasons)) == ("store_damaged", "critical", 2)
    assert "agent:a" in alert.reasons[0].sentence
    assert "no rights" in damage_alert(lost, "no rights", NOW_S).title
    assert "1 revocation;" in damage_alert(lost[:1], "", NOW_S).title
    assert "2 entries" in damage_alert(["dropped x", "dropped y"], "", NOW_S).title
    assert "1 revocation " in forgery_alert(names([made(A)], "unsigned"), NOW_S).title


def test_an_old_record_that_people_restored_does_not_come_back_and_an_unknown_one_stays() -> None:
    old, unknown = made(A), made(B, change_id="c-2")
    found = mend({}, seen(old, unknown), NOW_S, lambda record: record == old)
    assert (found.revived, found.gained, found.records) == ((old,), (unknown,), ours(unknown))
    assert found.is_damaged
    assert "1 entries that are none" in damage_alert(names([old], "was restored before"), "", NOW_S).title
