"""Petitions and votes on their way from one person to the next: a hash in the store.

Nothing here is trusted. A vote is worth what its signature is worth, wherever it was kept, and whoever empties the hash
makes people vote again; so it needs no script, no epoch and no signature of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from killswitch.errors import BadRecord, StoreRefused
from killswitch.storage.links import Link
from killswitch.storage.snapshots import number, pairs
from killswitch.targets import Target
from killswitch.trust.approvals import Approval, Petition

MAX_FIELDS: Final = 1_000
"""Security limit: petitions and votes that are kept, and that a reader asks for, at a time."""


@dataclass(frozen=True, slots=True)
class OpenPetition:
    """A petition that has not run out, and the votes that say they are for it; unverified."""

    petition: Petition
    approvals: tuple[Approval, ...]


class Petitions:
    """The hash of petitions. Not safe for several threads at once, as its link is not.

    Field ``ID`` holds a petition and ``ID/KEYID`` the vote for it by that key. Every method raises StoreUnreachable or
    StoreRefused as :meth:`Link.call` does.

    Parameters
    ----------
    link : Link
        A connection whose user may write revocations.
    key : str
        The hash: :attr:`killswitch.storage.store.Keys.petitions`.
    """

    def __init__(self, link: Link, key: str) -> None:
        self._link = link
        self._key = key

    def all(self, now_s: float) -> list[OpenPetition]:
        """Return the petitions that are open at `now_s` (seconds since 1970), the oldest first; passes over junk."""
        return _open(self._fields(), now_s)

    def find(self, petition_id: str, now_s: float) -> OpenPetition | None:
        """Return the open petition with this id."""
        return next((found for found in self.all(now_s) if found.petition.id == petition_id), None)

    def open_for(self, target: Target, lifts: str, now_s: float) -> list[OpenPetition]:
        """Return the open petitions for lifting the record `lifts` of `target`, the oldest first."""
        return [
            found
            for found in self.all(now_s)
            if (found.petition.target, found.petition.lifts) == (target, lifts)
        ]

    def add(self, petition: Petition, now_s: float) -> None:
        """Keep a new petition, and sweep out what has run out or cannot be read.

        Raises
        ------
        StoreRefused
            If too many are open.
        """
        fields = self._fields()
        kept = {name for found in _open(fields, now_s) for name in _names(found)}
        gone = [name for name in fields if name not in kept]
        if gone:
            self._link.call("HDEL", self._key, *gone)
        self._put(petition.id, petition.encode())

    def vote(self, approval: Approval) -> None:
        """Keep a vote; a second one by the same key takes the place of the first."""
        self._put(f"{approval.petition.id}/{approval.key_id}", approval.encode())

    def remove(self, found: OpenPetition) -> None:
        """Forget a petition and its votes: it was carried out, or what it would lift is gone."""
        self._link.call("HDEL", self._key, *_names(found))

    def _fields(self) -> dict[bytes, bytes]:
        self._require_room(self._count() - 1)
        return pairs(self._link.call("HGETALL", self._key))

    def _put(self, name: str, data: bytes) -> None:
        self._require_room(self._count())
        self._link.call("HSET", self._key, name, data)

    def _count(self) -> int:
        return number(self._link.call("HLEN", self._key))

    def _require_room(self, count: int) -> None:
        if count >= MAX_FIELDS:
            raise StoreRefused(
                f"{self._key} in the store holds {MAX_FIELDS} petitions and votes or more; look who fills it, delete"
                " it, and have people vote again"
            )


def _open(fields: Mapping[bytes, bytes], now_s: float) -> list[OpenPetition]:
    petitions = {
        petition.id.encode(): petition
        for name, data in fields.items()
        if (petition := _petition_or_none(data)) is not None
        and petition.id.encode() == name
        and petition.expires_at_s >= now_s
    }
    votes: dict[bytes, list[Approval]] = {name: [] for name in petitions}
    for name, data in fields.items():
        petition_id, slash, key_id = name.rpartition(b"/")
        approval = _approval_or_none(data) if slash and petition_id in petitions else None
        if approval is None or (approval.petition, approval.key_id.encode()) != (
            petitions[petition_id],
            key_id,
        ):
            continue
        votes[petition_id].append(approval)
    found = (OpenPetition(petition, _in_order(votes[name])) for name, petition in petitions.items())
    return sorted(found, key=lambda each: (each.petition.opened_at_s, each.petition.id))


def _in_order(votes: list[Approval]) -> tuple[Approval, ...]:
    return tuple(sorted(votes, key=lambda vote: (vote.at_s, vote.key_id)))


def _names(found: OpenPetition) -> list[bytes]:
    petition_id = found.petition.id
    return [name.encode() for name in (petition_id, *(f"{petition_id}/{v.key_id}" for v in found.approvals))]


def _petition_or_none(data: bytes) -> Petition | None:
    try:
        return Petition.decode(data)
    except BadRecord:
        return None


def _approval_or_none(data: bytes) -> Approval | None:
    try:
        return Approval.decode(data)
    except BadRecord:
        return None
