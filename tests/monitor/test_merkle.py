"""The Merkle tree: the vectors of RFC 6962's reference implementation, and what must hold for every tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import ProofError
from monitor.proof.merkle import (
    EMPTY_ROOT,
    Node,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_at,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# Certificate Transparency's reference implementation, merkletree/tree_hasher_test and merkle_tree_test.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (leaf, size) → audit path, and (old, new) → consistency proof, of the same reference (leaves counted from 0).
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def tree(count: int) -> tuple[list[bytes], Node]:
    """Return the leaf hashes of a tree, and who gives its nodes, perfect subtrees within it only."""
    hashes = [leaf_hash(LEAVES[i] if i < 8 else b"%d" % i) for i in range(count)]

    def node(level: int, index: int) -> bytes:
        assert (index + 1) << level <= count
        if level == 0:
            return hashes[index]
        return node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

    return hashes, node


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_reference(size: int) -> None:
    hashes, node = tree(size)
    assert root_of(hashes).hex() == root_at(size, node).hex() == ROOTS[size - 1]


def test_the_empty_tree_has_the_root_of_nothing() -> None:
    assert root_of([]) == root_at(0, tree(0)[1]) == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_audit_paths_are_those_of_the_reference(index: int, size: int) -> None:
    assert [one.hex() for one in inclusion_proof(index, size, tree(8)[1])] == PATHS[index, size]


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_consistency_proofs_are_those_of_the_reference(old: int, new: int) -> None:
    assert [one.hex() for one in consistency_proof(old, new, tree(8)[1])] == CONSISTENCY[old, new]


@given(st.integers(1, 70), st.data())
def test_every_leaf_of_every_tree_is_proven(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    hashes, node = tree(70)
    verify_inclusion(hashes[index], index, size, inclusion_proof(index, size, node), root_of(hashes[:size]))


@given(st.integers(0, 70), st.data())
def test_every_tree_goes_on_from_every_smaller_one(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, new))
    hashes, node = tree(70)
    proof = consistency_proof(old, new, node)
    verify_consistency(old, new, proof, root_of(hashes[:old]), root_of(hashes[:new]))


def _flipped(one: bytes, bit: int) -> bytes:
    return (int.from_bytes(one, "big") ^ (1 << bit)).to_bytes(len(one), "big")


@given(st.integers(1, 40), st.data())
def test_nothing_else_is_proven_by_an_inclusion_proof(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    hashes, node = tree(40)
    proof, root = inclusion_proof(index, size, node), root_of(hashes[:size])
    parts = [hashes[index], root, *proof]
    at, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[at] = _flipped(parts[at], bit)
    with pytest.raises(ProofError):
        verify_inclusion(parts[0], index, size, parts[2:], parts[1])
    other = data.draw(st.integers(0, 45))
    if other != index:
        with pytest.raises(ProofError):
            verify_inclusion(hashes[index], other, size, proof, root)
    for wrong in (proof[:-1] if proof else [root], [*proof, root]):
        with pytest.raises(ProofError):
            verify_inclusion(hashes[index], index, size, wrong, root)


@given(st.integers(2, 40), st.data())
def test_nothing_else_is_proven_by_a_consistency_proof(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new - 1))
    hashes, node = tree(40)
    proof = consistency_proof(old, new, node)
    parts = [root_of(hashes[:old]), root_of(hashes[:new]), *proof]
    at, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    parts[at] = _flipped(parts[at], bit)
    with pytest.raises(ProofError):
        verify_consistency(old, new, parts[2:], parts[0], parts[1])
    for wrong in (proof[:-1], [*proof, parts[0]]):
        with pytest.raises(ProofError):
            verify_consistency(old, new, wrong, root_of(hashes[:old]), root_of(hashes[:new]))


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_what_is_not_in_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="not in a tree"):
        inclusion_proof(index, size, tree(8)[1])
    with pytest.raises(ProofError, match="not in a tree"):
        verify_inclusion(EMPTY_ROOT, index, size, [], EMPTY_ROOT)


@pytest.mark.parametrize(("old", "new"), [(3, 2), (-1, 2)])
def test_a_tree_does_not_go_on_from_a_larger_one(old: int, new: int) -> None:
    with pytest.raises(ProofError, match="go on"):
        consistency_proof(old, new, tree(8)[1])
    with pytest.raises(ProofError, match="go on"):
        verify_consistency(old, new, [], EMPTY_ROOT, EMPTY_ROOT)


@pytest.mark.parametrize("proof", [[b""], [b"x" * 31], [b"x" * 32] * 100])
def test_what_are_no_hashes_are_refused(proof: list[bytes]) -> None:
    with pytest.raises(ProofError, match="has"):
        verify_inclusion(EMPTY_ROOT, 0, 2, proof, EMPTY_ROOT)
