"""Signed notes and checkpoints: others' vectors, and nothing but our own error for whatever bytes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import ProofError
from monitor.proof.checkpoints import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from monitor.proof.merkle import EMPTY_ROOT
from monitor.proof.notes import Note, Signer, Verifier, open_note, sign_note

# The example of Go's golang.org/x/mod/sumdb/note, from which the specification was written.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNED = (
    TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()

OURS = Signer("watch.example.com/audit", bytes(range(32)))
OTHER = Signer("witness.example.com", bytes(range(1, 33)))
CHECKPOINT = Checkpoint("watch.example.com/audit", 1042, bytes(range(32)))


def test_a_note_of_the_reference_opens() -> None:
    assert open_note(SIGNED, [Verifier.parse(PETER)]) == Note(TEXT, ("PeterNeumann",))
    assert Verifier.parse(PETER).vkey == PETER


def test_signing_gives_what_opens() -> None:
    note = sign_note("a\n\nb\n", [OURS, OTHER])
    assert open_note(note, [OURS.verifier]) == Note("a\n\nb\n", (OURS.name,))
    assert open_note(note, [OTHER.verifier, OURS.verifier]).signed_by == (OURS.name, OTHER.name)
    assert Verifier.parse(OURS.vkey) == OURS.verifier


def test_unknown_keys_are_passed_over_but_one_known_must_have_signed() -> None:
    note = sign_note("a\n", [OURS])
    other_kind = base64.b64encode(b"\x04" * 80).decode()
    both = note + f"— somebody.example.com {other_kind}\n".encode()
    assert open_note(both, [OURS.verifier]).signed_by == (OURS.name,)
    with pytest.raises(ProofError, match="no known key"):
        open_note(both, [OTHER.verifier])


def test_a_known_key_with_a_wrong_signature_fails_the_note_whoever_else_signed() -> None:
    note = sign_note("a\n", [OURS]) + OTHER.line(b"b\n").encode()
    with pytest.raises(ProofError, match=OTHER.name):
        open_note(note, [OURS.verifier, OTHER.verifier])


def test_a_key_of_the_same_name_is_another_key() -> None:
    impostor = Signer(OURS.name, bytes(32))
    with pytest.raises(ProofError, match="no known key"):
        open_note(sign_note("a\n", [impostor]), [OURS.verifier])


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "\u2003a", "a\x00"])
def test_what_can_be_no_name_is_refused(name: str) -> None:
    with pytest.raises(ProofError, match="name"):
        Signer(name, bytes(32))


@pytest.mark.parametrize("text", ["", "\n", "a", "a\tb\n", "\ud800\n"])
def test_what_can_be_no_text_is_not_signed(text: str) -> None:
    with pytest.raises(ProofError, match="text"):
        sign_note(text, [OURS])


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "a",
        "a+b",
        PETER[:-4],
        PETER.replace("c74f20a3", "c74f20a4"),
        "a+00000000+AAAA",
        "a+0+!",
        "a b+" + PETER,
    ],
)
def test_what_is_no_key_is_refused(vkey: str) -> None:
    with pytest.raises(ProofError):
        Verifier.parse(vkey)


@given(st.binary(max_size=300))
def test_whatever_bytes_are_no_note_say_so(data: bytes) -> None:
    with pytest.raises(ProofError):
        open_note(data, [OURS.verifier])


@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_no_changed_byte_goes_unseen(at: int, change: int) -> None:
    note = bytearray(sign_checkpoint(CHECKPOINT, [OURS]))
    note[at % len(note)] ^= change
    with pytest.raises(ProofError):
        open_checkpoint(bytes(note), [OURS.verifier])


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_the_text_of_a_checkpoint_is_that_of_the_specification() -> None:
    root = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    checkpoint = Checkpoint("example.com/behind-the-sofa", 20852163, root)
    assert checkpoint.encode() == text
    assert Checkpoint.parse(text) == checkpoint


def test_a_signed_checkpoint_opens() -> None:
    note = sign_checkpoint(CHECKPOINT, [OURS])
    assert open_checkpoint(note, [OURS.verifier]) == parse_checkpoint(note) == CHECKPOINT


def test_extensions_are_kept() -> None:
    checkpoint = CHECKPOINT._replace(extensions=("more",))
    assert Checkpoint.parse(checkpoint.encode()) == checkpoint


ROOT = base64.b64encode(EMPTY_ROOT).decode()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (f"\n5\n{ROOT}\n", "origin"),
        (f"a\n05\n{ROOT}\n", "size"),
        (f"a\n-5\n{ROOT}\n", "size"),
        (f"a\n\u0665\n{ROOT}\n", "size"),
        (f"a\n{2**63}\n{ROOT}\n", "size"),
        (f"a\n5\n{ROOT[:-2]}\n", "root"),
        (f"a\n5\n{ROOT}", "line"),
        ("a\n5\nAAAA\n", "root"),
        ("a\n5\n", "line"),
        (f"a\n5\n{ROOT}\n\nb\n", "empty"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_field(text: str, field: str) -> None:
    with pytest.raises(ProofError, match=field):
        Checkpoint.parse(text)


@given(st.text(max_size=200))
def test_whatever_text_is_no_checkpoint_says_so(text: str) -> None:
    with pytest.raises(ProofError):
        Checkpoint.parse(text)


@given(st.binary(max_size=200))
def test_whatever_bytes_hold_no_checkpoint_say_so(data: bytes) -> None:
    with pytest.raises(ProofError):
        parse_checkpoint(data)
