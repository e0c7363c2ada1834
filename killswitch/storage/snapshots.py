"""All revocations at one epoch, as read from the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from killswitch.errors import BadRecord, StoreRefused
from killswitch.revocations import Revocation
from killswitch.storage import codec
from killswitch.targets import Target
from killswitch.trust.certification import read_head, vouches_for
from killswitch.trust.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All revocations at one epoch.

    ``revocations`` includes suspensions that have run out; ``unreadable`` names the entries that this version
    cannot read (points refuse everything while there are any). ``tip_id`` is the change id of ``epoch`` in
    the log, ``known_id`` that of the epoch the reader asked about; None where the log does not reach. ``certified``
    says that a key of the reader's keyring vouches for all of it; always False without a keyring.
    """

    epoch: int
    revocations: dict[Target, Revocation]
    unreadable: tuple[str, ...] = ()
    tip_id: str | None = None
    known_id: str | None = None
    oldest_epoch: int | None = None
    certified: bool = False


def parse_snapshot(replies: list[Any], keyring: Keyring | None = None) -> Snapshot:
    """Return the snapshot in the replies of the transaction in :meth:`Store.snapshot`."""
    epoch, flat, known, newest, oldest, head = replies
    if isinstance(flat, Exception) or isinstance(epoch, Exception):
        raise StoreRefused(
            f"the revocations cannot be read: {flat if isinstance(flat, Exception) else epoch}"
        )
    revocations: dict[Target, Revocation] = {}
    unreadable = []
    records = pairs(flat)
    for field, data in records.items():
        try:
            revocation = codec.decode_revocation(data)
            if str(revocation.target).encode() != field:
                raise BadRecord(f"is about {revocation.target}")
            revocations[revocation.target] = revocation
        except BadRecord as error:
            unreadable.append(f"{field.decode(errors='replace')[:80]!r}: {error}")
    at = number(epoch)
    return Snapshot(
        epoch=at,
        revocations=revocations,
        unreadable=tuple(unreadable),
        tip_id=_change_id(newest, at),
        known_id=_change_id(known, None),
        oldest_epoch=_entry_epoch(oldest),
        certified=_is_certified(keyring, head, at, records),
    )


def _is_certified(keyring: Keyring | None, head: object, epoch: int, records: dict[bytes, bytes]) -> bool:
    if keyring is None or not isinstance(head, bytes):
        return False
    return vouches_for(read_head(keyring, head), epoch, records)


def fields(entry: list[Any]) -> dict[bytes, bytes]:
    """Return the fields of one stream entry."""
    return pairs(entry[1]) if entry[1] else {}


def pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    """Return a flat RESP2 map as a dictionary."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


MAX_EPOCH: Final = 1 << 53
"""Ten thousand changes a second reach it in 28,000 years; whoever writes a higher one means to use the numbers up."""


def number(raw: bytes | None) -> int:
    """Return the epoch in `raw`, 0 for none or for something that is no epoch.

    What is not ours counts as none: a reader that has come further sees a store that went back and keeps what it knows.
    """
    try:
        found = int(raw or b"0")
    except ValueError:
        return 0
    return found if 0 <= found < MAX_EPOCH else 0


def _change_id(entries: list[Any] | Exception, epoch: int | None) -> str | None:
    if isinstance(entries, Exception) or not entries:
        return None
    if epoch is not None and entries[0][0] != b"%d-0" % epoch:
        return None
    return fields(entries[0]).get(b"id", b"").decode(errors="replace")


def _entry_epoch(entries: list[Any] | Exception) -> int | None:
    if isinstance(entries, Exception) or not entries:
        return None
    return int(entries[0][0].partition(b"-")[0])
