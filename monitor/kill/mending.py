"""What is wrong with the store's revocations, given what the daemon knows, and how people are told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, NamedTuple

from killswitch import Change, Keyring, Revocation, Snapshot, Target
from killswitch.revocations import is_weaker
from killswitch.trust.approvals import counted, is_approved, voters
from monitor.core.alerts import Alert, alert_id, switch_alert

QUIET_S: Final = 30.0  # what goes wrong within this time of an alert belongs to its incident
MAX_NAMED: Final = 20
BY: Final = "killcord/guardian"


class Mend(NamedTuple):
    """What the store should hold, and what is wrong with what it holds."""

    records: dict[Target, Revocation]
    lost: tuple[Revocation, ...]
    weakened: tuple[Revocation, ...]
    gained: tuple[Revocation, ...]
    revived: tuple[Revocation, ...]
    dropped: tuple[str, ...]
    is_vouched: bool

    @property
    def is_damaged(self) -> bool:
        """Whether something has to be put back."""
        return bool(self.lost or self.weakened or self.revived or self.dropped)


def mend(
    ours: Mapping[Target, Revocation],
    snapshot: Snapshot,
    now_s: float,
    has_lifted: Callable[[Revocation], bool] = lambda record: False,
) -> Mend:
    """Return how the state in `snapshot` has to be put right, given what is known to be in force. Pure, O(n).

    Parameters
    ----------
    ours
        What is in force, with every change up to the snapshot's epoch taken in.
    now_s
        Seconds since 1970. What has run out by then is not put back.
    has_lifted
        Whether a record is known to be restored by those who may: somebody put an old copy back.
    """
    old = {
        target: record
        for target, record in snapshot.revocations.items()
        if target not in ours and has_lifted(record)
    }
    theirs = {target: record for target, record in snapshot.revocations.items() if target not in old}
    records = dict(theirs)
    lost: list[Revocation] = []
    weakened: list[Revocation] = []
    for target, record in ours.items():
        found = theirs.get(target)
        if record.level_at(now_s) is None or not is_weaker(found, record, now_s):
            continue
        records[target] = record
        (lost if found is None else weakened).append(record)
    gained = [
        record
        for target, record in theirs.items()
        if record.level_at(now_s) and (target not in ours or ours[target].change_id != record.change_id)
        and records[target] is record
    ]  # fmt: skip
    # An entry that cannot be read stops everybody. Vouched for, it is of a later version and stays; else it is junk.
    dropped = () if snapshot.certified else snapshot.unreadable
    return Mend(
        records, tuple(lost), tuple(weakened), tuple(gained), tuple(old.values()), dropped, snapshot.certified
    )


def take(
    held: Revocation | None, change: Change, keyring: Keyring | None, now_s: float
) -> Literal["put", "clear", "nothing", "unproven"]:
    """Return what `change` does to the record `held` of its target; ``unproven``: nothing, for want of approvals."""
    if change.new is not None:
        weaker = held is not None and is_weaker(change.new, held, now_s)
        return "unproven" if weaker else "put"
    if held is None:
        return "nothing"
    if held.level_at(now_s) is None or keyring is None:
        return "clear"
    approved = change.kind == "restore" and is_approved(
        keyring, held.target, held.change_id, change.approvals
    )
    return "clear" if approved else "unproven"


def approved_at_s(change: Change, keyring: Keyring | None) -> float:
    """Return when the last vote was given that counts for a restoration, in seconds since 1970; 0 without enough."""
    latest_s = 0.0
    for lifts in {approval.petition.lifts for approval in change.approvals} if keyring else ():
        if keyring and is_approved(keyring, change.target, lifts, change.approvals):
            votes = counted(keyring, change.target, lifts, change.approvals)
            latest_s = max([latest_s, *(vote.at_s for vote in votes)])
    return latest_s


def lacking(
    ours: Iterable[Change], theirs: Mapping[Target, Change], keyring: Keyring | None
) -> tuple[Change, ...]:
    """Return those of our restorations in whose place the store has nothing, or nothing that was approved later."""
    found = []
    for change in ours:
        other = theirs.get(change.target)
        if other is None or (
            other.approvals != change.approvals
            and approved_at_s(other, keyring) <= approved_at_s(change, keyring)
        ):
            found.append(change)
    return tuple(found)


class Incident:
    """Makes one alert of what goes wrong in quick succession: the first at once, the rest together, later."""

    def __init__(self) -> None:
        self._alerted_s = -QUIET_S
        self._waiting: dict[str, None] = {}

    def due(self, findings: Iterable[str], now_s: float) -> list[str]:
        """Return the findings of which an alert is due at `now_s` (seconds on any clock); [] if none is."""
        self._waiting |= dict.fromkeys(findings)
        if not self._waiting or abs(now_s - self._alerted_s) < QUIET_S:
            return []
        due, self._waiting, self._alerted_s = list(self._waiting), {}, now_s
        return due


def names(records: Iterable[Revocation], what: str) -> list[str]:
    """Return a line for each record, for people."""
    return [f"{what}: {record.describe()}" for record in records]


def damage_words(found: Mend) -> str:
    """Return how much of what is wrong, for the log."""
    counted = [
        ("lost", len(found.lost)),
        ("weakened", len(found.weakened)),
        ("revived", len(found.revived)),
        ("junk", len(found.dropped)),
    ]
    return ", ".join(f"{count} {what}" for what, count in counted if count)


def damage_alert(damage: list[str], problem: str, now_s: float) -> Alert:
    """Return the alert about what was taken away; `problem` says why it could not be put back, "" if it was."""
    junk = sum(line.startswith(("dropped", "was restored")) for line in damage)
    count = len(damage) - junk
    lost = (
        f"lost {count} revocation{'s' if count > 1 else ''}"
        if count
        else f"held {junk} entries that are none"
    )
    mended = f"could not be put right yet: {problem}" if problem else "put right from the daemon's record"
    return switch_alert(
        "store_damaged",
        alert_id(BY, f"{now_s!r}", "store_damaged"),
        now_s,
        title=f"the revocation store {lost}; {mended}",
        expected="only what people approved is lifted",
        why="find out who can write to the store, and change its passwords",
        about=BY,
        sentences=damage[:MAX_NAMED],
    )


def forgery_alert(forged: list[str], now_s: float) -> Alert:
    """Return the alert about what nobody we know has signed."""
    count = len(forged)
    noun = "revocation that nobody we know" if count == 1 else "revocations that nobody we know"
    return switch_alert(
        "store_forged",
        alert_id(BY, f"{now_s!r}", "store_forged"),
        now_s,
        title=f"the revocation store holds {count} {noun} signed; enforced all the same",
        expected="signed by the daemon's or an operator's key",
        why="if it is not a colleague's, find out who can write to the store; restore what should run",
        about=BY,
        sentences=forged[:MAX_NAMED],
    )


def break_glass_alert(
    change: Change, held: Revocation, keyring: Keyring | None, now_s: float
) -> Alert | None:
    """Return the alert about a restoration in which a recovery key voted; None if none did."""
    votes = voters(keyring, held.target, held.change_id, change.approvals) if keyring else ()
    used = [key.name for key in votes if key.role == "recovery"]
    if not used:
        return None
    return switch_alert(
        "break_glass",
        alert_id(BY, change.change_id, "break_glass"),
        now_s,
        title=f"break-glass was used: {held.target} was restored by {change.by} with the recovery key {used[0]}",
        expected="restored by as many operators as the quorum asks for",
        why="two people look at what was done and why nobody was reachable; if nobody did it, the key is stolen",
        about=BY,
        sentences=(f"lifted: {held.describe()}", f"because: {change.reason}"),
    )
