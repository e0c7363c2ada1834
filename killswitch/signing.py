"""Private keys in files, and the trailer by which a statement carries its signature.

A sealed statement is one line of JSON, a newline, the signing key's id, a space, and the signature in base64. What is
signed is the purpose ("killcord head v1"), a newline, and the line of JSON as it stands: nothing has to be written
again in the same way to be verified, and a signature for one purpose is none for another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from killswitch import ed25519
from killswitch.errors import BadKey
from killswitch.targets import value_problem

MAX_NAME_CHARS: Final = 128
_FIRST_LINE: Final = "killcord private key, ed25519: keep it secret"
_MAX_FILE_BYTES: Final = 4_096


def key_id(public: bytes) -> str:
    """Return the id of a public key: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody's private key. Its text form does not show the secret.

    Parameters
    ----------
    name : str
        Whose it is; for people.
    seed : bytes
        32 secret bytes (RFC 8032 §5.1.5).

    Raises
    ------
    BadKey
        If they are not.
    """

    name: str
    seed: bytes = field(repr=False)
    public: bytes = field(init=False)

    def __post_init__(self) -> None:
        problem = value_problem(self.name)
        if problem or len(self.name) > MAX_NAME_CHARS:
            raise BadKey(f"name: {problem or f'longer than {MAX_NAME_CHARS} characters'}")
        if len(self.seed) != ed25519.SEED_BYTES:
            raise BadKey(f"seed: {len(self.seed)} bytes, not {ed25519.SEED_BYTES}")
        object.__setattr__(self, "public", ed25519.public_key(self.seed))

    @classmethod
    def generate(cls, name: str) -> Self:
        """Return a new key from the system's randomness."""
        return cls(name, ed25519.generate())

    @property
    def key_id(self) -> str:
        """The id by which keyrings and signatures name the key."""
        return key_id(self.public)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`, 64 bytes."""
        return ed25519.sign(self.seed, message)

    def save(self, path: Path) -> None:
        """Write the key to a new file that only its owner can read; raises BadKey if that cannot be done."""
        text = f"{_FIRST_LINE}\n{self.name}\n{base64.b64encode(self.seed).decode()}\n"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise BadKey(f"cannot write {path}: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the key in the file.

        Raises
        ------
        BadKey
            If it cannot be read, holds no key, or others may read it.
        """
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(_MAX_FILE_BYTES)
        except OSError as error:
            raise BadKey(f"cannot read {path}: {error.strerror}") from error
        if stat.S_IMODE(mode) & 0o077:
            raise BadKey(f"{path} can be read by others than its owner: chmod 600 {path}")
        try:
            first, name, seed = data.decode().splitlines()
            if first != _FIRST_LINE:
                raise ValueError
            return cls(name, base64.b64decode(seed, validate=True))
        except (ValueError, binascii.Error):
            raise BadKey(f"{path} holds no private key; killcord keys new makes one") from None


def seal(signer: Signer, context: bytes, body: bytes) -> bytes:
    """Return `body`, one line, with its signature for the purpose `context`."""
    signature = signer.sign(context + b"\n" + body)
    return body + b"\n" + signer.key_id.encode() + b" " + base64.b64encode(signature)


def split(data: bytes) -> tuple[bytes, str, bytes]:
    """Return body, key id and signature of a sealed statement; the last two empty if it has no trailer of that form."""
    body, newline, trailer = data.rpartition(b"\n")
    name, space, encoded = trailer.partition(b" ")
    if not newline or not space or b"\n" in body:
        return data, "", b""
    try:
        return body, name.decode("ascii"), base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        return data, "", b""


def is_sealed_by(public: bytes, context: bytes, body: bytes, signature: bytes) -> bool:
    """Return whether `signature` is that of `public` on `body` for the purpose `context`."""
    return ed25519.verify(public, signature, context + b"\n" + body)
