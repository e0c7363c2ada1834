"""Keeps the store's revocations as the daemon knows them to be: what somebody took away without right is put back.

Theory of operation
-------------------
The daemon keeps its own durable record (`ledger.py`), fed by the store's own log in the order of its epochs. Into it
goes every kill; out of it goes only what people may lift: a restoration with the approvals that the keyring asks for,
or a suspension that has run out. Once a second the store is compared with it:

* *lost*: the record has it and the store has not, or something *weakened* it: put back. Any kill wins.
* *gained*: the store has it and no entry of the log that one of our keys signed: kept, for the same reason, but people
  are told. A forged kill stops an agent that should run; it frees nobody.
* not vouched for: the signed head is missing or does not fit. The state is signed anew, so that enforcement points that
  start now can trust it.

Putting back replaces the whole state in one step, at an epoch beyond everything that anybody has seen.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, ParamSpec

from killswitch import (
    Change,
    KillswitchError,
    Revocation,
    Snapshot,
    StoreRefused,
    StoreUnreachable,
    Switch,
    Target,
)
from killswitch.revocations import is_weaker
from killswitch.trust.approvals import is_canary
from monitor.core.alerts import Alert
from monitor.errors import DaemonError
from monitor.kill.ledger import Ledger
from monitor.kill.mending import (
    Incident,
    Mend,
    break_glass_alert,
    damage_alert,
    damage_words,
    forgery_alert,
    lacking,
    mend,
    names,
    take,
)

log = logging.getLogger("killcord.guardian")

LOOK_INTERVAL_S: Final = 1.0
# With very many revocations a look takes long: then a twentieth of the time goes into it. Only our own work counts: a
# store that kept us waiting, because it was restarted or frozen, is the one to be looked at soon.
LOOK_SHARE: Final = 20.0
PAUSE_S: Final = 0.02
PAGE: Final = 1000
RESTORATIONS_A_LOOK: Final = 100  # so many are looked for each time, in turn; all of them once one is missing
MAX_JUMP: Final = 1_000_000


P = ParamSpec("P")


class Guardian:
    """Compares and mends, in a thread of its own. Use as a context manager.

    Parameters
    ----------
    switch
        Reads and mends the store.
    key_id
        Of the key that the switch signs with; "" if it signs nothing.
    refresh
        Has the switch follow the keyring's successors; called before anything is decided upon it.
    on_alert
        Takes an alert for the feed; called from the guardian's thread.
    """

    def __init__(
        self,
        switch: Switch,
        ledger: Ledger,
        *,
        key_id: str,
        refresh: Callable[[], object],
        on_alert: Callable[[Alert], object],
    ) -> None:
        self._switch = switch
        self._ledger = ledger
        self._key_id = key_id
        self._refresh = refresh
        self._on_alert = on_alert
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_urgent = threading.Event()
        self._noted: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._unsigned: dict[str, Revocation] = {}
        self._looked_for = 0
        self._damage = Incident()
        self._forgery = Incident()
        self.mended = 0
        self._thread = threading.Thread(target=self._run, name="guardian", daemon=True)

    def __enter__(self) -> Guardian:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=10)
        with self._lock:
            self._ledger.close()

    def wake(self) -> None:
        """Look now: there is a gap in the log."""
        self._is_urgent.set()
        self._wake.set()

    def note_change(self, change: Change) -> None:
        """Have a change as it comes from the store taken in; returns at once, from any thread."""
        self._noted.put(change)
        self._wake.set()

    def look(self) -> Mend:
        """Compare the store with the ledger and put right what is wrong; raises `KillswitchError`."""
        self._refresh()
        found = self._compare()
        missing = self._missing_restorations(is_thorough=found.is_damaged or not found.is_vouched)
        is_wrong = found.is_damaged or bool(missing) or (self._can_vouch() and not found.is_vouched)
        self._report(found, self._put_right(found, missing) if is_wrong else "")
        return found

    # -- inside -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        due_s = 0.0
        while not self._stop.is_set():
            self._wake.clear()
            self._take_noted()
            if time.monotonic() >= due_s or self._is_urgent.is_set():
                self._is_urgent.clear()
                began_s = time.thread_time()
                self._look_safely()
                took_s = time.thread_time() - began_s
                due_s = time.monotonic() + max(LOOK_INTERVAL_S, LOOK_SHARE * took_s)
                self._stop.wait(max(PAUSE_S, took_s))  # however often we are told of gaps
            self._wake.wait(max(0.0, due_s - time.monotonic()))

    def _look_safely(self) -> None:
        try:
            self.look()
        except StoreUnreachable as error:
            log.debug("no look at the store: %s", error)  # said by whoever looks after the store
        except KillswitchError as error:
            log.error("the store could not be compared: %s", error)
        except Exception:  # the root of this thread; without it a robbed store would stay robbed
            log.critical("the store could not be compared; it is tried again", exc_info=True)

    def _take_noted(self) -> None:
        """Take in what was noted, in a moment and without a look, so that a kill is safe before the store is robbed."""
        with contextlib.suppress(queue.Empty), self._lock:
            while True:
                change = self._noted.get_nowait()
                epoch = change.epoch
                if epoch != self._ledger.epoch + 1:
                    # The store went back, or was mended by somebody else, or we looked and know it already.
                    self._is_urgent.set()
                    if not self._is_news(change):
                        continue
                    epoch = self._ledger.epoch  # what is between is yet to be read from the log
                try:
                    self._take(change, epoch)
                except KillswitchError as error:
                    log.error("change %d is not taken in yet: %s", change.epoch, error)
                    self._is_urgent.set()

    def _is_news(self, change: Change) -> bool:
        """Whether a change out of turn counts all the same: a kill that we never saw, or one that lifts what we hold.

        Somebody may have set the epoch back, and will perhaps rob the store again before we look.
        """
        held, keyring = self._ledger.records.get(change.target), self._switch.keyring
        if held is None and change.new is None:
            return False
        effect = take(held, change, keyring, time.time())
        return effect == "put" or (effect == "clear" and keyring is not None)

    def _can_vouch(self) -> bool:
        """Whether points would believe our signature: not once the daemon's key was struck off the keyring."""
        keyring = self._switch.keyring
        return keyring is not None and any(key.id == self._key_id for key in keyring.keys)

    def _compare(self) -> Mend:
        while True:
            before = self._ledger.epoch
            snapshot = self._snapshot()
            with self._lock:
                if before <= snapshot.epoch < self._ledger.epoch:
                    continue  # a change came while we read
                return self._plan(snapshot)

    def _snapshot(self) -> Snapshot:
        try:
            return self._switch.snapshot()
        except StoreRefused as refused:
            if "WRONGTYPE" not in str(refused):
                raise
            return Snapshot(
                0, {}, unreadable=(str(refused),)
            )  # as good as emptied, and put right in the same way

    def _plan(self, snapshot: Snapshot) -> Mend:
        """Return what is to be done about `snapshot`, after everything up to its epoch was taken in."""
        while self._ledger.epoch < snapshot.epoch:
            page = self._switch.changes(self._ledger.epoch, PAGE)
            for change in page:
                if change.epoch <= snapshot.epoch:
                    self._take(change, change.epoch)
            if len(page) < PAGE or page[-1].epoch >= snapshot.epoch:
                break
        self._take_restorations(snapshot)
        now_s = time.time()
        found = mend(self._ledger.records, snapshot, now_s, self._ledger.has_lifted)
        self._durably(self._ledger.put_all, found.gained, self._ledger.epoch)
        for record in [record for record in self._ledger.records.values() if _is_over(record, now_s)]:
            if record.target not in snapshot.revocations:
                self._durably(self._ledger.clear, record.target, self._ledger.epoch)
        self._note(snapshot.epoch)
        return found

    def _take_restorations(self, snapshot: Snapshot) -> None:
        """Take in what lifts, with enough votes, a record that the store lacks: it may have come under a used epoch."""
        held = self._ledger.records
        now_s = time.time()
        doubtful = [r for r in held.values() if is_weaker(snapshot.revocations.get(r.target), r, now_s)]
        if not doubtful or self._switch.keyring is None:
            return
        for change in self._restorations([record.target for record in doubtful]).values():
            if take(held.get(change.target), change, self._switch.keyring, now_s) == "clear":
                self._take(change, self._ledger.epoch)

    def _note(self, epoch: int) -> None:
        """Take note of an epoch that has no entry in the log; not of one from nowhere, made to use the numbers up."""
        if epoch <= self._ledger.epoch + MAX_JUMP:
            self._durably(self._ledger.note, epoch)

    def _take(self, change: Change, epoch: int) -> None:
        """Take a change in, after which we are at `epoch`."""
        held = self._ledger.records.get(change.target)
        if change.new is not None and (
            self._ledger.has_seen(change.new) or self._ledger.has_lifted(change.new)
        ):
            # Replayed, or read once more: what people lifted stays lifted.
            self._durably(self._ledger.note, epoch)
            return
        effect = take(held, change, self._switch.keyring, time.time())
        if effect == "unproven":
            self._refresh()  # the approvals may be by keys that came a moment ago
            effect = take(held, change, self._switch.keyring, time.time())
        if effect == "put" and change.new is not None:
            self._durably(self._ledger.put, change.new, epoch)
            if self._key_id and not change.signed_by:
                self._unsigned[change.change_id] = change.new
        elif (
            effect == "clear" and change.kind == "restore" and held is not None and not is_canary(held.target)
        ):
            self._durably(self._ledger.lift, change, epoch)
            if alert := break_glass_alert(change, held, self._switch.keyring, time.time()):
                self._on_alert(alert)
        elif effect == "clear":
            self._durably(self._ledger.clear, change.target, epoch)
        else:
            if effect == "unproven":
                log.error("change %d (%s of %s by %s) lifts without enough approvals; it does not count",
                          change.epoch, change.kind, change.target, change.by)  # fmt: skip
                self._is_urgent.set()
            self._durably(self._ledger.note, epoch)

    def _durably(self, write: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Write to the ledger; if its disk fails it still knows, and writes everything anew next time."""
        try:
            write(*args, **kwargs)
        except DaemonError as error:
            log.critical("%s", error)

    def _missing_restorations(self, *, is_thorough: bool) -> tuple[Change, ...]:
        """Return the restorations that points may still have to hear of and the store has lost; some of them a look."""
        with self._lock:
            kept = list(self._ledger.restorations.values())
        start = 0 if self._looked_for >= len(kept) else self._looked_for
        self._looked_for = start + RESTORATIONS_A_LOOK
        if not is_thorough and not self._lacking(kept[start : self._looked_for]):
            return ()
        return self._lacking(kept)

    def _lacking(self, kept: list[Change]) -> tuple[Change, ...]:
        return lacking(kept, self._restorations([change.target for change in kept]), self._switch.keyring)

    def _restorations(self, targets: list[Target]) -> dict[Target, Change]:
        """Return what the store says was restored; nothing, where something else lies in its place."""
        found: dict[Target, Change] = {}
        try:
            for at in range(0, len(targets), PAGE):
                found |= self._switch.restorations(targets[at : at + PAGE])
        except StoreRefused as refused:
            log.error("the restorations in the store cannot be read: %s", refused)
        return found

    def _keep_restorations(self, missing: tuple[Change, ...]) -> None:
        try:
            self._switch.keep_restorations(missing)
        except StoreRefused as refused:
            # Something of another type lies there. Mending sets it aside, and the next look tries again.
            log.error("restorations could not be put back: %s", refused)

    def _put_right(self, found: Mend, missing: tuple[Change, ...]) -> str:
        """Mend the store; return what went wrong, in words."""

        def choose(snapshot: Snapshot) -> Iterable[Revocation]:
            with self._lock:
                return self._plan(snapshot).records.values()

        try:
            if missing:  # first: points that read the new state ask for them at once
                self._keep_restorations(missing)
            epoch = self._switch.mend(choose, floor=self._ledger.epoch)
        except StoreUnreachable:
            raise
        except KillswitchError as error:
            return str(error)
        with self._lock:
            self._note(epoch)
        if found.is_damaged:
            self.mended += 1
            log.critical("the store was put right as change %d: %s", epoch, damage_words(found))
        else:
            log.info("vouched for the state as change %d", epoch)
        if missing:
            log.error("the store had lost %d restorations; they were put back", len(missing))
        return ""

    def _report(self, found: Mend, problem: str) -> None:
        is_first = self._ledger.is_new  # then whatever the store holds is news to us, and to nobody else
        self._ledger.is_new = False
        with self._lock:
            unsigned, self._unsigned = self._unsigned, {}
        now_s = time.time()
        damage = [*names(found.lost, "lost"), *names(found.weakened, "weakened")]
        damage += names(found.revived, "was restored before, and put back by nobody we know")
        damage += [f"dropped an entry that could not be read: {entry}" for entry in found.dropped]
        if alerted := self._damage.due(damage, now_s):
            self._on_alert(damage_alert(alerted, problem, now_s))
        forged = {record.change_id: record for record in found.gained} | unsigned
        if alerted := self._forgery.due([] if is_first else names(forged.values(), "unsigned"), now_s):
            self._on_alert(forgery_alert(alerted, now_s))


def _is_over(record: Revocation, now_s: float) -> bool:
    return record.level_at(now_s) is None
