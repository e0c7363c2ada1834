from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch import Petition, StoreRefused, Target, approve
from killswitch.storage.links import Link
from killswitch.storage.store import Keys
from killswitch.trust.petitions import MAX_FIELDS, Petitions, _open
from tests.killswitch.keys import PEOPLE

NOW_S = 1_000.0
AGENT = Target("agent", "billing-bot")


def petition(petition_id: str = "p1", **fields: float | str) -> Petition:
    made = Petition(petition_id, AGENT, "change-1", "false alarm", "alice", NOW_S + 60, NOW_S)
    return replace(made, **fields)


@pytest.fixture
def link(url: str) -> Iterator[Link]:
    with closing(Link(url, timeout_s=2.0)) as link:
        yield link


@pytest.fixture
def key(prefix: str) -> str:
    return Keys(prefix).petitions


@pytest.fixture
def petitions(link: Link, key: str) -> Petitions:
    return Petitions(link, key)


def test_a_petition_and_its_votes_are_found_again(petitions: Petitions) -> None:
    petitions.add(petition(), NOW_S)
    first, second = (approve(petition(), signer, NOW_S + 1) for signer in PEOPLE[:2])
    petitions.vote(second)
    petitions.vote(first)
    found = petitions.find("p1", NOW_S + 2)
    assert found is not None
    assert found.petition == petition()
    assert set(found.approvals) == {first, second}
    assert petitions.find("p2", NOW_S) is None


def test_voting_again_takes_the_place_of_the_first_vote(petitions: Petitions) -> None:
    petitions.add(petition(), NOW_S)
    for at_s in (1, 2):
        petitions.vote(approve(petition(), PEOPLE[0], NOW_S + at_s))
    (found,) = petitions.all(NOW_S)
    assert [vote.at_s for vote in found.approvals] == [NOW_S + 2]


def test_petitions_for_one_record_are_found_the_oldest_first(petitions: Petitions) -> None:
    for made in (petition("b", opened_at_s=900.0), petition("a"), petition("c", lifts="change-2")):
        petitions.add(made, NOW_S)
    assert [each.petition.id for each in petitions.open_for(AGENT, "change-1", NOW_S)] == ["b", "a"]
    assert petitions.open_for(Target("agent", "other"), "change-1", NOW_S) == []


def test_what_was_carried_out_is_forgotten_with_its_votes(petitions: Petitions, link: Link, key: str) -> None:
    petitions.add(petition(), NOW_S)
    petitions.vote(approve(petition(), PEOPLE[0], NOW_S))
    (found,) = petitions.all(NOW_S)
    petitions.remove(found)
    assert link.call("EXISTS", key) == 0


def test_what_ran_out_is_not_shown_and_swept_with_the_next(
    petitions: Petitions, link: Link, key: str
) -> None:
    petitions.add(petition(), NOW_S)
    petitions.vote(approve(petition(), PEOPLE[0], NOW_S))
    link.call("HSET", key, "junk", "junk", "orphan/0123", "{}")
    assert petitions.all(NOW_S + 61) == []
    petitions.add(petition("p2", opened_at_s=NOW_S + 61, expires_at_s=NOW_S + 90), NOW_S + 61)
    assert link.call("HKEYS", key) == [b"p2"]


def test_a_vote_that_is_not_for_the_petition_it_lies_with_is_not_shown(
    petitions: Petitions, link: Link, key: str
) -> None:
    petitions.add(petition(), NOW_S)
    for other in (petition("p2"), petition(reason="another")):
        vote = approve(other, PEOPLE[0], NOW_S)
        link.call("HSET", key, f"p1/{vote.key_id}", vote.encode())
        assert petitions.all(NOW_S)[0].approvals == ()
    vote = approve(petition(), PEOPLE[0], NOW_S)
    link.call("HSET", key, f"p1/{PEOPLE[1].key_id}", vote.encode(), "p9", petition().encode())
    assert [(each.petition.id, each.approvals) for each in petitions.all(NOW_S)] == [("p1", ())]


def test_a_hash_that_somebody_fills_is_said_and_not_read(petitions: Petitions, link: Link, key: str) -> None:
    petitions.add(petition(), NOW_S)
    link.call("HSET", key, *(word for number in range(MAX_FIELDS) for word in (f"x{number}", "x")))
    for ask in (lambda: petitions.all(NOW_S), lambda: petitions.vote(approve(petition(), PEOPLE[0], NOW_S))):
        with pytest.raises(StoreRefused, match="delete it"):
            ask()


def test_junk_up_to_the_limit_makes_way_for_a_petition(petitions: Petitions, link: Link, key: str) -> None:
    link.call("HSET", key, *(word for number in range(MAX_FIELDS) for word in (f"x{number}", "x")))
    petitions.add(petition(), NOW_S)
    assert [each.petition.id for each in petitions.all(NOW_S)] == ["p1"]


@given(st.dictionaries(st.binary(max_size=12), st.binary(max_size=60), max_size=6))
def test_no_bytes_in_the_hash_make_reading_raise(fields: dict[bytes, bytes]) -> None:
    assert _open({**fields, b"p1": petition().encode()}, NOW_S)[0].petition == petition()


def test_a_vote_that_cannot_be_read_is_passed_over(petitions: Petitions, link: Link, key: str) -> None:
    petitions.add(petition(), NOW_S)
    link.call("HSET", key, "p1/0123", "junk")
    (found,) = petitions.all(NOW_S)
    assert found.approvals == ()
