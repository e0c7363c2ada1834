"""The Merkle tree of RFC 6962, §2.1 (and RFC 9162, §2.1): roots, inclusion and consistency proofs. Pure.

A tree of n leaves is cut at the largest power of two below n, again and again. So every node is the root of a perfect
subtree, whose hash never changes once it is full, or lies on the right edge. Whoever keeps the perfect ones can give
every root and every proof: that is the `Node` function that these functions ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from monitor.errors import ProofError

Node = Callable[[int, int], bytes]
"""``node(level, index)``: the hash of the perfect subtree of ``2**level`` leaves from leaf ``index * 2**level`` on."""

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
MAX_PROOF: Final = 64
"""Hashes a proof: enough for 2**64 leaves."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256 of 0x00 and its bytes."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node: SHA-256 of 0x01 and those of its children."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root of the tree over these leaf hashes."""
    if not hashes:
        return EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    cut = _cut(len(hashes))
    return node_hash(root_of(hashes[:cut]), root_of(hashes[cut:]))


def root_at(size: int, node: Node) -> bytes:
    """Return the root of the first `size` leaves."""
    return _subtree(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """Return the audit path of the leaf with this index in the tree of the first `size` leaves, from the leaf up.

    Raises
    ------
    ProofError
        If there is no such leaf in that tree.
    """
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size}")
    return _path(index, 0, size, node)


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """Return the proof that the tree of the first `new` leaves goes on from that of the first `old`.

    Raises
    ------
    ProofError
        If the old tree is larger.
    """
    if not 0 <= old <= new:
        raise ProofError(f"a tree of {new} leaves does not go on from one of {old}")
    return _consistency(old, 0, new, node, is_known=True) if 0 < old < new else []


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if the leaf with this hash is in the tree with this root, at this index (RFC 9162, §2.1.3.2).

    Raises
    ------
    ProofError
        If that is not proven.
    """
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size}")
    _require_hashes([leaf, root, *proof])
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError("the inclusion proof is too short")
    if found != root:
        raise ProofError(f"leaf {index} is not the one that is in the tree of {size}")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Return if the tree of `new` leaves goes on from that of `old` (RFC 9162, §2.1.4.2).

    Raises
    ------
    ProofError
        If that is not proven.
    """
    _require_hashes([old_root, new_root, *proof])
    if not 0 <= old <= new:
        raise ProofError(f"a tree of {new} leaves does not go on from one of {old}")
    if old == new or old == 0:
        is_right = not proof and (old_root == new_root if old == new else old_root == EMPTY_ROOT)
        if not is_right:
            raise ProofError(f"the tree of {new} leaves does not go on from the one of {old}")
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        raise ProofError("the consistency proof is too short")
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old_found = new_found = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if at & 1 or at == last:
            old_found, new_found = node_hash(sibling, old_found), node_hash(sibling, new_found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new_found = node_hash(new_found, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError("the consistency proof is too short")
    if (old_found, new_found) != (old_root, new_root):
        raise ProofError(f"the tree of {new} leaves does not go on from the one of {old}")


def _cut(size: int) -> int:
    """Return the largest power of two below `size`, which is 2 at least."""
    return 1 << ((size - 1).bit_length() - 1)


def _subtree(first: int, size: int, node: Node) -> bytes:
    if not size & (size - 1):
        level = size.bit_length() - 1
        return node(level, first >> level)
    cut = _cut(size)
    return node_hash(_subtree(first, cut, node), _subtree(first + cut, size - cut, node))


def _path(index: int, first: int, size: int, node: Node) -> list[bytes]:
    if size == 1:
        return []
    cut = _cut(size)
    if index < cut:
        return [*_path(index, first, cut, node), _subtree(first + cut, size - cut, node)]
    return [*_path(index - cut, first + cut, size - cut, node), _subtree(first, cut, node)]


def _consistency(old: int, first: int, size: int, node: Node, *, is_known: bool) -> list[bytes]:
    if old == size:
        return [] if is_known else [_subtree(first, size, node)]
    cut = _cut(size)
    if old <= cut:
        left = _consistency(old, first, cut, node, is_known=is_known)
        return [*left, _subtree(first + cut, size - cut, node)]
    right = _consistency(old - cut, first + cut, size - cut, node, is_known=False)
    return [*right, _subtree(first, cut, node)]


def _require_hashes(hashes: Sequence[bytes]) -> None:
    if len(hashes) > MAX_PROOF + 2:
        raise ProofError(f"a proof has at most {MAX_PROOF} hashes, not {len(hashes) - 2}")
    for one in hashes:
        if len(one) != HASH_BYTES:
            raise ProofError(f"a hash has {HASH_BYTES} bytes, not {len(one)}")
