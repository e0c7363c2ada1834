"""Checkpoints of a log (c2sp.org/tlog-checkpoint): whose it is, its number of entries, and the root over them. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from monitor.errors import ProofError
from monitor.proof.merkle import HASH_BYTES
from monitor.proof.notes import Signer, Verifier, open_note, sign_note

MAX_SIZE: Final = 2**63 - 1
_SIZE: Final = re.compile("0|[1-9][0-9]{0,18}", re.ASCII)


class Checkpoint(NamedTuple):
    """The state of a log. `extensions` are further lines, of whoever made it; ours has none."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def encode(self) -> str:
        """Return the text of its note."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Return the checkpoint in a note's text; raises `ProofError` if it is none."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1]:
            raise ProofError("a checkpoint has an origin, a size and a root, a line each")
        origin, size, root, *extensions = lines[:-1]
        if not origin:
            raise ProofError("origin: a checkpoint says whose it is")
        if not _SIZE.fullmatch(size) or int(size) > MAX_SIZE:
            raise ProofError(f"size: {size!r:.40} is no number of entries")
        if not all(extensions):
            raise ProofError("a checkpoint has no empty lines")
        return cls(origin, int(size), _root(root), tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[Signer]) -> bytes:
    """Return the signed note of a checkpoint."""
    return sign_note(checkpoint.encode(), signers)


def open_checkpoint(data: bytes, verifiers: Sequence[Verifier]) -> Checkpoint:
    """Return the checkpoint in a note that a known key signed; raises `ProofError` if it is none."""
    return Checkpoint.parse(open_note(data, verifiers).text)


def parse_checkpoint(data: bytes) -> Checkpoint:
    """Return the checkpoint in a note, whoever signed it: for who wrote it. Raises `ProofError` if it is none."""
    text, gap, _ = data.decode(errors="replace").partition("\n\n")
    if not gap:
        raise ProofError("a note ends with an empty line and its signatures")
    return Checkpoint.parse(text + "\n")


def _root(text: str) -> bytes:
    try:
        root = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProofError("root: it is not base64") from error
    if len(root) != HASH_BYTES or base64.b64encode(root).decode() != text:
        raise ProofError(f"root: it has {HASH_BYTES} bytes")
    return root
