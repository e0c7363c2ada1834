"""What a kill needs: enforcement points that live, keys, drills that passed, and no kill that waits."""

from __future__ import annotations

import contextlib
import time
from typing import Final

from killswitch import BadKey, KillswitchError, PointStatus
from killswitch.storage.journal import Journal
from monitor.doctor.finding import Finding, fail, ok, printable, skipped, warn
from monitor.doctor.installation import Installation
from monitor.kill.drill_log import DrillLog
from monitor.kill.keys import known_keys
from monitor.kill.readiness import STALE_INTERVALS, newcomers

LONG_LEASE_S: Final = 30.0
FRESH_WAIT_S: Final = 30.0
MAX_NAMED: Final = 3
_DRILL: Final = "killcord drill"


def points(installation: Installation) -> Finding:
    """Say whether anybody would enforce a kill."""
    found = _points(installation)
    if found is None:
        return skipped("the store does not answer, and only it knows them")
    live, gone = [each for each in found if each.live], [each for each in found if not each.live]
    if not found:
        return warn(
            "no enforcement point ever connected: a kill would stop nobody",
            "put a Guard before what agents can touch, or start them with killcord guard",
        )
    if not live:
        return fail(
            f"none of {len(found)} enforcement points lives: {_names(gone)}",
            "see whether the agents run, and whether they reach the store; those that run refuse everything by now",
        )
    slow = [each for each in live if each.lease_s > LONG_LEASE_S]
    if slow:
        return warn(
            f"{len(slow)} of {len(live)} points go on for more than {LONG_LEASE_S:.0f} s without news: {_names(slow)}",
            "give them a lease of a few seconds: it is the longest time that a kill can go unheard",
        )
    if gone:
        return warn(
            f"{len(gone)} of {len(found)} enforcement points are not seen any more: {_names(gone)}",
            "see whether their agents were stopped on purpose",
        )
    return ok(f"{len(live)} of {len(found)} enforcement points live")


def last_drill(installation: Installation) -> Finding:
    """Say what the last drill showed, and whether it still means anything."""
    drill = DrillLog(installation.state / "drills.ndjson").newest()
    if drill is None:
        return warn("there was no drill yet", f"run {_DRILL}: nobody knows whether a kill would be enforced")
    if drill.verdict == "failed":
        first = f": {drill.failing[0]} {drill.failing[0].problem}" if drill.failing else ""
        return fail(f"the last drill failed: {drill}{first}", f"see to that point, then run {_DRILL}")
    if drill.verdict != "passed":
        return warn(f"the last drill showed nothing: {drill}", f"see to that, then run {_DRILL}")
    age_s = time.time() - drill.at_s
    interval_s = installation.config.drill.interval_s
    if interval_s and age_s > STALE_INTERVALS * interval_s:
        return warn(f"the last drill was {_ago(age_s)} ago", f"run {_DRILL}, and see why the daemon does not")
    new = newcomers(drill, [point for point in _points(installation) or [] if point.live])
    if new:
        return warn(f"not drilled yet: {_names(new)}", f"run {_DRILL}, or wait for the daemon's next")
    return ok(f"{_ago(age_s)} ago {drill}")


def kept_kills(installation: Installation) -> Finding:
    """Say whether kills wait for the store, or were set aside."""
    journal = Journal(installation.state / "journal")
    if damaged := journal.damaged:
        return fail(
            f"{damaged} kept kills cannot be carried out, and were set aside as {journal.directory}/*.damaged",
            "read them, kill by hand what still has to be, and delete them",
        )
    try:
        waiting, since_s = len(journal), journal.oldest_at_s()
    except KillswitchError as error:
        return fail(str(error), "make the journal readable for the daemon's user")
    if not waiting or since_s is None:
        return ok("no kill waits")
    oldest_s = time.time() - since_s
    if not installation.is_running:
        return fail(
            f"{waiting} kills wait, and no daemon carries them out",
            "start the daemon, or run killcord kill --flush",
        )
    if oldest_s > FRESH_WAIT_S:
        return fail(f"{waiting} kills wait, the oldest for {_ago(oldest_s)}", "see the checks of the store")
    return warn(f"{waiting} kills wait, the oldest for {_ago(oldest_s)}", "look again in half a minute")


def keys(installation: Installation) -> Finding:
    """Say whether the daemon's key counts, and who may restore."""
    try:
        signer, keyring = known_keys(installation.state)
    except (BadKey, OSError) as error:
        return fail(f"the keys cannot be used: {error}", "bring daemon.key and keyring.json back from a copy")
    if keyring is None:
        return warn(
            "there is no keyring",
            "a new daemon makes one; if one has run here, bring it back",
        )
    if signer is None:
        return fail("there is no daemon.key", "bring it back from a copy: without it nothing is vouched for")
    known = keyring.key(signer.key_id)
    if known is None or known.role != "daemon":
        return fail(
            f"the keyring (version {keyring.version}) does not count the daemon's key",
            "bring back the daemon.key that belongs to it, or add this one with killcord keys propose",
        )
    if not keyring.operators:
        return warn(
            "no operator is enrolled: the daemon's key alone restores",
            "make keys for people with killcord keys new, and enrol them with killcord keys propose --quorum 2",
        )
    if not any(key.role == "recovery" for key in keyring.keys):
        return warn(
            f"{len(keyring.operators)} operators are enrolled, and there is no recovery key",
            "enrol one and lock it away: it restores when operators cannot be reached",
        )
    return ok(
        f"{len(keyring.operators)} operators are enrolled, {keyring.quorum_for('agent')} restore an agent"
    )


def _points(installation: Installation) -> list[PointStatus] | None:
    if not installation.store_url:
        return None
    with contextlib.suppress(KillswitchError), installation.switch() as switch:
        return switch.points()
    return None


def _names(points: list[PointStatus]) -> str:
    """Return the first few names, which the points chose themselves."""
    names = ", ".join(printable(str(point)) for point in points[:MAX_NAMED])
    return names + (f" and {len(points) - MAX_NAMED} more" if len(points) > MAX_NAMED else "")


def _ago(age_s: float) -> str:
    if age_s < 120:
        return f"{max(0.0, age_s):.0f} s"
    return f"{age_s / 60:.0f} min" if age_s < 7200 else f"{age_s / 3600:.0f} h"
