from __future__ import annotations

import base64
import os
import stat
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch import BadKey, Keyring, PublicKey, Signer
from killswitch.trust import ed25519
from killswitch.trust.signing import decode_trailer, key_id, seal, signed_bytes, split

SEED = bytes(range(32))
bodies = st.binary(max_size=60).filter(lambda body: b"\n" not in body)


def signer() -> Signer:
    return Signer("alice", SEED)


def keyring() -> Keyring:
    return Keyring.founding(PublicKey.of(signer(), "daemon"))


def test_a_key_reads_back_from_the_file_it_was_saved_in(tmp_path: Path) -> None:
    signer().save(tmp_path / "alice.key")
    assert Signer.load(tmp_path / "alice.key") == signer()
    assert Signer.load(tmp_path / "alice.key").sign(b"x") == signer().sign(b"x")


def test_only_the_owner_may_read_a_saved_key(tmp_path: Path) -> None:
    signer().save(tmp_path / "alice.key")
    assert stat.S_IMODE((tmp_path / "alice.key").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    signer().save(tmp_path / "key")
    with pytest.raises(BadKey, match="exists"):
        Signer.generate("bob").save(tmp_path / "key")
    assert Signer.load(tmp_path / "key") == signer()


def test_a_key_cannot_be_saved_where_there_is_no_directory(tmp_path: Path) -> None:
    with pytest.raises(BadKey, match="cannot write"):
        signer().save(tmp_path / "nowhere" / "key")


def test_a_key_that_does_not_fit_on_the_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadKey, match="No space left"):
        signer().save(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    signer().save(path)
    path.chmod(mode)
    with pytest.raises(BadKey, match=f"chmod 600 {path}"):
        Signer.load(path)


SECRET = base64.b64encode(SEED)
FIRST = b"killcord private key, ed25519: keep it secret\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        FIRST,
        FIRST + b"alice\n",
        b"killcord private key, x25519: keep it secret\nalice\n" + SECRET,
        FIRST + b"alice\n" + SECRET[:-5],
        FIRST + b"alice\n*" + SECRET[1:],
        FIRST + b"alice\n\xc3\x84" + SECRET[2:],
        FIRST + b"alice\n" + SECRET + b" more",
        FIRST + b"al ice\n" + SECRET,
        FIRST + b"alice\n" + SECRET + b"\nbob\n" + SECRET,
        b"\xff" + SECRET,
        FIRST + b"x" * 5_000 + b"\n" + SECRET,
    ],
)
def test_what_is_no_key_file_is_refused_by_name_without_its_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(BadKey) as caught:
        Signer.load(path)
    told = "".join(traceback.format_exception(caught.value))
    assert str(path) in told
    assert SECRET[3:20].decode() not in told
    assert repr(SEED)[2:20] not in told


def test_a_missing_file_a_directory_and_a_pipe_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "directory").mkdir(0o700)
    for name in ("pipe", "directory", "missing"):
        with pytest.raises(BadKey, match=name):
            Signer.load(tmp_path / name)


def test_the_secret_is_not_shown() -> None:
    assert "seed" not in repr(signer())
    assert repr(SEED)[2:20] not in repr(signer())


@pytest.mark.parametrize("name", ["", "a b", "a\n", "\u200bx", "x" * 129, "a\u00a0b", "a\ud800", 7])
def test_a_name_that_could_mislead_is_refused(name: str) -> None:
    with pytest.raises(BadKey, match="name"):
        Signer(name, SEED)


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33), "x" * 32])
def test_a_seed_of_another_size_is_refused(seed: bytes) -> None:
    with pytest.raises(BadKey, match="seed"):
        Signer("alice", seed)


def test_a_key_id_is_the_start_of_the_hash_of_the_public_key() -> None:
    # sha256 of RFC 8032 §7.1's first public key.
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert key_id(public) == "21fe31dfa154a261"
    assert signer().key_id == key_id(ed25519.public_key(SEED))


@given(bodies)
def test_a_sealed_statement_is_split_again_and_verified(body: bytes) -> None:
    sealed = seal(signer(), b"killcord test v1", body)
    assert split(sealed) == (body, signer().key_id, signer().sign(b"killcord test v1\n" + body))
    assert keyring().verify(b"killcord test v1", sealed) == PublicKey.of(signer(), "daemon")


@given(bodies, st.data())
def test_a_sealed_statement_that_was_touched_is_not_verified(body: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(signer(), b"killcord test v1", body))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert keyring().verify(b"killcord test v1", bytes(sealed)) is None


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    assert keyring().verify(b"killcord head v1", seal(signer(), b"killcord keyring v1", b"{}")) is None


def test_a_stranger_verifies_nothing() -> None:
    assert keyring().verify(b"c", seal(Signer.generate("alice"), b"c", b"{}")) is None


@given(st.binary(max_size=200))
def test_no_bytes_make_splitting_raise(data: bytes) -> None:
    body, _, _ = split(data)
    assert data.startswith(body)
    assert keyring().verify(b"c", data) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"0123456789abcdef",
        b"0123456789abcdef ",
        b"0123456789ABCDEF " + b"A" * 86 + b"==",
        b"0123456789abcdef " + b"A" * 85 + b"===",
        b"0123456789abcdef " + b"A" * 88,
        b"0123456789abcdef " + b"A" * 86 + b"==\n",
        b" 0123456789abcdef " + b"A" * 86 + b"==",
    ],
)
def test_a_line_that_is_no_trailer_is_none(line: bytes) -> None:
    assert decode_trailer(line) is None
    assert split(b"{}\n" + line) == (b"{}", None, None)


def test_a_statement_or_context_of_two_lines_cannot_be_signed() -> None:
    for context, body in ((b"a\nb", b"c"), (b"a", b"b\nc")):
        with pytest.raises(ValueError, match="newline"):
            signed_bytes(context, body)
