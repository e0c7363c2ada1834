"""Whose signatures count, and for what: the public keys of the daemon and of the people who operate it.

Theory of operation
-------------------
A point is given a keyring when it starts and follows its successors: version n + 1 replaces version n if enough keys
*of version n* signed it (as root metadata do in The Update Framework). So keys come and go without touching the points,
and nobody who can only write to the store can add a key of his own.

``quorum`` says for each kind of target how many different operators must agree to restore one. 0: none are enrolled,
and the daemon's key suffices. A ``recovery`` key lies in a safe; alone it meets any quorum. A successor takes as many
as the strictest of the quorums, or else the signature that restores a session could lower what the fleet asks for.

Pure but for :meth:`Keyring.load`.

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

from killswitch.errors import BadKey, BadRecord
from killswitch.targets import KINDS
from killswitch.trust import ed25519
from killswitch.trust.signing import (
    Signer,
    decode_trailer,
    encode_trailer,
    key_id,
    name_problem,
    signed_bytes,
    split,
)

Role = Literal["daemon", "operator", "recovery"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

CONTEXT: Final = b"killcord keyring v1"
ANY_KIND: Final = "*"
# Security limits: keyrings come from the store.
MAX_KEYS: Final = 256
MAX_QUORUM: Final = 16
MAX_SIGNATURES: Final = 64
MAX_KEYRING_BYTES: Final = 262_144


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that counts: whose it is, and as what it counts.

    Parameters
    ----------
    name : str
        One word of at most 128 characters.
    role : Role
        ``daemon`` vouches for the state, ``operator`` approves restorations, ``recovery`` alone meets any quorum.
    public : bytes
        The Ed25519 public key, 32 bytes.

    Raises
    ------
    BadKey
        If they are not.
    """

    name: str
    role: Role
    public: bytes
    id: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        problem = name_problem(self.name)
        if problem:
            raise BadKey(f"name: {problem}")
        if self.role not in ROLES:
            raise BadKey(f"role: {self.role!r:.40} is not one of {', '.join(ROLES)}")
        if type(self.public) is not bytes or not ed25519.is_public_key(self.public):
            raise BadKey(f"public: {self.name}'s is no Ed25519 key; copy the whole line again")
        object.__setattr__(self, "id", key_id(self.public))

    @classmethod
    def of(cls, signer: Signer, role: Role) -> Self:
        """Return the public half of a private key."""
        return cls(signer.name, role, signer.public)

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
            raise BadKey("the key is not base64; copy the whole line again") from None
        return cls(parts[0], cast("Role", parts[1]), public)  # the constructor checks what the cast promises


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys that count at one time.

    Parameters
    ----------
    version : int
        From 1; each successor has the next number.
    keys : tuple of PublicKey
        1 to 256, no name and no key twice; kept in the order of their names.
    quorum : mapping
        By kind of target, ``*`` for all others (0 if missing): how many operators, 0 to 16, and no more than there are.

    Raises
    ------
    BadKey
        For a key or name that is there twice, or a quorum that could never be met.
    """

    version: int
    keys: tuple[PublicKey, ...]
    quorum: Mapping[str, int] = field(default_factory=dict, hash=False)
    _by_id: Mapping[str, PublicKey] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if type(self.version) is not int or not 0 < self.version < 1 << 31:
            raise BadKey("version: expected a number above 0")
        keys = tuple(sorted(self.keys, key=lambda key: key.name))
        if not 0 < len(keys) <= MAX_KEYS:
            raise BadKey(f"keys: expected 1 to {MAX_KEYS}, not {len(keys)}")
        _require_distinct(keys)
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "_by_id", {key.id: key for key in keys})
        for kind, needed in self.quorum.items():
            self._require_quorum(kind, needed)
        object.__setattr__(self, "quorum", MappingProxyType({ANY_KIND: 0, **self.quorum}))

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
        return self._by_id.get(wanted)

    def quorum_for(self, kind: str) -> int:
        """Return how many operators must agree to restore a target of that kind."""
        return self.quorum.get(kind, self.quorum[ANY_KIND])

    @property
    def rotation_quorum(self) -> int:
        """How many operators must agree to a successor: as many as the strictest quorum asks for."""
        return max(self.quorum.values())

    def verify(self, context: bytes, data: bytes) -> PublicKey | None:
        """Return whose key sealed the statement `data` for that purpose; None if none of ours did."""
        body, wanted, signature = split(data)
        if wanted is None or signature is None:
            return None
        return self.signed(wanted, signature, signed_bytes(context, body))

    def signed(self, wanted: str, signature: bytes, message: bytes) -> PublicKey | None:
        """Return the key with the id `wanted` if `signature` is its own of `message`; None otherwise."""
        key = self._by_id.get(wanted)
        return key if key is not None and ed25519.verify(key.public, signature, message) else None

    def short(self, keys: Iterable[PublicKey], needed: int) -> int:
        """Return how many different operators are missing from `keys`, each verified, if `needed` must agree."""
        roles = [key.role for key in {key.public: key for key in keys}.values()]
        if "recovery" in roles or (needed == 0 and "daemon" in roles):
            return 0
        return max(0, max(1, needed) - roles.count("operator"))

    def accepts(self, following: SignedKeyring) -> bool:
        """Return whether `following` may take our place: the next version, signed by enough of our keys."""
        return (
            following.keyring.version == self.version + 1
            and self.short(following.signers(self), self.rotation_quorum) == 0
        )

    def newest(self, candidates: Iterable[bytes]) -> Keyring:
        """Return the newest keyring to which `candidates`, in any order, lead from this one; ignores junk."""
        newest, found = self, [signed for signed in map(_signed_or_none, candidates) if signed is not None]
        while successors := [signed.keyring for signed in found if newest.accepts(signed)]:
            newest = min(successors, key=Keyring.encode)  # of several, all points take the same
        return newest

    def encode(self) -> bytes:
        """Return the keyring as one line of JSON, the same for equal keyrings."""
        plain = {
            "v": 1,
            "version": self.version,
            "keys": [key.line() for key in self.keys],
            "quorum": dict(self.quorum),
        }
        return json.dumps(plain, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the keyring in the first line of `data` (signatures may follow); raises BadRecord.

        Only what :meth:`encode` writes is taken: signatures cover these very bytes, and a field that this version
        ignored could mean something to the people who signed it.
        """
        if len(data) > MAX_KEYRING_BYTES:
            raise BadRecord(f"{len(data)} bytes, more than {MAX_KEYRING_BYTES}")
        line = data.partition(b"\n")[0]
        try:
            keyring = cls._from_plain(json.loads(line.decode()))
        except BadKey as error:
            raise BadRecord(str(error)) from error
        except BadRecord:
            raise
        except (ValueError, RecursionError) as error:
            raise BadRecord(f"not JSON: {error}"[:200]) from error
        if keyring.encode() != line:
            raise BadRecord("not a keyring as this version writes it; upgrade killcord here")
        return keyring

    @classmethod
    def _from_plain(cls, plain: Any) -> Self:
        if type(plain) is not dict or plain.get("v") != 1 or plain.get("v") is True:
            raise BadRecord("not a keyring of version 1 of the format; upgrade killcord here")
        keys, quorum = plain.get("keys"), plain.get("quorum")
        if type(keys) is not list or not all(type(line) is str for line in keys) or len(keys) > MAX_KEYS:
            raise BadRecord(f"keys: expected a list of at most {MAX_KEYS} lines")
        if type(quorum) is not dict:
            raise BadRecord("quorum: expected an object")
        return cls(cast("int", plain.get("version")), tuple(map(PublicKey.parse, keys)), quorum)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the keyring in the file, trusted because it lies there; raises BadKey naming it."""
        try:
            with path.open("rb") as file:
                mode = path.stat().st_mode
                data = file.read(MAX_KEYRING_BYTES + 1)
        except OSError as error:
            raise BadKey(f"cannot read {path}: {error.strerror}") from error
        if mode & 0o002:
            raise BadKey(f"everybody may write to the keyring {path}: check its keys, then chmod o-w {path}")
        try:
            return cls.decode(data)
        except BadRecord as error:
            raise BadKey(f"{path} is no keyring: {error}") from error


@dataclass(frozen=True, slots=True)
class SignedKeyring:
    """A keyring on its way to replace the one before, with key id and signature of those who agree so far.

    Whether the signatures hold is for :meth:`Keyring.accepts` to say.
    """

    keyring: Keyring
    signatures: tuple[tuple[str, bytes], ...] = ()

    def signed_by(self, signer: Signer) -> SignedKeyring:
        """Return it with one more signature, in the place of an earlier one by the same key."""
        message = signed_bytes(CONTEXT, self.keyring.encode())
        others = tuple(item for item in self.signatures if item[0] != signer.key_id)
        return SignedKeyring(self.keyring, (*others, (signer.key_id, signer.sign(message))))

    def signers(self, by: Keyring) -> list[PublicKey]:
        """Return the keys of `by` that signed it, each once."""
        message = signed_bytes(CONTEXT, self.keyring.encode())
        found: dict[str, PublicKey] = {}
        for wanted, signature in self.signatures:
            key = None if wanted in found else by.signed(wanted, signature, message)
            if key is not None:
                found[wanted] = key
        return list(found.values())

    def encode(self) -> bytes:
        """Return its text: the keyring, then a line for each signature."""
        return b"\n".join((self.keyring.encode(), *(encode_trailer(*item) for item in self.signatures)))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what :meth:`encode` wrote; raises BadRecord for anything else."""
        keyring = Keyring.decode(data)
        lines = data.removesuffix(b"\n").split(b"\n")[1:]
        if len(lines) > MAX_SIGNATURES:
            raise BadRecord(f"{len(lines)} signatures, more than {MAX_SIGNATURES}")
        signatures = [found for found in map(decode_trailer, lines) if found is not None]
        if len(signatures) != len(lines):
            raise BadRecord("a line under the keyring is no signature")
        return cls(keyring, tuple(signatures))


def _signed_or_none(data: bytes) -> SignedKeyring | None:
    try:
        return SignedKeyring.decode(data)
    except BadRecord:
        return None


def _require_distinct(keys: tuple[PublicKey, ...]) -> None:
    by_name: dict[str, PublicKey] = {}
    by_id: dict[str, PublicKey] = {}
    for key in keys:
        if by_name.setdefault(key.name, key) is not key:
            raise BadKey(f"keys: two are named {key.name}; give one another name")
        # One person under two names would be two votes; and of two keys with one id, one could not be found.
        if by_id.setdefault(key.id, key) is not key:
            raise BadKey(
                f"keys: {by_id[key.id].name} and {key.name} have the same one; each person needs their own"
            )
