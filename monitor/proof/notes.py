"""Signed notes (c2sp.org/signed-note): a text, an empty line, and a line for each signature. Pure.

Signatures are Ed25519 (type 0x01). Lines of keys that are not known are passed over, as the specification has it, so a
note can carry others beside ours: witnesses', or a post-quantum one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from killswitch.trust import ed25519
from monitor.errors import ProofError

ED25519: Final = 0x01
MAX_NOTE_BYTES: Final = 1024 * 1024
MAX_SIGNATURES: Final = 100
_KEY_ID_BYTES: Final = 4
_DASH: Final = "— "  # an em dash, as the specification has it


class Signer:
    """Signs notes under a name, with an Ed25519 secret of 32 bytes; raises `ProofError` if the name cannot be one."""

    def __init__(self, name: str, seed: bytes) -> None:
        self.name = _checked_name(name)
        self._seed = seed
        self._public = ed25519.public_key(seed)
        self._key_id = _key_id(name, self._public)

    @property
    def verifier(self) -> Verifier:
        """Who checks what this one signs."""
        return Verifier(self.name, self._public)

    @property
    def vkey(self) -> str:
        """The public key as text, for those who check."""
        return self.verifier.vkey

    def line(self, text: bytes) -> str:
        """Return the signature line of a note with this text."""
        signature = self._key_id + ed25519.sign(self._seed, text)
        return f"{_DASH}{self.name} {base64.b64encode(signature).decode()}\n"


class Verifier(NamedTuple):
    """Whose signatures count: a name and an Ed25519 public key, 32 bytes."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature names its key."""
        return _key_id(self.name, self.public)

    @property
    def vkey(self) -> str:
        """The key as text: name, key id in hex, type and key in base64."""
        encoded = base64.b64encode(bytes([ED25519]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Return the verifier that a text stands for; raises `ProofError` if it is none."""
        parts = vkey.strip().split("+", 2)
        if len(parts) != 3:
            raise ProofError("a key is a name, a key id and a key, with + between them")
        name, key_id, encoded = parts
        key = _base64(encoded, "the key")
        if len(key) != 1 + ed25519.PUBLIC_BYTES or key[0] != ED25519:
            raise ProofError("the key is not an Ed25519 key")
        verifier = cls(_checked_name(name), key[1:])
        if verifier.key_id.hex() != key_id.lower():
            raise ProofError(f"the key id {key_id!r:.20} is not that of the key")
        return verifier


class Note(NamedTuple):
    """A note that was opened: its text, and the names of the known keys that signed it."""

    text: str
    signed_by: tuple[str, ...]


def sign_note(text: str, signers: Sequence[Signer]) -> bytes:
    """Return the note with a signature of each signer.

    Raises
    ------
    ProofError
        If the text cannot be one: it is empty, has control characters, or does not end with a line's end.
    """
    _check_text(text)
    encoded = text.encode()
    return encoded + b"\n" + "".join(signer.line(encoded) for signer in signers).encode()


def open_note(data: bytes, verifiers: Sequence[Verifier]) -> Note:
    """Return the note if a known key signed it, and every signature of a known key is right.

    Raises
    ------
    ProofError
        If it is no note, a known key's signature is wrong, or no known key signed it.
    """
    text, lines = _split(data)
    signed_by: list[str] = []
    for line in lines:
        name, signature = _signature(line)
        for verifier in verifiers:
            if (verifier.name, verifier.key_id) != (name, signature[:_KEY_ID_BYTES]) or name in signed_by:
                continue
            if not _is_right(verifier.public, signature[_KEY_ID_BYTES:], text.encode()):
                raise ProofError(f"the signature of {name} is wrong")
            signed_by.append(name)
    if not signed_by:
        raise ProofError("no known key signed it")
    return Note(text, tuple(signed_by))


def _split(data: bytes) -> tuple[str, list[str]]:
    if len(data) > MAX_NOTE_BYTES:
        raise ProofError(f"a note has at most {MAX_NOTE_BYTES} bytes")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise ProofError("a note is UTF-8") from error
    text, gap, signatures = whole.rpartition("\n\n")
    if not gap or not signatures.endswith("\n"):
        raise ProofError("a note ends with an empty line and its signatures")
    lines = signatures[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise ProofError(f"a note has at most {MAX_SIGNATURES} signatures")
    _check_text(text + "\n")
    return text + "\n", lines


def _signature(line: str) -> tuple[str, bytes]:
    if not line.startswith(_DASH):
        raise ProofError("a signature's line begins with an em dash and a space")
    name, gap, encoded = line[len(_DASH) :].partition(" ")
    signature = _base64(encoded, "a signature")
    if not gap or len(signature) <= _KEY_ID_BYTES:
        raise ProofError("a signature's line has a name and a signature")
    return _checked_name(name), signature


def _is_right(public: bytes, signature: bytes, text: bytes) -> bool:
    return len(signature) == ed25519.SIGNATURE_BYTES and ed25519.verify(public, signature, text)


def _key_id(name: str, public: bytes) -> bytes:
    named = name.encode() + b"\n" + bytes([ED25519]) + public
    return hashlib.sha256(named).digest()[:_KEY_ID_BYTES]


def _checked_name(name: str) -> str:
    if (
        not name
        or "+" in name
        or any(character.isspace() or not character.isprintable() for character in name)
    ):
        raise ProofError(f"{name!r:.80} is no name of a key: it has no spaces and no plus")
    return name


def _check_text(text: str) -> None:
    if not text.endswith("\n") or text == "\n":
        raise ProofError("the text of a note ends with a line's end")
    if any(ord(character) < 32 and character != "\n" for character in text):
        raise ProofError("the text of a note has no control characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ProofError("the text of a note is UTF-8") from error


def _base64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProofError(f"{what} is not base64") from error
