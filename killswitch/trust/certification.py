"""Signing heads and believing them: what a writer vouches for, and what a reader may conclude.

A writer signs a digest of the state only if it can follow it from a head that was signed itself. Otherwise somebody
could rob the store and have the next honest kill vouch for what is left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from killswitch.errors import BadRecord, InvalidRequest
from killswitch.trust import head as heads
from killswitch.trust.head import Head
from killswitch.trust.keyring import Keyring, PublicKey
from killswitch.trust.signing import Signer, seal


@dataclass(frozen=True, slots=True)
class Certified:
    """A head whose signature holds, and whose key made it."""

    head: Head
    key: PublicKey


def read_head(keyring: Keyring, data: bytes) -> Certified | None:
    """Return the head in `data` if a key of `keyring` signed it, else None, whatever the bytes."""
    key = keyring.verify(heads.CONTEXT, data)
    if key is None:
        return None
    try:
        return Certified(heads.decode_head(data.partition(b"\n")[0]), key)
    except BadRecord:
        return None


def vouches_for(certified: Certified | None, epoch: int, records: Mapping[bytes, bytes]) -> bool:
    """Return whether a head covers the state hash `records` as of `epoch`; O(n)."""
    return (
        certified is not None
        and certified.head.epoch == epoch
        and certified.head.state == heads.digest(records)
    )


def signer_of(certified: Certified | None, epoch: int, change: bytes) -> str:
    """Return the name of the key that vouches for the log entry `change` of `epoch`, "" if none does."""
    if certified is None or certified.head.epoch != epoch:
        return ""
    return certified.key.name if certified.head.change_sha256 == _sha256(change) else ""


class Certifier:
    """Makes the head that goes with each change of one writer. Safe for several threads.

    Parameters
    ----------
    signer : Signer or None
        The writer's key; None makes no heads (points with a keyring then wait for the daemon to vouch).
    keyring : Keyring or None
        Whose heads may be built upon; required with `signer`.
    """

    def __init__(self, signer: Signer | None, keyring: Keyring | None) -> None:
        if signer is not None and keyring is None:
            raise InvalidRequest("keyring", "a signer needs the keyring by which earlier heads are judged")
        self.signer = signer
        self.keyring = keyring
        self._known = (b"", 0, 0)  # a head that is known to be good, its epoch and digest

    def head_after(
        self, before: bytes, *, before_epoch: int, epoch: int, target: bytes, old: bytes, new: bytes, change_id: str,
        change: bytes, at_s: float,
    ) -> bytes:  # fmt: skip
        """Return the sealed head for change number `epoch`, or nothing without a signer.

        Parameters
        ----------
        before : bytes
            The head found in the store, which counts if it is that of ``before_epoch``, the store's epoch.
        target, old, new : bytes
            The field of the state hash that changes, its record before (empty: none) and after.
        change : bytes
            The log entry.
        """
        if self.signer is None:
            return b""
        known = self._state_of(before, before_epoch)
        state = None if known is None else heads.moved(known, target, old, new)
        return self._seal(self.signer, Head(epoch, change_id, _sha256(change), state, at_s))

    def head_of(self, records: Mapping[bytes, bytes], *, epoch: int, change_id: str, at_s: float) -> bytes:
        """Return the sealed head for a state that was put in place as a whole."""
        if self.signer is None:
            return b""
        return self._seal(self.signer, Head(epoch, change_id, "", heads.digest(records), at_s))

    def _state_of(self, before: bytes, epoch: int) -> int | None:
        data, known_epoch, state = self._known
        if before and before == data:
            return state if known_epoch == epoch else None
        certified = None if self.keyring is None or not before else read_head(self.keyring, before)
        if certified is None or certified.head.epoch != epoch:
            return None
        return certified.head.state

    def _seal(self, signer: Signer, head: Head) -> bytes:
        sealed = seal(signer, heads.CONTEXT, heads.encode_head(head))
        if head.state is not None:
            self._known = (sealed, head.epoch, head.state)
        return sealed


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if data else ""
