"""One enforcement point's connection to the store, from subscribing to the first error.

Theory of operation
-------------------
A session subscribes first, registers, and takes a snapshot last, so that nothing falls between. From then on pushes are
applied as they come. About five times a lease (at most a second apart) a beat makes sure that nothing was
lost:

1. the beat script says that the point lives, and the epoch is read, on the command connection;
2. then a ping is sent on the push connection. When its pong arrives, all that was published before is here;
3. if we now stand at that epoch at least, the lease runs for ``lease_s`` from the moment *the beat was sent*.
   If not, a push was lost and a snapshot is taken instead.

No answer means no renewal, and a point whose lease ran out refuses. Waiting for pushes never waits for
anything else: commands are sent without waiting and their replies picked up later. Any doubt (an unreadable
push, a gap, a history that does not fit) leads to a snapshot; any error to a new session, for ever, with a
bounded, jittered pause.
"""

from __future__ import annotations

import logging
import math
import random
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

from killswitch.clocks import lease_clock_s, wall_s
from killswitch.errors import BadRecord, KillswitchError, StoreRefused, StoreUnreachable
from killswitch.point.proof import Proof
from killswitch.point.view import Applied, View
from killswitch.registry import points
from killswitch.revocations import Change
from killswitch.storage import codec, scripts
from killswitch.storage.links import Arg, Link, Push
from killswitch.storage.snapshots import number
from killswitch.storage.store import FORGET_POINT_S, MENDED, NOTICE, Store

if TYPE_CHECKING:
    from killswitch.point.follower import Follower

log = logging.getLogger("killswitch")

MAX_BEAT_S: Final = 1.0
MIN_RESYNC_S: Final = 0.05  # junk on the channel costs the store at most 20 snapshots a second and point
MAX_UNANSWERED: Final = 256  # security limit: beyond it acknowledgements wait for the next beat
# Per point: all hear a change at once, and the answers of the first must not hold up the last to hear. Taking a change
# in costs a point about as much processor time; 20 points answer within 3 ms, 1,000 within 150 ms.
ACK_SPREAD_S: Final = 150e-6
MAX_BURST: Final = 64  # pushes taken before the beat gets a turn again
MAX_NOTICED: Final = 1_000  # security limit: notices whose time is remembered until the change arrives


class Session:
    """One pair of connections, from subscribing to the first error. Used by its follower's thread only."""

    def __init__(self, follower: Follower, io_timeout_s: float) -> None:
        self.follower = follower
        self.io_timeout_s = io_timeout_s
        self.beat_s = min(MAX_BEAT_S, follower.record.lease_s / 5)
        self.push = Push(follower.url, [follower.keys.changes], timeout_s=io_timeout_s)
        try:
            self.link = Link(follower.url, timeout_s=io_timeout_s)
        except BaseException:
            self.push.close()
            raise
        self.store = Store(self.link, follower.keys)
        self.proof = Proof(self.store, follower.keyring)
        self.unanswered: deque[Literal["points", "epoch", "ack"]] = deque()
        self.next_beat_s = 0.0
        self.next_sync_s = math.inf
        self.last_sync_s = -math.inf
        self.beat_sent_s: float | None = None
        self.ping_sent_s: float | None = None
        self.sent_epoch = 0
        self.beat_epoch = 0
        self.beats = 0
        self.points = 1
        self.ack: tuple[float, str] | None = None
        self.last: tuple[Change, float] | None = None
        self.noticed_s: dict[str, tuple[float, float]] = {}  # change id -> enforced since, asked at
        self.presence = points.encode(follower.record)
        self.ack_due_s = math.inf

    def start(self) -> None:
        """Register, then take the first snapshot.

        In this order, whoever may allow anything is on the registry, and no kill counts as contained without it.
        """
        self.points = max(1, int(self.link.call(*self._presence())))
        self.sync()

    def step(self) -> None:
        """Take pushes until the next thing is due, then do that."""
        now_s = lease_clock_s()
        due_s = min(self.next_beat_s, self.next_sync_s, self.ack_due_s)
        self._take(max(0.0, due_s - now_s))
        self._pick_up_replies()
        now_s = lease_clock_s()
        if now_s >= self.next_sync_s:
            self.sync()
        if now_s >= self.ack_due_s:
            self._send_ack()
        if now_s >= self.next_beat_s:
            self._beat(now_s)
        self._require_answers(now_s)

    def sync(self) -> None:
        """Replace the view by a snapshot; it shows all that was written before, so it renews the lease."""
        started_s = lease_clock_s()
        self._pick_up_all_replies()
        follower = self.follower
        view = self._rebuilt(started_s)
        if view.regressed and not follower.view.regressed:
            log.error(
                "the store lost revocations; %s keeps refusing %d of them",
                follower.record.name,
                len(view.kept),
            )
        changed = view.epoch != follower.view.epoch
        follower.view = view
        follower.lease_until_s = started_s + follower.record.lease_s
        follower.on_change()
        self.last_sync_s, self.next_sync_s = started_s, view.next_notice_s()
        if changed:
            self._acknowledge((lease_clock_s() - started_s) * 1e6, "snapshot")

    def _rebuilt(self, started_s: float) -> View:
        view, proof, now_s = self.follower.view, self.proof, wall_s()
        proof.refresh()
        self.follower.keyring = proof.keyring
        snapshot = self.store.snapshot(view.epoch, proof.keyring)
        since = view.epoch if snapshot.epoch >= view.epoch else 0
        return view.rebuilt(
            snapshot,
            now_s=now_s,
            lease_clock_s=started_s,
            lifted=proof.lifted(view.unlifted(snapshot, now_s), since)
            if proof.keyring is not None or view.kept or view.is_fork(snapshot)
            else (),
            needs_proof=proof.keyring is not None,
            is_unbroken=self.last_sync_s > -math.inf,
        )

    def end(self, *, leave: bool) -> None:
        """Close both connections; with `leave`, sign the point off first, if the store still answers."""
        self.push.close()
        if leave:
            point_id, keys = self.follower.record.id, self.follower.keys
            try:
                self._skip_replies()
                self.link.call("EVAL", scripts.LEAVE, 3, keys.points, keys.seen, keys.applied, point_id)
            except KillswitchError as error:
                log.debug(
                    "%s could not sign off: %s", self.follower.record.name, error
                )  # its lease will run out
        self.link.close()

    def _skip_replies(self) -> None:
        for _ in range(len(self.unanswered)):
            with suppress(StoreRefused):
                self.link.receive()
        self.unanswered.clear()

    def _take(self, wait_s: float | None) -> None:
        applied_us = -1.0
        for _ in range(MAX_BURST):
            answering = self.link if self._beat_is_out() else None
            message = self.push.receive(wait_s, answering)
            if message is None:
                break
            kind, _channel, data = message
            if kind == "message" and data.startswith(NOTICE):
                self._hear(data)
                if wait_s and answering is None:
                    # The change comes right behind. Waiting on, as long as before and without looking at anything else,
                    # leaves the processor to those who have yet to hear. What falls due meanwhile is late once, by less
                    # than a beat.
                    wait_s = None
                    continue
            elif kind == "message":
                applied_us = max(applied_us, self._apply(data))
            elif kind == "pong":
                self._pong(data)
            wait_s = 0.0
            if not self.push.holds_more():
                break
        if applied_us >= 0:  # one word for all that came together: it says "up to this epoch"
            self._acknowledge(applied_us, "push")

    def _hear(self, data: bytes) -> None:
        """Refuse what is about to be revoked, for a lease; the change itself makes it last."""
        until_s = lease_clock_s() + self.follower.record.lease_s
        try:
            record = codec.decode_notice(data[len(NOTICE) :])
        except BadRecord as error:
            self._doubt(error)
            return
        if self.follower.view.notice(record, until_s):
            self.follower.on_change()
            self.next_sync_s = min(self.next_sync_s, until_s)
            if len(self.noticed_s) >= MAX_NOTICED:
                self.noticed_s.clear()
            self.noticed_s[record.change_id] = (wall_s(), record.at_s)

    def _apply(self, data: bytes) -> float:
        """Take in one pushed change; return the microseconds it took, or -1 if nothing new is enforced."""
        started_s = lease_clock_s()
        try:
            change = codec.decode_change(data.partition(b"\n")[0])
        except BadRecord as error:
            if data == MENDED:
                self._resync()
            else:
                self._doubt(error)
            return -1.0
        answer = self._take_in(change, started_s)
        if answer == "known":
            return -1.0
        self.follower.on_change()
        if answer == "gap":
            self._resync()
            return -1.0
        enforced_s, asked_s = self.noticed_s.pop(change.change_id, (wall_s(), change.at_s))
        self.last = (change, enforced_s - asked_s)
        return (lease_clock_s() - started_s) * 1e6

    def _doubt(self, error: BadRecord) -> None:
        log.warning("%s got an unreadable push and asks the store: %s", self.follower.record.name, error)
        self._resync()

    def _take_in(self, change: Change, started_s: float) -> Applied:
        view, proof, until_s = self.follower.view, self.proof, started_s + self.follower.record.lease_s
        if proof.keyring is None or change.new is not None:  # a kill is not kept waiting for any proof
            return view.apply(change, now_s=wall_s(), proven=proof.keyring is None, notice_until_s=until_s)
        self._pick_up_all_replies()
        now_s = wall_s()
        return view.apply(
            change, now_s=now_s, proven=proof.allows(change, view.settled(change.target), now_s)
        )

    def _acknowledge(self, apply_us: float, how: str) -> None:
        """Confirm soon, within a time that grows with the number of points; once for all that came until then."""
        self.ack = (apply_us, how)
        spread_s = (self.points - 1) * ACK_SPREAD_S * random.uniform(0.5, 1)  # noqa: S311 - jitter
        self.ack_due_s = min(self.ack_due_s, lease_clock_s() + spread_s)

    def _send_ack(self) -> None:
        ack, self.ack, self.ack_due_s = self.ack, None, math.inf
        if ack is None or len(self.unanswered) >= MAX_UNANSWERED:
            return  # the next beat says how far we are
        record, keys, epoch = self.follower.record, self.follower.keys, self.follower.view.epoch
        word = points.encode(self._word(epoch, *ack))
        self.link.send(["EVAL", scripts.ACK, 1, keys.applied, record.id, epoch, keys.acks, word])
        self.unanswered.append("ack")

    def _word(self, epoch: int, apply_us: float, how: str) -> points.Ack:
        record, last, latency_ms, refuses = self.follower.record, self.last, None, None
        if last is not None and last[0].epoch == epoch:
            change, latency_s = last
            latency_ms = round(latency_s * 1e3, 3)
            refuses = self.follower.refuses(change.target)
        return points.Ack(
            record.id, record.name, epoch, wall_s(), round(apply_us, 1), how, latency_ms, refuses
        )

    def _beat(self, now_s: float) -> None:
        # A little less than a beat, at random, so that points do not keep in step.
        self.next_beat_s = now_s + self.beat_s * random.uniform(0.9, 1.0)  # noqa: S311
        if self.beat_sent_s is not None:
            return  # the last one's answer or pong is late; _require_answers judges that by when *it* was sent
        self.beat_sent_s, self.sent_epoch = now_s, self.follower.view.epoch
        self.link.send(self._presence(), ["GET", self.follower.keys.epoch])
        self.unanswered += ("points", "epoch")

    def _presence(self) -> list[Arg]:
        record, keys = self.follower.record, self.follower.keys
        epoch = self.follower.view.epoch
        return [
            "EVAL",
            scripts.BEAT,
            3,
            keys.points,
            keys.seen,
            keys.applied,
            record.id,
            self.presence,
            epoch,
            FORGET_POINT_S,
        ]

    def _pick_up_replies(self) -> None:
        while self.unanswered and self.link.readable(0):
            self._reply()

    def _pick_up_all_replies(self) -> None:
        while self.unanswered:
            self._reply()

    def _reply(self) -> None:
        what = self.unanswered.popleft()
        try:
            reply = self.link.receive()
        except StoreRefused as error:
            if what != "ack":
                raise  # who may not register or read the epoch cannot be counted on
            self.follower.note(error)  # not being able to say that we refuse is no reason to stop refusing
            return
        if what == "points":
            self.points = max(1, int(reply))
        elif what == "epoch":
            self._beat_answered(number(reply))

    def _beat_answered(self, epoch: int) -> None:
        self.beat_epoch = epoch
        self.beats += 1
        self.ping_sent_s = lease_clock_s()
        self.push.ping(str(self.beats))
        # Behind what it had told us, the store lost data. Unreadable or unproven, it may be put right by the daemon.
        if epoch < self.sent_epoch or self.follower.view.unreadable or not self.follower.view.proven:
            self._resync()

    def _pong(self, nonce: bytes) -> None:
        if nonce != b"%d" % self.beats or self.beat_sent_s is None or self.ping_sent_s is None:
            return
        sent_s, self.beat_sent_s, self.ping_sent_s = self.beat_sent_s, None, None
        if self.follower.view.epoch >= self.beat_epoch:
            self.follower.lease_until_s = max(
                self.follower.lease_until_s, sent_s + self.follower.record.lease_s
            )
        else:
            self._resync()

    def _resync(self) -> None:
        self.next_sync_s = min(self.next_sync_s, self.last_sync_s + MIN_RESYNC_S)

    def _beat_is_out(self) -> bool:
        return self.beat_sent_s is not None and self.ping_sent_s is None

    def _require_answers(self, now_s: float) -> None:
        if self.beat_sent_s is not None and now_s - self.beat_sent_s > self.io_timeout_s:
            raise StoreUnreachable(f"no answer to a beat for {self.io_timeout_s} s")
