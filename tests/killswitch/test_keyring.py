from __future__ import annotations

import itertools
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch import BadKey, BadRecord, Keyring, PublicKey, SignedKeyring, Signer
from killswitch.trust.keyring import CONTEXT, MAX_KEYS
from killswitch.trust.signing import key_id, signed_bytes
from tests.killswitch.keys import DAEMON, PEOPLE, RECOVERY, STRANGER, keyring, keyrings
from tests.killswitch.test_codec import json_values

unhurried = settings(deadline=None)


def operator(number: int) -> PublicKey:
    return PublicKey.of(PEOPLE[number], "operator")


def next_of(current: Keyring, *signers: Signer, people: int = 3) -> SignedKeyring:
    signed = SignedKeyring(keyring(people, {"*": 0}, version=current.version + 1))
    for signer in signers:
        signed = signed.signed_by(signer)
    return signed


# Public keys


def test_a_public_key_reads_back_from_its_line() -> None:
    key = operator(0)
    assert PublicKey.parse(key.line()) == key
    assert PublicKey.parse(f"  {key.line()}\n").id == key_id(PEOPLE[0].public)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "alice",
        "alice operator",
        "alice operator " + "A" * 44,
        "alice operator ed25519:***",
        "alice operator ed25519:AAAA",
        "alice operator ed25519:" + "A" * 43 + "=",  # y = 0: of order 4
        "alice boss " + operator(0).line().split()[2],
        operator(0).line() + " more",
        "a\u200bb operator " + operator(0).line().split()[2],
    ],
)
def test_a_line_that_is_no_key_is_refused(line: str) -> None:
    with pytest.raises(BadKey):
        PublicKey.parse(line)


# What may be in a keyring


@pytest.mark.parametrize(
    ("keys", "quorum", "problem"),
    [
        ((), {}, "expected 1 to 256"),
        ((operator(0), PublicKey("other", "operator", PEOPLE[0].public)), {}, "each person needs their own"),
        ((operator(0), PublicKey("other", "daemon", PEOPLE[0].public)), {}, "each person needs their own"),
        ((operator(0), PublicKey("person-0", "operator", PEOPLE[1].public)), {}, "two are named person-0"),
        ((operator(0),), {"*": 2}, "could never be met"),
        ((operator(0),), {"*": 1, "fleet": 2}, "could never be met"),
        ((PublicKey.of(RECOVERY, "recovery"),), {"*": 1}, "could never be met"),
        ((operator(0),), {"planet": 1}, "neither"),
        ((operator(0),), {"*": -1}, "expected 0 to 16"),
        ((operator(0),), {"*": 17}, "expected 0 to 16"),
        ((operator(0),), {"*": True}, "expected 0 to 16"),
        ((operator(0),), {"*": "1"}, "expected 0 to 16"),
    ],
)
def test_a_keyring_that_could_not_work_is_refused(
    keys: tuple[PublicKey, ...], quorum: dict[str, Any], problem: str
) -> None:
    with pytest.raises(BadKey, match=problem):
        Keyring(1, keys, quorum)


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", 1 << 31])
def test_a_version_is_a_number_above_zero(version: Any) -> None:
    with pytest.raises(BadKey, match="version"):
        Keyring(version, (operator(0),))


def test_a_keyring_does_not_change_when_what_it_was_made_from_does() -> None:
    quorum = {"*": 1}
    made = Keyring(1, (operator(0),), quorum)
    quorum["*"] = 0
    assert made.quorum_for("agent") == 1
    with pytest.raises(TypeError):
        made.quorum["*"] = 0  # type: ignore[index]


def test_the_first_keyring_asks_for_two_people_or_all_there_are() -> None:
    daemon = PublicKey.of(DAEMON, "daemon")
    asked = [Keyring.founding(daemon, map(operator, range(n))).quorum_for("fleet") for n in range(4)]
    assert asked == [0, 1, 2, 2]


def test_a_kind_has_its_own_quorum_or_that_of_all_others() -> None:
    made = keyring(3, {"*": 2, "fleet": 3, "session": 0})
    assert [made.quorum_for(kind) for kind in ("agent", "fleet", "session")] == [2, 3, 0]
    assert keyring(3, {"fleet": 3}).quorum_for("agent") == 0
    assert made.rotation_quorum == 3


def test_keys_are_found_by_their_id() -> None:
    made = keyring(2)
    assert made.key(PEOPLE[1].key_id) == operator(1)
    assert made.key(PEOPLE[2].key_id) is None
    assert made.operators == (operator(0), operator(1))


# Reading and writing


@unhurried
@given(keyrings())
def test_a_keyring_reads_back_as_it_was_written(made: Keyring) -> None:
    assert Keyring.decode(made.encode()) == made
    assert hash(Keyring.decode(made.encode())) == hash(made)
    signed = SignedKeyring(made).signed_by(DAEMON).signed_by(PEOPLE[0])
    assert SignedKeyring.decode(signed.encode()) == SignedKeyring.decode(signed.encode() + b"\n") == signed
    assert Keyring.decode(signed.encode()) == made


@unhurried
@given(st.permutations(keyring(4).keys))
def test_equal_keyrings_are_written_alike(keys: list[PublicKey]) -> None:
    assert Keyring(1, tuple(keys), {"*": 2}).encode() == keyring(4).encode()


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_bad_record(data: bytes) -> None:
    for read in (Keyring.decode, SignedKeyring.decode):
        with pytest.raises(BadRecord):
            read(data)


@unhurried
@given(keyrings(), st.data())
def test_a_keyring_with_any_field_replaced_is_read_or_refused(made: Keyring, data: st.DataObject) -> None:
    plain = json.loads(made.encode())
    plain[data.draw(st.sampled_from(sorted(plain)))] = data.draw(json_values)
    with suppress(BadRecord):
        Keyring.decode(json.dumps(plain, separators=(",", ":"), sort_keys=True).encode())


@unhurried
@given(keyrings(), st.data())
def test_a_signed_keyring_cut_or_flipped_anywhere_is_refused_or_another(
    made: Keyring, data: st.DataObject
) -> None:
    raw = bytearray(SignedKeyring(made).signed_by(DAEMON).encode())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(BadRecord):
        found = SignedKeyring.decode(bytes(raw[: data.draw(st.integers(1, len(raw)))]))
        assert found.signers(made) == []


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b"{}",
        b"null",
        b" " * 300_000,
        b'{"v":1,"version":' + b"9" * 5_000 + b"}",
        keyring().encode().replace(b'"v":1', b'"v":2'),
        keyring().encode().replace(b'"v":1', b'"v":true'),
        keyring().encode().replace(b'"v":1', b'"v":1,"x":1'),
        keyring().encode().replace(b'"v":1', b'"v":1,"v":1'),
        keyring().encode().replace(b",", b", "),
        keyring().encode() + b"\nno signature",
        keyring().encode() + b"\n\n\n",
        keyring().encode() + (b"\n" + b"0" * 16 + b" " + b"A" * 86 + b"==") * 65,
    ],
)
def test_what_this_version_would_not_write_is_refused(data: bytes) -> None:
    with pytest.raises(BadRecord):
        SignedKeyring.decode(data)


def test_more_keys_than_a_keyring_holds_are_refused() -> None:
    plain = json.loads(keyring().encode())
    plain["keys"] = plain["keys"] * MAX_KEYS
    with pytest.raises(BadRecord, match="at most 256"):
        Keyring.decode(json.dumps(plain).encode())


def test_a_keyring_is_loaded_from_a_file_signed_or_not(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(keyring().encode() + b"\n")
    (tmp_path / "signed").write_bytes(SignedKeyring(keyring()).signed_by(DAEMON).encode())
    assert Keyring.load(tmp_path / "plain") == Keyring.load(tmp_path / "signed") == keyring()


def test_a_keyring_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("hello")
    (tmp_path / "open").write_bytes(keyring().encode())
    (tmp_path / "open").chmod(0o666)
    for name, problem in (("junk", "is no keyring"), ("missing", "cannot read"), ("open", "chmod o-w")):
        with pytest.raises(BadKey, match=f"{problem}|{name}") as caught:
            Keyring.load(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


# Replacing one by the next


@pytest.mark.parametrize(
    ("quorum", "signers", "accepted"),
    [
        ({"*": 2}, [], False),
        ({"*": 2}, PEOPLE[:1], False),
        ({"*": 2}, PEOPLE[:2], True),
        ({"*": 2}, PEOPLE[1:3], True),
        ({"*": 2}, [PEOPLE[0], PEOPLE[0]], False),
        ({"*": 2}, [PEOPLE[0], PEOPLE[4]], False),  # not on it
        ({"*": 2}, [PEOPLE[0], STRANGER], False),  # has the name of one who is
        ({"*": 2}, [PEOPLE[0], DAEMON], False),
        ({"*": 2}, [RECOVERY], True),
        ({"*": 1, "fleet": 3}, PEOPLE[:2], False),  # or they could lower what the fleet asks for
        ({"*": 1, "fleet": 3}, PEOPLE[:3], True),
        ({"*": 0}, [], False),
        ({"*": 0}, [DAEMON], True),
        ({"*": 0}, PEOPLE[:1], True),
        ({"*": 0, "fleet": 1}, [DAEMON], False),
        ({"session": 1}, [DAEMON], False),
    ],
)
def test_a_successor_is_accepted_if_enough_of_the_keys_held_signed_it(
    quorum: dict[str, int], signers: list[Signer], accepted: bool
) -> None:
    current = keyring(3, quorum)
    assert current.accepts(next_of(current, *signers)) is accepted


def test_one_signature_put_there_twice_is_one() -> None:
    current = keyring(3)
    signed = next_of(current, PEOPLE[0])
    twice = SignedKeyring(signed.keyring, signed.signatures * 2)
    assert not current.accepts(SignedKeyring.decode(twice.encode()))


def test_a_signature_under_the_id_of_another_key_is_none() -> None:
    current = keyring(3)
    signed = next_of(current, PEOPLE[0])
    (_, signature) = signed.signatures[0]
    forged = SignedKeyring(signed.keyring, (*signed.signatures, (PEOPLE[1].key_id, signature)))
    assert not current.accepts(forged)


def test_a_bad_signature_in_front_of_a_good_one_does_not_hide_it() -> None:
    current = keyring(1)
    signed = next_of(current, PEOPLE[0])
    assert current.accepts(SignedKeyring(signed.keyring, ((PEOPLE[0].key_id, bytes(64)), *signed.signatures)))


@unhurried
@given(keyrings(version=7), st.lists(st.sampled_from([*PEOPLE, DAEMON, RECOVERY, STRANGER])), st.data())
def test_no_successor_is_accepted_without_enough_different_keys(
    current: Keyring, signers: list[Signer], data: st.DataObject
) -> None:
    version = data.draw(st.sampled_from([6, 7, 8, 8, 8, 9]))
    following = data.draw(keyrings(version=version))
    message = signed_bytes(CONTEXT, following.encode())
    signatures = tuple((signer.key_id, signer.sign(message)) for signer in signers)
    roles = {key.role: 0 for key in current.keys}
    for public in {signer.public for signer in signers}:
        key = current.key(key_id(public))
        if key is not None:
            roles[key.role] += 1
    strictest = max(current.quorum.values())
    enough = (
        roles.get("operator", 0) >= max(1, strictest)
        or roles.get("recovery", 0) > 0
        or (strictest == 0 and roles.get("daemon", 0) > 0)
    )
    assert current.accepts(SignedKeyring(following, signatures)) is (enough and version == 8)


def test_a_removed_key_does_not_sign_the_one_after() -> None:
    first = keyring(3)
    second = SignedKeyring(Keyring(2, (PublicKey.of(DAEMON, "daemon"), operator(1), operator(2)), {"*": 2}))
    second = second.signed_by(PEOPLE[0]).signed_by(PEOPLE[1])
    assert first.accepts(second)
    third = SignedKeyring(keyring(6, version=3)).signed_by(PEOPLE[0]).signed_by(PEOPLE[1])
    assert not second.keyring.accepts(third)
    assert first.newest([second.encode(), third.encode()]) == second.keyring


CHAIN = [
    SignedKeyring(keyring(people, version=version)).signed_by(PEOPLE[0]).signed_by(PEOPLE[1])
    for version, people in ((2, 4), (3, 2), (4, 5))
]


@unhurried
@given(st.permutations([*(signed.encode() for signed in CHAIN), b"junk", b"", CHAIN[0].encode()[:-3]]))
def test_the_newest_is_found_in_any_order_and_among_junk(candidates: list[bytes]) -> None:
    assert keyring(3).newest(candidates) == CHAIN[-1].keyring


@pytest.mark.parametrize("lost", range(3))
def test_a_chain_is_followed_only_as_far_as_it_holds(lost: int) -> None:
    left = [signed.encode() for number, signed in enumerate(CHAIN) if number != lost]
    assert keyring(3).newest(left).version == lost + 1


def test_of_two_successors_all_points_take_the_same() -> None:
    rivals = [
        SignedKeyring(keyring(people, version=2)).signed_by(PEOPLE[0]).signed_by(PEOPLE[1]).encode()
        for people in (4, 5, 6)
    ]
    taken = {keyring(3).newest(order).encode() for order in itertools.permutations(rivals)}
    assert len(taken) == 1


def test_nobody_goes_back() -> None:
    newest = CHAIN[-1].keyring
    assert newest.newest([signed.encode() for signed in CHAIN]) == newest


def test_signing_again_replaces_the_signature() -> None:
    signed = next_of(keyring(3), PEOPLE[0], PEOPLE[1], PEOPLE[0])
    assert [key for key, _ in signed.signatures] == [PEOPLE[1].key_id, PEOPLE[0].key_id]
    assert signed.signers(keyring(3)) == [operator(1), operator(0)]
