from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch import (
    Approval,
    BadRecord,
    InvalidRequest,
    Keyring,
    Petition,
    PublicKey,
    Signer,
    Target,
    approve,
    revocations,
)
from killswitch.trust import approvals as module
from killswitch.trust.approvals import CANARY_PREFIX, is_approved, is_canary, missing, voters
from tests.killswitch.keys import DAEMON, PEOPLE, RECOVERY, STRANGER, keyring, keyrings
from tests.killswitch.records import targets, words
from tests.killswitch.test_codec import json_values

AGENT = Target("agent", "billing-bot")
FLEET = Target("fleet")
CANARY = Target("session", CANARY_PREFIX + "7")
unhurried = settings(deadline=None)


def petition(target: Target = AGENT, lifts: str = "change-1", **fields: Any) -> Petition:
    plain = {
        "id": "p1",
        "reason": "false alarm",
        "by": "alice",
        "expires_at_s": 1_600.0,
        "opened_at_s": 1_000.0,
    }
    return Petition(target=target, lifts=lifts, **(plain | fields))


def votes(*signers: Signer, of: Petition | None = None, now_s: float = 1_100.0) -> list[Approval]:
    return [approve(of or petition(), signer, now_s) for signer in signers]


@st.composite
def petitions(draw: st.DrawFn) -> Petition:
    opened_s = draw(st.floats(0, 4e9))
    return Petition(
        id=draw(words),
        target=draw(targets()),
        lifts=draw(words),
        reason=draw(words),
        by=draw(words),
        opened_at_s=opened_s,
        expires_at_s=opened_s + draw(st.floats(1, 600_000)),
    )


@pytest.mark.parametrize(
    ("target", "quorum", "signers", "short"),
    [
        (AGENT, {"*": 2}, [], 2),
        (AGENT, {"*": 2}, PEOPLE[:1], 1),
        (AGENT, {"*": 2}, PEOPLE[:2], 0),
        (AGENT, {"*": 2}, PEOPLE[:3], 0),
        (AGENT, {"*": 2}, [PEOPLE[0], PEOPLE[0]], 1),
        (AGENT, {"*": 2}, [PEOPLE[0], DAEMON], 1),
        (AGENT, {"*": 2}, [DAEMON], 2),
        (AGENT, {"*": 2}, [PEOPLE[0], PEOPLE[4]], 1),  # not on the keyring
        (AGENT, {"*": 2}, [PEOPLE[0], STRANGER], 1),  # has the name of one who is
        (AGENT, {"*": 2}, [RECOVERY], 0),
        (AGENT, {"*": 0}, [], 1),
        (AGENT, {"*": 0}, [DAEMON], 0),
        (AGENT, {"*": 0}, PEOPLE[:1], 0),
        (FLEET, {"*": 1, "fleet": 3}, PEOPLE[:2], 1),
        (FLEET, {"*": 0, "fleet": 3}, [DAEMON], 3),
        (CANARY, {"*": 2}, [DAEMON], 0),
        (CANARY, {"*": 2}, [], 1),
        (CANARY, {"*": 2}, [STRANGER], 1),
        (Target("session", "killcord-canary"), {"*": 2}, [DAEMON], 2),
        (Target("agent", CANARY_PREFIX + "7"), {"*": 2}, [DAEMON], 2),
    ],
)
def test_so_many_more_must_agree(
    target: Target, quorum: dict[str, int], signers: list[Signer], short: int
) -> None:
    given_votes = votes(*signers, of=petition(target))
    assert missing(keyring(3, quorum), target, "change-1", given_votes) == short
    assert is_approved(keyring(3, quorum), target, "change-1", given_votes) is (short == 0)


def test_the_same_person_counts_once_for_several_petitions() -> None:
    given_votes = [*votes(PEOPLE[0]), *votes(PEOPLE[0], of=petition(id="p2")), *votes(PEOPLE[0], now_s=1_200)]
    assert voters(keyring(), AGENT, "change-1", given_votes) == [PublicKey.of(PEOPLE[0], "operator")]


def test_a_vote_under_the_id_of_another_key_does_not_count() -> None:
    (vote,) = votes(PEOPLE[0])
    assert not is_approved(keyring(), AGENT, "change-1", [vote, replace(vote, key_id=PEOPLE[1].key_id)])


def test_a_bad_vote_in_front_of_a_good_one_does_not_hide_it() -> None:
    good = votes(*PEOPLE[:2])
    bad = [replace(vote, signature=bytes(64)) for vote in good]
    assert is_approved(keyring(), AGENT, "change-1", [*bad, *good])


def test_votes_for_an_older_record_lift_no_newer_one() -> None:
    """Replayed after the agent was killed again; another kill switch lifted that (issue: old resets replayed)."""
    given_votes = votes(*PEOPLE[:3], RECOVERY, DAEMON)
    assert is_approved(keyring(), AGENT, "change-1", given_votes)
    assert missing(keyring(), AGENT, "change-2", given_votes) == 2


def test_a_vote_after_the_petition_ran_out_does_not_count() -> None:
    (early,) = votes(PEOPLE[0], now_s=1_600)
    (one,) = votes(PEOPLE[1], of=petition(expires_at_s=9_999.0), now_s=1_601)
    late = replace(one, petition=petition())
    assert is_approved(keyring(1), AGENT, "change-1", [early])
    assert missing(keyring(), AGENT, "change-1", [early, late]) == 1
    with pytest.raises(InvalidRequest, match="has run out"):
        votes(PEOPLE[1], now_s=1_600.5)


def test_whoever_carries_it_out_can_ask_that_the_petition_is_still_open() -> None:
    given_votes = votes(*PEOPLE[:2])
    assert is_approved(keyring(), AGENT, "change-1", given_votes, now_s=1_600)
    assert not is_approved(keyring(), AGENT, "change-1", given_votes, now_s=1_601)


@unhurried
@given(keyrings(), st.lists(st.tuples(st.sampled_from([*PEOPLE, DAEMON, RECOVERY, STRANGER]), st.booleans())))
def test_only_different_keys_with_valid_votes_for_this_record_count(
    held: Keyring, cast: list[tuple[Signer, bool]]
) -> None:
    other = petition(lifts="change-0")
    given_votes = [approve(petition() if right else other, signer, 1_100) for signer, right in cast]
    keys = [held.key(public_id) for public_id in {signer.key_id for signer, right in cast if right}]
    roles = [key.role for key in keys if key is not None]
    needed = held.quorum_for("agent")
    enough = (
        roles.count("operator") >= max(1, needed)
        or "recovery" in roles
        or (needed == 0 and "daemon" in roles)
    )
    assert is_approved(held, AGENT, "change-1", given_votes) is enough


CHANGES = [("id", "p9"), ("reason", "?"), ("by", "?"), ("expires_at_s", 1_601.0), ("opened_at_s", 999.0)]


@pytest.mark.parametrize(("field", "value"), CHANGES)
def test_a_vote_is_for_every_word_of_its_petition(field: str, value: Any) -> None:
    changed = [replace(vote, petition=petition(**{field: value})) for vote in votes(*PEOPLE[:3])]
    assert missing(keyring(), AGENT, "change-1", changed) == 2


def test_a_vote_is_for_its_time_too() -> None:
    assert not is_approved(
        keyring(1), AGENT, "change-1", [replace(vote, at_s=1_101.0) for vote in votes(PEOPLE[0])]
    )


def test_a_vote_given_for_another_target_does_not_count() -> None:
    elsewhere = votes(*PEOPLE[:3], of=petition(Target("agent", "other")))
    assert missing(keyring(), AGENT, "change-1", elsewhere) == 2
    moved = [replace(vote, petition=petition()) for vote in elsewhere]
    assert missing(keyring(), AGENT, "change-1", moved) == 2


@unhurried
@given(petitions())
def test_petitions_and_votes_read_back_as_they_were_written(made: Petition) -> None:
    assert Petition.decode(made.encode()) == made
    vote = approve(made, PEOPLE[0], made.opened_at_s)
    assert Approval.decode(vote.encode()) == vote
    assert is_approved(keyring(1), made.target, made.lifts, [Approval.decode(vote.encode())])


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_bad_record(data: bytes) -> None:
    for read in (Petition.decode, Approval.decode):
        with pytest.raises(BadRecord):
            read(data)


(VOTE,) = votes(PEOPLE[0])


@given(st.data())
def test_a_vote_with_any_field_replaced_is_read_or_refused(data: st.DataObject) -> None:
    plain = json.loads(VOTE.encode())
    holder = data.draw(st.sampled_from([plain, plain["petition"]]))
    holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(json_values)
    with suppress(BadRecord):
        Approval.decode(json.dumps(plain).encode())


@given(st.data())
def test_a_vote_cut_or_flipped_anywhere_is_refused_or_does_not_count(data: st.DataObject) -> None:
    raw = bytearray(VOTE.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(BadRecord):
        vote = Approval.decode(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
        assert not is_approved(keyring(1), AGENT, "change-1", [vote])


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 20_000,
        b"null",
        b"{}",
        b" " * 50_000,
        b'{"v":1,"at_s":NaN}',
        b'{"v":true}',
        b"9" * 5_000,
        b"\xff",
    ],
)
def test_hostile_json_is_a_bad_record(data: bytes) -> None:
    for read in (Petition.decode, Approval.decode):
        with pytest.raises(BadRecord):
            read(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""), ("id", "x" * 129), ("id", 7), ("lifts", ""), ("reason", " "), ("reason", "x" * 2_001),
        ("by", "\ud800"), ("target", "agent:x"), ("expires_at_s", float("nan")), ("expires_at_s", True),
        ("expires_at_s", 1_000.0), ("expires_at_s", 1_000 + 8 * 86_400), ("opened_at_s", -1), ("opened_at_s", 1e12),
    ],
)  # fmt: skip
def test_a_petition_that_is_none_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        petition(**{field: value})
    assert caught.value.field in (field, "expires_at_s")


def test_a_new_petition_has_an_id_of_its_own_and_an_end() -> None:
    made = [Petition.open(AGENT, "c", reason="r", by="b", now_s=5.0, valid_s=60.0) for _ in range(2)]
    assert made[0].id != made[1].id
    assert (made[0].opened_at_s, made[0].expires_at_s) == (5.0, 65.0)


def test_a_petition_may_say_whatever_a_record_may() -> None:
    for name in ("MAX_REASON_CHARS", "MAX_BY_CHARS", "MAX_ID_CHARS", "MAX_SECONDS"):
        assert getattr(module, name) == getattr(revocations, name)


def test_the_longest_vote_can_be_read() -> None:
    sign = "\U0001f6d1"  # 12 bytes in JSON
    longest = petition(
        Target("agent", sign * 512), sign * 128, id=sign * 128, reason=sign * 2_000, by=sign * 256
    )
    (vote,) = votes(PEOPLE[0], of=longest)
    assert Approval.decode(vote.encode()) == vote


def test_canaries_are_sessions_with_a_prefix() -> None:
    assert is_canary(CANARY)
    assert not is_canary(AGENT)
    assert not is_canary(Target("session", "x" + CANARY_PREFIX))
