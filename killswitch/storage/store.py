"""The revocations in Redis: where they are, how they are read and written in one atomic step.

Layout, under a prefix (``killcord:``; use ``{killcord}:`` on a Redis Cluster so that all keys share a slot):

========== ====== ==============================================================================
state      HASH   target -> its revocation as JSON; the truth that points enforce. Never a TTL
epoch      STRING number of the last change
head       STRING the writer's signed statement about the last change and the state after it (``head``)
keyrings   HASH   version -> the signed keyring of that version
restored   HASH   target -> its last restoration, with the votes; 10,000 of them
log        STREAM id ``<epoch>-0`` -> change id, change as JSON, head; the newest 100,000 or so
change_ids ZSET   the last 10,000 change ids, so that a retried write is applied once
changes    channel: a notice of each kill, and each change as it is written. acks: the points' confirmations
points     HASH   point id -> registration; "born" -> server time of the first; points:seen ZSET point id -> last seen
applied    HASH   point id -> epoch up to which it enforces
========== ====== ==============================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from killswitch.errors import BadRecord, StoreRefused
from killswitch.registry import points
from killswitch.registry.points import Registry
from killswitch.registry.statuses import seconds, statuses
from killswitch.revocations import Change, Revocation
from killswitch.storage import codec, scripts
from killswitch.storage.links import Arg, Link
from killswitch.storage.snapshots import Snapshot, fields, number, pairs, parse_snapshot
from killswitch.targets import Target
from killswitch.trust.approvals import is_canary
from killswitch.trust.certification import Certifier, read_head, signer_of
from killswitch.trust.keyring import Keyring

PREFIX: Final = "killcord:"
LOG_CAP: Final = 100_000  # about 50 MB; a reader further behind takes a snapshot instead
CHANGE_ID_CAP: Final = 10_000
RESTORED_CAP: Final = 10_000
FORGET_POINT_S: Final = 86_400.0
MAX_ROTATIONS: Final = 64  # security limit: keyrings that a reader follows at a time

NOTICE: Final = b"!"
"""What a notice begins with, on the channel of changes; a kill follows, as ``codec.encode_notice`` writes it."""

MENDED: Final = b"?"
"""Published when more than one record changed: it reads as no change, so every point takes a snapshot."""

# With appendfsync everysec, Redis 7.2-7.4.2 and Valkey up to at least 9.1 answer WAITAOF *before* the fsync
# if the last one is less than a second old (redis/redis#13793; seen with strace on Valkey 9.1.2: 0.6 s too
# early). An fsync does begin within a second and a tenth (the server's timer) of a write, and while it runs
# WAITAOF does wait.
FSYNC_EVERY_S: Final = 1.2


class Keys:
    """The names of all keys and channels under one prefix."""

    def __init__(self, prefix: str = PREFIX) -> None:
        self.epoch = f"{prefix}epoch"
        self.state = f"{prefix}state"
        self.log = f"{prefix}log"
        self.change_ids = f"{prefix}change_ids"
        self.changes = f"{prefix}changes"
        self.acks = f"{prefix}acks"
        self.points = f"{prefix}points"
        self.seen = f"{prefix}points:seen"
        self.applied = f"{prefix}applied"
        self.barrier = f"{prefix}barrier"
        self.head = f"{prefix}head"
        self.keyrings = f"{prefix}keyrings"
        self.petitions = f"{prefix}petitions"
        self.restored = f"{prefix}restored"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a writer goes by: the epoch and the target's record as they lie in the store (empty: not there).

    A guess is as good: the write compares both and answers a wrong one with what is there.
    """

    target: Target
    raw_epoch: bytes = b""
    raw_record: bytes = b""
    raw_head: bytes = b""

    @property
    def epoch(self) -> int:
        """The number of the last change."""
        return number(self.raw_epoch)

    @property
    def current(self) -> Revocation | None:
        """The record in force; an unreadable one counts as none: writing over it heals the store."""
        if not self.raw_record:
            return None
        try:
            revocation = codec.decode_revocation(self.raw_record)
        except BadRecord:
            return None
        return revocation if revocation.target == self.target else None


@dataclass(frozen=True, slots=True)
class Written:
    """How a write went.

    ``ok``; ``duplicate``: its change id was written before, as ``epoch``; ``conflict``: nothing was written, because
    ``found`` is what is there. ``untold`` says why the points were not told of what was written, "" if they were.
    """

    answer: str
    epoch: int
    found: Reading
    head: bytes = b""
    untold: str = ""


class Store:
    """Reads and writes over one :class:`~killswitch.storage.links.Link`; not safe for several threads at once.

    Every method raises StoreUnreachable or StoreRefused as :meth:`Link.call` does.
    """

    def __init__(self, link: Link, keys: Keys) -> None:
        self.link = link
        self.keys = keys

    def read(self, target: Target) -> Reading:
        """Return what is there now for `target`; one round trip."""
        keys = self.keys
        self.link.send(["GET", keys.epoch], ["HGET", keys.state, str(target)], ["GET", keys.head])
        replies = [_reply(self.link) for _ in range(3)]
        # A key of the wrong type is an error here; the write sets it aside, so that nobody can block a kill with it.
        epoch, record, head = (_none_if_wrong_type(reply) or b"" for reply in replies)
        return Reading(target, epoch, record, head)

    def announce(self, record: Revocation) -> int:
        """Tell the points of a kill that is about to be written; return how many connections were told."""
        try:
            return int(self.link.call("PUBLISH", self.keys.changes, NOTICE + codec.encode_notice(record)))
        except (
            StoreRefused
        ):  # without a right to publish, or for whatever reason: the kill itself must be tried
            return 0

    def write(self, reading: Reading, change: Change, certifier: Certifier) -> Written:
        """Write `change` if the store is as `reading` says; one round trip, atomic."""
        keys, target = self.keys, str(change.target)
        data = codec.encode_change(change)
        record = b"" if change.new is None else codec.encode_revocation(change.new)
        head = certifier.head_after(
            reading.raw_head, before_epoch=reading.epoch, epoch=change.epoch, target=target.encode(),
            old=reading.raw_record, new=record,
            change_id=change.change_id, change=data, at_s=change.at_s,
        )  # fmt: skip
        reply = self.link.call(
            "EVAL", scripts.WRITE, 6, keys.epoch, keys.state, keys.log, keys.change_ids, keys.head, keys.restored,
            reading.raw_epoch, change.epoch, target, record, change.change_id, data, LOG_CAP, CHANGE_ID_CAP,
            reading.raw_record, keys.changes, head, _restored_cap(change),
        )  # fmt: skip
        answer = reply[0].decode()
        if answer == "conflict":
            return Written(answer, 0, Reading(reading.target, reply[1], reply[2], reply[3]))
        if answer == "ok":
            return Written(answer, change.epoch, reading, head, reply[1].decode(errors="replace"))
        return Written(answer, int(float(reply[1])), reading)

    def raw_epoch(self) -> bytes:
        """Return the epoch as it lies in the store, whatever it is; b"" if nothing or no string is there."""
        self.link.send(["GET", self.keys.epoch])
        return _none_if_wrong_type(_reply(self.link)) or b""

    def restorations(self, targets: Sequence[Target]) -> dict[Target, Change]:
        """Return the last restoration of each of `targets`, as far as it is known. Whoever may write can lie here."""
        found = {}
        try:
            answers = self.link.call("HMGET", self.keys.restored, *map(str, targets))
        except StoreRefused as refused:
            if "WRONGTYPE" not in str(refused):
                raise
            return {}
        for data in answers:
            with suppress(BadRecord):
                change = codec.decode_change(data or b"")
                found[change.target] = change
        return found

    def keep_restorations(self, changes: Iterable[Change]) -> None:
        """Put restorations back that points may still have to hear of."""
        for change in changes:
            self.link.call("HSET", self.keys.restored, str(change.target), codec.encode_change(change))

    def mend(self, records: dict[bytes, bytes], raw_epoch: bytes, epoch: int, head: bytes) -> bool:
        """Put `records` in place of the whole state as of `epoch`, if the store is still at `raw_epoch`."""
        keys = self.keys
        flat = [item for pair in records.items() for item in pair]
        reply = self.link.call(
            "EVAL", scripts.MEND, 4, keys.epoch, keys.state, keys.head, keys.restored,
            raw_epoch, epoch, head, keys.changes, MENDED, *flat,
        )  # fmt: skip
        return bool(reply[0] == b"ok")

    def written_as(self, change_id: str) -> int | None:
        """Return the epoch as which a change with this id was written, None if none of the last 10,000 was."""
        seen = self.link.call("ZSCORE", self.keys.change_ids, change_id)
        return None if seen is None else int(float(seen))

    def fsync_policy(self) -> str:
        """Return the server's ``appendfsync``: always, everysec, no, or unknown if it will not say."""
        try:
            reply = self.link.call("CONFIG", "GET", "appendfsync")
        except StoreRefused:
            return "unknown"
        return reply[1].decode() if reply else "unknown"

    def wait_on_disk(self, change_id: str | None, timeout_ms: int) -> bool | None:
        """Wait until what was written earlier is on the server's disk.

        Believe the answer only for writes that are at least :data:`FSYNC_EVERY_S` old, unless the policy is
        ``always``.

        Parameters
        ----------
        change_id : str or None
            A change that must be there: a server that came back from a crash without it answers for the rest
            only.
        timeout_ms : int
            Longest wait, in milliseconds.

        Returns
        -------
        bool or None
            True: it is. False: not in time, or lost, or the server keeps no append-only file.
            None: the server cannot say (no WAITAOF before Redis 7.2); its own fsync policy decides.
        """
        if change_id is not None and self.written_as(change_id) is None:
            return False
        # WAITAOF speaks of this connection's own writes only, so there must be one after what we care about.
        self.link.call("SET", self.keys.barrier, "1")
        try:
            reply = self.link.call("WAITAOF", 1, 0, timeout_ms)
        except StoreRefused as error:
            return None if "unknown command" in str(error) else False
        return bool(reply[0] >= 1)

    def snapshot(self, known_epoch: int = 0, keyring: Keyring | None = None) -> Snapshot:
        """Return all revocations, read in one transaction; O(number of revocations).

        Parameters
        ----------
        known_epoch : int
            Epoch the reader has come to; the answer's ``known_id`` lets it see whether history was rewritten.
        keyring : Keyring, optional
            Whose signed head makes the answer ``certified``.
        """
        keys, link = self.keys, self.link
        known = f"{known_epoch}-0"
        commands: tuple[list[Arg], ...] = (
            ["MULTI"],
            ["GET", keys.epoch],
            ["HGETALL", keys.state],
            ["XRANGE", keys.log, known, known],
            ["XREVRANGE", keys.log, "+", "-", "COUNT", 1],
            ["XRANGE", keys.log, "-", "+", "COUNT", 1],
            ["GET", keys.head],
            ["EXEC"],
        )
        link.send(*commands)
        for _ in commands[:-1]:
            link.receive()
        return parse_snapshot(link.receive(), keyring)

    def changes(self, after_epoch: int, limit: int, keyring: Keyring | None = None) -> list[Change]:
        """Return up to `limit` log entries with an epoch above `after_epoch`, oldest first.

        Entries that are no change of ours are left out: anything can be in a stream. With a `keyring` each says which
        of its keys vouches for it (``signed_by``).
        """
        first = f"{after_epoch + 1}-0"
        entries = self.link.call("XRANGE", self.keys.log, first, "+", "COUNT", limit)
        found = (_change_or_none(entry, keyring) for entry in entries)
        return [change for change in found if change is not None]

    def newer_keyrings(self, version: int) -> list[bytes]:
        """Return the signed keyrings that follow `version`, in order, unchecked; at most :data:`MAX_ROTATIONS`."""
        found: list[bytes] = []
        while len(found) < MAX_ROTATIONS:
            data = self.link.call("HGET", self.keys.keyrings, str(version + 1 + len(found)))
            if data is None:
                break
            found.append(data)
        return found

    def publish_keyring(self, version: int, data: bytes) -> None:
        """Put a signed keyring in the store, and make the points look."""
        self.link.call("HSET", self.keys.keyrings, str(version), data)
        self.link.call("PUBLISH", self.keys.changes, MENDED)

    def epoch(self) -> int:
        """Return the number of the last change, 0 before the first."""
        return number(self.link.call("GET", self.keys.epoch))

    def points(self) -> list[points.PointStatus]:
        """Return every registered point, the longest-connected first."""
        return list(self.registry().points)

    def registry(self) -> Registry:
        """Return every registered point, the longest-connected first, and since when there is a registry."""
        keys = self.keys
        self.link.send(
            ["TIME"],
            ["HGETALL", keys.points],
            ["ZRANGE", keys.seen, 0, -1, "WITHSCORES"],
            ["HGETALL", keys.applied],
        )
        now, records, seen, applied = (self.link.receive() for _ in range(4))
        now_s = int(now[0]) + int(now[1]) / 1e6
        # Before the server started nobody could be seen; who was registered then may still act under its lease.
        started_s = now_s - self._uptime_s()
        seen_s = {point_id: max(float(score), started_s) for point_id, score in pairs(seen).items()}
        registered = pairs(records)
        born_s = seconds(registered.pop(b"born", b""))
        found = statuses(registered, seen_s, pairs(applied), now_s)
        found.sort(key=lambda point: (point.connected_at_s, point.id))
        return Registry(tuple(found), None if born_s is None else max(0.0, now_s - born_s))

    def _uptime_s(self) -> float:
        try:
            info: bytes = self.link.call("INFO", "server")
        except StoreRefused:
            return math.inf
        _, _, rest = info.partition(b"uptime_in_seconds:")
        return float(rest.partition(b"\r")[0] or math.inf)


def _restored_cap(change: Change) -> int:
    """Return how many restorations to keep along with this one; 0 keeps none, as of a drill's canary."""
    return RESTORED_CAP if change.kind == "restore" and not is_canary(change.target) else 0


def _reply(link: Link) -> bytes | StoreRefused | None:
    try:
        reply: bytes | None = link.receive()
    except StoreRefused as refused:
        return refused
    return reply


def _none_if_wrong_type(reply: bytes | StoreRefused | None) -> bytes | None:
    """Any other refusal, for want of rights say, must not pass for "nothing is revoked"."""
    if isinstance(reply, StoreRefused):
        if "WRONGTYPE" in str(reply):
            return None
        raise reply
    return reply


def _change_or_none(entry: list[Any], keyring: Keyring | None) -> Change | None:
    plain = fields(entry)
    data = plain.get(b"change", b"")
    try:
        change = codec.decode_change(data)
    except BadRecord:
        return None
    if entry[0] != b"%d-0" % change.epoch:
        return None
    return signed(change, data, plain.get(b"head", b""), keyring)


def signed(change: Change, data: bytes, head: bytes, keyring: Keyring | None) -> Change:
    """Return `change`, whose log entry is `data`, with the name of the key that vouches for it by `head`."""
    if keyring is None or not head:
        return change
    return replace(change, signed_by=signer_of(read_head(keyring, head), change.epoch, data))
