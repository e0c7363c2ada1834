"""Whose signatures count, and for what: the public keys of the daemon and of the people who operate it.

Theory of operation
-------------------
A point is given a keyring when it starts and follows its successors: version n + 1 replaces version n if enough keys
*of version n* signed it (as root metadata do in The Update Framework). So keys come and go without touching the points,
and nobody who can only write to the store can add a key of his own.

``quorum`` says for each kind of target how many different operators must agree to restore one. 0: none are enrolled,
and the daemon's key suffices. A ``recovery`` key lies in a safe; alone it meets any quorum.

References
----------
The Update Framework specification §5.3 (root rotation). NIST SP 800-57 for the life of keys.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Self, cast, get_args

from killswitch import ed25519
from killswitch.errors import BadKey, BadRecord
from killswitch.signing import MAX_NAME_CHARS, Signer, is_sealed_by, key_id, seal, split
from killswitch.targets import KINDS, value_problem

Role = Literal["daemon", "operator", "recovery"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

CONTEXT: Final = b"killcord keyring v1"
ANY_KIND: Final = "*"
MAX_KEYS: Final = 256  # security limit
MAX_QUORUM: Final = 16
MAX_KEYRING_BYTES: Final = 131_072  # security limit: keys, and a signature of each


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that counts; raises BadKey if it is none."""

    name: str
    role: Role
    public: bytes

    def __post_init__(self) -> None:
        problem = value_problem(self.name)
        if problem or len(self.name) > MAX_NAME_CHARS or self.name.split() != [self.name]:
            raise BadKey(f"name: {problem or 'expected one word of at most 128 characters'}")
        if self.role not in ROLES:
            raise BadKey(f"role: {self.role!r:.40} is not one of {', '.join(ROLES)}")
        if type(self.public) is not bytes or len(self.public) != ed25519.PUBLIC_BYTES:
            raise BadKey(f"public: expected {ed25519.PUBLIC_BYTES} bytes")

    @property
    def id(self) -> str:
        """The id by which signatures name the key."""
        return key_id(self.public)

    def line(self) -> str:
        """Return the key as one line of text: name, role and key."""
        return f"{self.name} {self.role} ed25519:{base64.b64encode(self.public).decode()}"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return the key in a line as :meth:`line` gives it; raises BadKey."""
        parts = line.split()
        if len(parts) != 3 or not parts[2].startswith("ed25519:"):
            raise BadKey("expected a line such as: alice operator ed25519:BASE64")
        try:
            public = base64.b64decode(parts[2].removeprefix("ed25519:"), validate=True)
        except (ValueError, binascii.Error):
            raise BadKey("the key is not base64") from None
        return cls(parts[0], cast("Role", parts[1]), public)  # the constructor checks what the cast promises


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys that count at one time.

    Raises
    ------
    BadKey
        For a key or name that is there twice, or a quorum that could never be met.
    """

    version: int
    keys: tuple[PublicKey, ...]
    quorum: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quorum", MappingProxyType(dict(self.quorum)))
        if type(self.version) is not int or not 0 < self.version < 1 << 31:
            raise BadKey("version: expected a number above 0")
        if len(self.keys) > MAX_KEYS:
            raise BadKey(f"keys: more than {MAX_KEYS}")
        for what, values in (("name", [k.name for k in self.keys]), ("key", [k.public for k in self.keys])):
            if len(set(values)) != len(values):
                raise BadKey(f"keys: the same {what} is there twice")
        for kind, needed in self.quorum.items():
            self._require_quorum(kind, needed)

    def _require_quorum(self, kind: str, needed: int) -> None:
        if kind != ANY_KIND and kind not in KINDS:
            raise BadKey(f"quorum: {kind!r:.40} is neither * nor one of {', '.join(KINDS)}")
        if type(needed) is not int or not 0 <= needed <= MAX_QUORUM:
            raise BadKey(f"quorum: expected 0 to {MAX_QUORUM} for {kind}")
        if needed > len(self.operators):
            raise BadKey(
                f"quorum: {needed} for {kind}, and there are {len(self.operators)} operators: it could never be met"
            )

    @classmethod
    def founding(cls, daemon: PublicKey, operators: Iterable[PublicKey] = ()) -> Self:
        """Return version 1: two of the operators must agree to a restoration, or as many as there are."""
        operators = tuple(operators)
        return cls(1, (daemon, *operators), {ANY_KIND: min(2, len(operators))})

    @property
    def operators(self) -> tuple[PublicKey, ...]:
        """The people's keys."""
        return tuple(key for key in self.keys if key.role == "operator")

    def key(self, wanted: str) -> PublicKey | None:
        """Return the key with that id."""
        return next((key for key in self.keys if key.id == wanted), None)

    def quorum_for(self, kind: str) -> int:
        """Return how many operators must agree to restore a target of that kind."""
        return self.quorum.get(kind, self.quorum.get(ANY_KIND, 0))

    def verify(self, context: bytes, data: bytes) -> PublicKey | None:
        """Return whose key sealed the statement `data` for that purpose; None if none of ours did."""
        body, wanted, signature = split(data)
        key = self.key(wanted)
        return key if key is not None and is_sealed_by(key.public, context, body, signature) else None

    def suffices(self, keys: Iterable[PublicKey], kind: str = ANY_KIND) -> bool:
        """Return whether `keys`, each verified, make up the quorum for that kind."""
        return self.short(keys, kind) == 0

    def short(self, keys: Iterable[PublicKey], kind: str = ANY_KIND) -> int:
        """Return how many different operators are missing from `keys` for the quorum of that kind."""
        counted = {key.public: key.role for key in keys}
        needed = self.quorum_for(kind)
        if "recovery" in counted.values() or (needed == 0 and "daemon" in counted.values()):
            return 0
        return max(0, max(1, needed) - list(counted.values()).count("operator"))

    def accepts(self, following: SignedKeyring) -> bool:
        """Return whether `following` may take our place: the next version, signed by a quorum of our keys."""
        return following.keyring.version == self.version + 1 and self.suffices(following.signers(self))

    def newest(self, candidates: Iterable[bytes]) -> Keyring:
        """Return the newest keyring to which `candidates` lead from this one, version by version; ignores junk."""
        newest = self
        for data in candidates:
            try:
                following = SignedKeyring.decode(data)
            except BadRecord:
                continue
            if newest.accepts(following):
                newest = following.keyring
        return newest

    def encode(self) -> bytes:
        """Return the keyring as one line of JSON, the same for equal keyrings."""
        plain = {
            "v": 1,
            "version": self.version,
            "keys": [key.line() for key in self.keys],
            "quorum": dict(self.quorum),
        }
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the keyring in the first line of `data` (signatures may follow); raises BadRecord."""
        if len(data) > MAX_KEYRING_BYTES:
            raise BadRecord(f"{len(data)} bytes, more than {MAX_KEYRING_BYTES}")
        try:
            plain: Any = json.loads(data.partition(b"\n")[0].decode())
        except (ValueError, RecursionError) as error:
            raise BadRecord(f"not JSON: {error}"[:200]) from error
        if type(plain) is not dict or plain.get("v") != 1 or plain.get("v") is True:
            raise BadRecord("not a keyring of version 1")
        keys, quorum = plain.get("keys"), plain.get("quorum")
        if type(keys) is not list or not all(type(line) is str for line in keys) or len(keys) > MAX_KEYS:
            raise BadRecord(f"keys: expected a list of at most {MAX_KEYS} lines")
        if type(quorum) is not dict:
            raise BadRecord("quorum: expected an object")
        try:
            return cls(cast("int", plain.get("version")), tuple(map(PublicKey.parse, keys)), quorum)
        except BadKey as error:
            raise BadRecord(str(error)) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the keyring in the file; raises BadKey naming it."""
        try:
            return cls.decode(path.read_bytes())
        except OSError as error:
            raise BadKey(f"cannot read {path}: {error.strerror}") from error
        except BadRecord as error:
            raise BadKey(f"{path} is no keyring: {error}") from error


@dataclass(frozen=True, slots=True)
class SignedKeyring:
    """A keyring on its way to replace the one before: with the signatures gathered so far, a trailer line each."""

    keyring: Keyring
    trailers: tuple[bytes, ...] = ()

    def signed_by(self, signer: Signer) -> SignedKeyring:
        """Return it with one more signature."""
        body = self.keyring.encode()
        trailer = seal(signer, CONTEXT, body)[len(body) + 1 :]
        return SignedKeyring(self.keyring, (*self.trailers, trailer))

    def signers(self, by: Keyring) -> list[PublicKey]:
        """Return the keys of `by` whose signature is on it."""
        body = self.keyring.encode()
        found = (by.verify(CONTEXT, body + b"\n" + trailer) for trailer in self.trailers)
        return [key for key in found if key is not None]

    def encode(self) -> bytes:
        """Return its text: the keyring, then a line for each signature."""
        return b"\n".join((self.keyring.encode(), *self.trailers))

    @classmethod
    def decode(cls, data: bytes) -> SignedKeyring:
        """Return what :meth:`encode` wrote; raises BadRecord for anything else."""
        keyring = Keyring.decode(data)
        body, *trailers = data.rstrip(b"\n").split(b"\n")
        # The signatures are on these very bytes; another way to write the same keyring is another document.
        if body != keyring.encode() or len(trailers) > MAX_KEYS:
            raise BadRecord("not a keyring as this version writes it")
        return cls(keyring, tuple(trailers))
