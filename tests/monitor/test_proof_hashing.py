"""Hashing by the batch: compiled and not, it gives what hashlib gives."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.proof import hashing
from monitor.proof.merkle import leaf_hash, node_hash, root_of


def ends_of(pieces: list[bytes]) -> hashing.Ends:
    return np.cumsum([len(piece) for piece in pieces], dtype=np.int64)


@pytest.fixture(params=["fastest", "plain"])
def _backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "plain":
        plain = hashing._Hasher("hashlib", hashing._hash_plainly)
        monkeypatch.setattr(hashing, "_hasher", lambda: plain)


PIECES = [b"", b"a", b"x" * 55, b"x" * 63, b"y" * 64, b"z" * 65, b"", bytes(range(256)) * 300]


@pytest.mark.usefixtures("_backend")
def test_digests_of_pieces_of_every_length() -> None:
    data, ends = b"".join(PIECES), ends_of(PIECES)
    assert [bytes(one) for one in hashing.leaf_hashes(data, ends)] == [leaf_hash(one) for one in PIECES]
    assert [bytes(one) for one in hashing.digests(data, ends)] == [
        hashlib.sha256(one).digest() for one in PIECES
    ]


@pytest.mark.usefixtures("_backend")
def test_nothing_gives_nothing() -> None:
    assert hashing.leaf_hashes(b"", np.empty(0, np.int64)).shape == (0, 32)
    assert hashing.parents(np.empty((0, 32), np.uint8)).shape == (0, 32)


@pytest.mark.usefixtures("_backend")
def test_nodes_and_roots() -> None:
    leaves = [leaf_hash(b"%d" % i) for i in range(64)]
    hashes = np.frombuffer(b"".join(leaves), np.uint8).reshape(-1, 32)
    assert bytes(hashing.parents(hashes)[3]) == node_hash(leaves[6], leaves[7])
    assert bytes(hashing.fold(hashes, 6)[0]) == root_of(leaves)
    assert hashing.fold(hashes, 2).shape == (16, 32)
    with pytest.raises(ValueError, match="no pairs"):
        hashing.parents(hashes[:3])


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_both_ways_agree(pieces: list[bytes]) -> None:
    data, ends = b"".join(pieces), ends_of(pieces)
    assert np.array_equal(
        hashing.leaf_hashes(data, ends), hashing._hash_plainly(data, ends, b"\0").reshape(-1, 32)
    )


@pytest.mark.parametrize("ends", [[5], [2, 1], [-1, 2]])
def test_the_compiled_loop_never_reads_beyond_its_data(ends: list[int]) -> None:
    if hashing.backend() == "hashlib":
        pytest.skip("this interpreter's libcrypto is not a shared library")
    with pytest.raises(ValueError, match="ascending"):
        hashing.leaf_hashes(b"abcd", np.array(ends, np.int64))
