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
import re
import stat
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from killswitch.errors import BadKey
from killswitch.trust import ed25519

MAX_NAME_CHARS: Final = 128
_FIRST_LINE: Final = "killcord private key, ed25519: keep it secret"
_MAX_FILE_BYTES: Final = 4_096  # security limit: what is read in search of a key
_TRAILER: Final = re.compile(rb"([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)")


def key_id(public: bytes) -> str:
    """Return the id of a public key: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]


def name_problem(name: object) -> str | None:
    """Return what keeps `name` from naming a key, in words, or None if nothing does."""
    if not isinstance(name, str):
        return f"expected text, not {type(name).__name__}"
    if not 0 < len(name) <= MAX_NAME_CHARS:
        return f"expected 1 to {MAX_NAME_CHARS} characters"
    # A name is one word in lines of text, and people decide upon it: Z is blanks, C what cannot be seen (control
    # characters, zero-width ones, half surrogate pairs).
    if any(unicodedata.category(character)[0] in "ZC" for character in name):
        return "expected one word without invisible characters"
    return None


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody's private key. Its text form does not show the secret.

    Parameters
    ----------
    name : str
        Whose it is, for people: one word of at most 128 characters, such as ``alice@example.com``.
    seed : bytes
        32 secret bytes (RFC 8032 §5.1.5).

    Raises
    ------
    BadKey
        If they are not.
    """

    name: str
    seed: bytes = field(repr=False)
    public: bytes = field(init=False, repr=False, compare=False)
    key_id: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        problem = name_problem(self.name)
        if problem:
            raise BadKey(f"name: {problem}")
        if not isinstance(self.seed, bytes) or len(self.seed) != ed25519.SEED_BYTES:
            raise BadKey(f"seed: expected {ed25519.SEED_BYTES} bytes")
        object.__setattr__(self, "public", ed25519.public_key(self.seed))
        object.__setattr__(self, "key_id", key_id(self.public))

    @classmethod
    def generate(cls, name: str) -> Self:
        """Return a new key from the system's randomness."""
        return cls(name, ed25519.generate())

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`, 64 bytes."""
        return ed25519.sign(self.seed, message)

    def save(self, path: Path) -> None:
        """Write the key to a new file that only its owner can read, and see it to the disk.

        Raises
        ------
        BadKey
            If the file is there already, or cannot be written.
        """
        text = f"{_FIRST_LINE}\n{self.name}\n{base64.b64encode(self.seed).decode()}\n"
        try:
            _write_new(path, text.encode())
        except FileExistsError:
            raise BadKey(f"{path} exists, and a key is never overwritten: name another file") from None
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
            first, name, seed = _read_private(path).decode().split("\n", 2)
            if first != _FIRST_LINE:
                raise ValueError
            return cls(name, base64.b64decode(seed.strip(), validate=True))
        except (ValueError, binascii.Error) as error:
            if isinstance(error, BadKey) and str(path) in str(error):
                raise
            # Without the cause: a decoder's message may quote what it could not decode.
            raise BadKey(f"{path} holds no private key; killcord keys new makes one") from None


def seal(signer: Signer, context: bytes, body: bytes) -> bytes:
    """Return `body`, one line, with its signature for the purpose `context`."""
    signature = signer.sign(signed_bytes(context, body))
    return body + b"\n" + encode_trailer(signer.key_id, signature)


def split(data: bytes) -> tuple[bytes, str | None, bytes | None]:
    """Return body, key id and signature of a sealed statement; the last two None if it has no trailer of that form.

    Never raises, whatever the bytes, and verifies nothing: that is :meth:`killswitch.trust.keyring.Keyring.verify`.
    """
    body, _, line = data.partition(b"\n")
    found = decode_trailer(line)
    return (body, None, None) if found is None else (body, *found)


def signed_bytes(context: bytes, body: bytes) -> bytes:
    """Return what a signature covers. Neither part may hold a newline, so no two pairs give the same bytes."""
    if b"\n" in context or b"\n" in body:
        raise ValueError("neither a purpose nor a signed statement may hold a newline")
    return context + b"\n" + body


def encode_trailer(key: str, signature: bytes) -> bytes:
    """Return the line under a statement: key id, space, signature in base64."""
    return key.encode() + b" " + base64.b64encode(signature)


def decode_trailer(line: bytes) -> tuple[str, bytes] | None:
    """Return key id and signature (64 bytes) of such a line; None if it is none."""
    match = _TRAILER.fullmatch(line)
    return None if match is None else (match[1].decode(), base64.b64decode(match[2]))


def _read_private(path: Path) -> bytes:
    try:
        # Not blocking: a pipe in the place of the file would hold us up for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise BadKey(f"{path} can be read by others than its owner: chmod 600 {path}")
            return file.read(_MAX_FILE_BYTES) or b""
    except OSError as error:
        raise BadKey(f"cannot read {path}: {error.strerror}") from error


def _write_new(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise


def sync_directory(directory: Path) -> None:
    """See to the disk which files `directory` holds: a new file's name is lost without it."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
