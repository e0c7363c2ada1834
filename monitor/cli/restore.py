"""`killcord restore`: let a target act again, alone where one may, or as a petition that others agree to."""

from __future__ import annotations

import argparse
import time

from killswitch import Petition, Signer, Target, approve
from killswitch.trust.approvals import missing
from monitor.cli.ballot import Ballot, open_ballot, vote_and_carry_out
from monitor.cli.outcome import change_and_tell, keys_of


def run(options: argparse.Namespace) -> int:
    """Restore the target and wait for the enforcement points, if enough people agreed; else say who is missing."""
    target = Target.parse(options.target)
    keys = keys_of(options)
    signer = None if options.key is None else Signer.load(options.key)
    if keys.keyring is None and signer is None:
        return _restore(options, target)
    with open_ballot(options) as ballot:
        petition = _petition(options, ballot, target)
        if petition is None or (signer is None and _suffices(ballot, petition, keys.signer)):
            return _restore(options, target)
        return vote_and_carry_out(options, ballot, petition, signer)


def _restore(options: argparse.Namespace, target: Target) -> int:
    return change_and_tell(
        options,
        lambda switch, on_ack: switch.restore_and_wait(
            target, reason=options.reason, by=options.by, contain_timeout_s=options.timeout, on_ack=on_ack
        ),
    )


def _petition(options: argparse.Namespace, ballot: Ballot, target: Target) -> Petition | None:
    """Return the petition for lifting what is in force against `target`: an open one, or a new one; None if nothing is.

    Not kept yet where the daemon's key will do.
    """
    now_s = time.time()
    record = ballot.switch.snapshot().revocations.get(target)
    if record is None or record.level_at(now_s) is None:
        return None
    open_ones = ballot.petitions.open_for(target, record.change_id, now_s)
    if open_ones:
        return max(open_ones, key=lambda found: len(found.approvals)).petition
    return Petition.open(
        target,
        record.change_id,
        reason=options.reason,
        by=options.by,
        now_s=now_s,
        valid_s=options.expires_in,
    )


def _suffices(ballot: Ballot, petition: Petition, signer: Signer | None) -> bool:
    """Return whether the key at hand may restore alone: while no operator is enrolled the daemon's may."""
    if signer is None:
        return False
    vote = approve(petition, signer, time.time())
    return missing(ballot.keyring, petition.target, petition.lifts, (vote,)) == 0
