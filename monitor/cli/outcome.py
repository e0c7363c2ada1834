"""How the command line runs a kill or restore and tells of it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

from killswitch import Ack, BadKey, Containment, Keyring, Outcome, Signer, Switch
from killswitch.storage.journal import Journal
from monitor.cli.main import DONE, REFUSED
from monitor.errors import DaemonError
from monitor.kill.keys import KEYRING_FILE, Keys, known_keys
from monitor.kill.outcomes import outcome_fields
from monitor.state_dir import StateDir

Change = Callable[[Switch, Callable[[Ack], None]], tuple[Outcome, Containment]]

MAX_NAMED = 30  # more confirmations than this are counted, not listed: the answer must stay on the screen


def store_url(options: argparse.Namespace) -> str:
    """Return the store that was named, or that the daemon of the state directory uses or last used."""
    return options.redis or StateDir.existing(options.state).address().redis_url


def point_url(options: argparse.Namespace) -> str:
    """Return how an enforcement point connects to that store: as one, where the daemon's store has a user for them."""
    if options.redis:
        return str(options.redis)
    address = StateDir.existing(options.state).address()
    return address.point_url or address.redis_url


def keys_of(options: argparse.Namespace) -> Keys:
    """Return what signs for this command and by what it is judged: what was named, else what the daemon has.

    Raises
    ------
    BadKey
        If a key or keyring cannot be used.
    """
    key, keyring = getattr(options, "key", None), getattr(options, "keyring", None)
    known = Keys(None, None)
    if keyring is None and is_the_daemons_store(options):
        try:
            known = known_keys(options.state)
        except BadKey:  # the daemon's key may be for its own user only; its keyring is for everybody
            known = Keys(None, Keyring.load(options.state / KEYRING_FILE))
    return Keys(
        signer=known.signer or (None if key is None else Signer.load(key)),
        keyring=known.keyring if keyring is None else Keyring.load(keyring),
    )


def open_switch(options: argparse.Namespace, timeout_s: float) -> Switch:
    """Return a switch on that store; with the daemon's key, where this user may read it, and its journal, if it is its.

    A key that cannot be used is said and done without: it must not be in the way of a kill.
    """
    url = store_url(options)
    try:
        keys = keys_of(options)
    except BadKey as error:
        print(f"killcord: {error}; going on without a signature", file=sys.stderr)
        keys = Keys(None, None)
    journal = Journal(options.state / "journal") if is_the_daemons_store(options) else None
    signer = None if keys.keyring is None else keys.signer
    return Switch(url, timeout_s=timeout_s, signer=signer, keyring=keys.keyring, journal=journal)


def is_the_daemons_store(options: argparse.Namespace) -> bool:
    """Return whether the command is about the store of the daemon whose state directory it was given.

    Its keys mean nothing elsewhere, and a kill kept in its journal is written to its store.
    """
    named = getattr(options, "redis", "")
    if not named:
        return True
    try:
        return StateDir.existing(options.state).address().redis_url == str(named)
    except DaemonError:
        return False


def change_and_tell(options: argparse.Namespace, change: Change) -> int:
    """Do it straight at the store, which works without a daemon too, and return the exit status.

    0 only if every live point confirmed. A kill that nobody is known to enforce is 1 as well, unless
    `--allow-no-points` was said: whoever is called at night must not read "done" where nothing was stopped.
    """
    shown = _Shown(is_live=not options.json and sys.stderr.isatty())
    with open_switch(options, timeout_s=max(2.0, options.timeout)) as switch:
        outcome, containment = change(switch, shown.note)
    print(
        json.dumps(outcome_fields(options.target, outcome, containment))
        if options.json
        else _sentence(options, outcome, containment)
    )
    may_be_nobody = getattr(options, "allow_no_points", True)
    return DONE if containment.contained and (containment.total or may_be_nobody) else REFUSED


class _Shown:
    """The confirmations as they come, on a terminal."""

    def __init__(self, is_live: bool) -> None:
        self._is_live = is_live
        self._started_s = time.monotonic()
        self._seen: set[str] = set()

    def note(self, ack: Ack) -> None:
        """Show a confirmation; each point once."""
        if not self._is_live or ack.point in self._seen:
            return
        self._seen.add(ack.point)
        if len(self._seen) <= MAX_NAMED:
            after_ms = (time.monotonic() - self._started_s) * 1e3
            own = "" if ack.latency_ms is None else f", {ack.latency_ms:.1f} ms by its own clock"
            print(f"  {ack.name} after {after_ms:.1f} ms{own}", file=sys.stderr, flush=True)
        elif len(self._seen) % 100 == 0:
            print(f"  … {len(self._seen)} confirmed", file=sys.stderr, flush=True)


def _sentence(options: argparse.Namespace, outcome: Outcome, containment: Containment) -> str:
    if outcome.pending:
        return (
            f"{options.target}: {outcome.note}; the daemon carries it out as soon as the store answers (without one:"
            " killcord kill --flush). Enforcement points without news refuse by themselves within their lease"
        )
    disk = {True: "on disk", False: "NOT yet on disk", None: "the server cannot say whether it is on disk"}
    return (
        f"{options.target}: {outcome.note} (change {outcome.epoch}, {disk[outcome.durable]}); {containment}"
    )
