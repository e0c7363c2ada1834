"""The recorder: follows the daemon's logs, in a process of its own, and writes what they hold into the record.

Theory of operation
-------------------
Everything that has to be recorded is durable already, in the action log, the feed's log or the audit trail, when the
daemon says how far each may be read. The recorder reads from there, so nothing that it misses is lost: after a crash of
either process it goes on behind the last entry that it recorded, once. Only scores come over the pipe, with the word
that their actions may be recorded; actions that are caught up on have none.

It shares no thread with the daemon, so recording takes nothing from scoring or from the kill path.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from monitor.kill.drill_log import DrillLog
from monitor.kill.keys import known_keys
from monitor.log.audit import Entry as Act
from monitor.log.entries import Judgement, Transition, Withdrawal
from monitor.log.segments import Frame
from monitor.log.tail import LogTail, log_end
from monitor.record.action_form import RecordedActions, action_entry, decode_entry
from monitor.record.entry import Entry
from monitor.record.feed_forms import feed_entry
from monitor.record.noted import note, note_sealed
from monitor.record.other_forms import (
    act_entry,
    drill_entry,
    judgement_entry,
    transition_entry,
    withdrawal_entry,
)
from monitor.record.store import Store

SOURCES: Final = {"actions": "log", "feed": "feed", "acts": "audit"}
"""Source → its log's directory in the state directory."""

DRILLS: Final = "drills"
"""The source of drills, which are a file of their own: recorded up to the time of the last one, in milliseconds."""

MAX_DRILLS: Final = 100
FRAMES: Final = 256
BYTES: Final = 8 * 1024 * 1024
MAX_SCORES: Final = 10_000
"""Groups of actions whose scores are kept until the log is read up to them; about 1,000 actions each at most."""

SALT_BYTES: Final = 16


class Scores(NamedTuple):
    """Scores of the actions of one entry of the log: p-values (NaN: none yet) and evidence in nats."""

    p: Sequence[float]
    evidence: Sequence[float]


class Recorder:
    """Reads the sources of one state directory into a store. For one thread."""

    def __init__(self, state: Path, store: Store) -> None:
        self._store = store
        self._paths = {name: state / directory for name, directory in SOURCES.items()}
        self._tails = {name: LogTail(path, store.cursors.get(name, 0)) for name, path in self._paths.items()}
        self._go_back_to_ends()
        self._drills = DrillLog(state / "drills.ndjson", keyring=known_keys(state).keyring)
        self._drilled_ms = store.cursors.get(DRILLS, 0)
        self._up_to = dict.fromkeys(SOURCES, 0)
        self._scores: dict[int, Scores] = {}
        self.transitions = 0
        """How many changes of the revocation state were read since the start: after each one a checkpoint is due."""

    def may_read(self, source: str, up_to: int) -> None:
        """Take note that a source is durable up to this number."""
        self._up_to[source] = max(self._up_to[source], up_to)

    def scored(self, first_seq: int, scores: Scores) -> None:
        """Take in the scores of the actions from `first_seq` on, which may be recorded with them."""
        if len(self._scores) < MAX_SCORES:
            self._scores[first_seq] = scores
        self.may_read("actions", first_seq + len(scores.p) - 1)

    def record(self) -> int:
        """Record what may be read, a piece of it at most; return how many entries. 0: nothing is left.

        Raises
        ------
        LogError
            If a source is damaged, or the record cannot be written: nothing of the piece is recorded then.
        """
        places = {name: tail.next_seq for name, tail in self._tails.items()}
        try:
            entries = [*self._read(), *self._new_drills()]
            cursors = {name: tail.next_seq - 1 for name, tail in self._tails.items()}
            cursors[DRILLS] = self._drilled_ms
            self._store.append(entries, cursors)
        except BaseException:
            self._drilled_ms = self._store.cursors.get(DRILLS, 0)
            self._tails = {name: LogTail(self._paths[name], place - 1) for name, place in places.items()}
            raise
        for first_seq in [first for first in self._scores if first <= cursors["actions"]]:
            del self._scores[first_seq]
        note_sealed(self._store)
        return len(entries)

    # -- inside -------------------------------------------------------------------------------------------------

    def _go_back_to_ends(self) -> None:
        """Go on from the end of a log that ends before what was recorded: its state came back from an older copy."""
        for name, tail in self._tails.items():
            end = log_end(self._paths[name])
            if tail.next_seq > end + 1:
                note(
                    self._store,
                    "source_restored",
                    {name: end},
                    source=name,
                    recorded=tail.next_seq - 1,
                    end=end,
                )
                self._tails[name] = LogTail(self._paths[name], end)

    def _read(self) -> Iterator[Entry]:
        for name, tail in self._tails.items():
            for frame in tail.read(self._up_to[name], frames=FRAMES, payload_bytes=BYTES):
                yield from _FORMS[name](self, frame)

    def _new_drills(self) -> list[Entry]:
        """Return the entries of drills since the last one that was recorded, of the daemon's and of others'."""
        newest = self._drills.newest()
        if newest is None or _ms(newest.at_s) <= self._drilled_ms:
            return []
        kept = [one for one in self._drills.last(MAX_DRILLS) if _ms(one.drill.at_s) > self._drilled_ms]
        self._drilled_ms = max(_ms(one.drill.at_s) for one in kept)
        now_s = time.time()
        return [
            drill_entry(one.drill, evidence=one.evidence, signed_by=one.signed_by, now_s=now_s)
            for one in reversed(kept)
        ]

    def _of_log(self, frame: Frame) -> Iterator[Entry]:
        entry = decode_entry(frame.payload)
        if not isinstance(entry, RecordedActions):
            self.transitions += isinstance(entry, Transition)
            yield _of_other(frame.first_seq, entry)
            return
        scores = self._scores.get(frame.first_seq) or _NO_SCORES
        count = len(entry.observations)
        salts = secrets.token_bytes(SALT_BYTES * count)
        scored = itertools.zip_longest(entry.observations, scores.p[:count], scores.evidence[:count])
        for i, (action, p, evidence) in enumerate(scored):
            yield action_entry(
                action,
                seq=frame.first_seq + i,
                now_s=entry.now_s,
                p=p,
                threshold_p=None,
                evidence=evidence,
                salt=salts[i * SALT_BYTES : (i + 1) * SALT_BYTES],
            )

    def _of_feed(self, frame: Frame) -> Iterator[Entry]:
        entry = feed_entry(frame.first_seq, frame.payload)
        if entry:
            yield entry

    def _of_acts(self, frame: Frame) -> Iterator[Entry]:
        yield act_entry(frame.first_seq, msgspec.json.decode(frame.payload, type=Act))


def _ms(at_s: float) -> int:
    return int(at_s * 1000)


def _of_other(seq: int, entry: Judgement | Transition | Withdrawal) -> Entry:
    match entry:
        case Judgement():
            return judgement_entry(entry, seq=seq)
        case Transition():
            return transition_entry(entry)
        case Withdrawal():
            return withdrawal_entry(entry, seq=seq)


_NO_SCORES: Final = Scores((), ())
_FORMS: Final = {"actions": Recorder._of_log, "feed": Recorder._of_feed, "acts": Recorder._of_acts}
