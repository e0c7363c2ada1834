"""How people agree to a restoration on the command line: one petition, the votes for it, and carrying it out."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from killswitch import (
    Ack,
    Approval,
    BadKey,
    Containment,
    InvalidRequest,
    Keyring,
    Outcome,
    Petition,
    PublicKey,
    Revocation,
    Signer,
    Switch,
    approve,
)
from killswitch.storage.links import Link
from killswitch.trust.approvals import counted, missing, voters
from killswitch.trust.petitions import OpenPetition, Petitions
from monitor.cli.asking import clock_time, shown
from monitor.cli.main import REFUSED
from monitor.cli.outcome import change_and_tell, keys_of, open_switch, store_url

TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Ballot:
    """Where people vote: the store's petitions, the keyring in force there, and what is in force against whom."""

    keyring: Keyring
    petitions: Petitions
    switch: Switch

    def record(self, petition: Petition) -> Revocation | None:
        """Return the record that the petition would lift, None if it is not in force any more."""
        found = self.switch.snapshot().revocations.get(petition.target)
        is_meant = found is not None and found.change_id == petition.lifts and found.level_at(time.time())
        return found if is_meant else None

    def votes(self, petition: Petition) -> tuple[Approval, ...]:
        """Return the votes that count for lifting what the petition would, whichever petition they were given for."""
        now_s = time.time()
        found = self.petitions.open_for(petition.target, petition.lifts, now_s)
        given = (approval for each in found for approval in each.approvals)
        return counted(self.keyring, petition.target, petition.lifts, given, now_s)

    def short(self, petition: Petition) -> int:
        """Return how many more people have to agree."""
        return missing(self.keyring, petition.target, petition.lifts, self.votes(petition), time.time())

    def approval(self, petition: Petition, signer: Signer) -> Approval:
        """Return the signer's vote; raises BadKey if it would not count."""
        approval = approve(petition, signer, time.time())
        if not voters(self.keyring, petition.target, petition.lifts, (approval,)):
            raise BadKey(
                f"the key {signer.key_id} of {signer.name} is not on the keyring (version {self.keyring.version}),"
                " so its vote would not count; killcord keys show lists the keys, keys propose --add adds one"
            )
        return approval

    def agreed(self, petition: Petition) -> list[PublicKey]:
        """Return the keys of those who agreed."""
        return voters(self.keyring, petition.target, petition.lifts, self.votes(petition))


@contextmanager
def open_ballot(options: argparse.Namespace) -> Iterator[Ballot]:
    """Give the ballot of the store that the options name; raises BadKey or InvalidRequest without a keyring."""
    keyring = keys_of(options).keyring
    if keyring is None:
        raise InvalidRequest(
            "--keyring", "name the keyring's file, or the daemon's state directory with --state"
        )
    url = store_url(options)
    with open_switch(options, TIMEOUT_S) as switch, closing(Link(url, timeout_s=TIMEOUT_S)) as link:
        switch.use_keyring(keyring)
        latest = switch.latest_keyring() or keyring
        yield Ballot(latest, Petitions(link, switch.keys.petitions), switch)


def vote_and_carry_out(
    options: argparse.Namespace, ballot: Ballot, petition: Petition, signer: Signer | None
) -> int:
    """Add the signer's vote, if there is one, and restore if that makes enough; return the exit status.

    A petition that is new is kept first, so that others find it.
    """
    approval = None if signer is None else ballot.approval(petition, signer)
    if ballot.petitions.find(petition.id, time.time()) is None:
        ballot.petitions.add(petition, time.time())
    if approval is not None:
        ballot.petitions.vote(approval)
    if ballot.short(petition):
        tell(options, ballot, petition)
        return REFUSED
    return _carry_out(options, ballot, petition)


def _carry_out(options: argparse.Namespace, ballot: Ballot, petition: Petition) -> int:
    options.target = str(petition.target)
    votes = ballot.votes(petition)

    def change(switch: Switch, on_ack: Callable[[Ack], None]) -> tuple[Outcome, Containment]:
        switch.use_keyring(ballot.keyring)
        return switch.restore_and_wait(
            petition.target,
            reason=petition.reason,
            by=petition.by,
            approvals=votes,
            contain_timeout_s=options.timeout,
            on_ack=on_ack,
        )

    status = change_and_tell(options, change)
    for found in ballot.petitions.open_for(petition.target, petition.lifts, time.time()):
        ballot.petitions.remove(found)
    return status


def tell(options: argparse.Namespace, ballot: Ballot, petition: Petition) -> None:
    """Print where the petition stands, and the command for the next person."""
    if options.json:
        print(json.dumps(fields(ballot, petition)))
        return
    print(describe(ballot, petition))
    if ballot.short(petition):
        print(
            f"another person: killcord approve {shlex.quote(shown(petition.id))} --key FILE", file=sys.stderr
        )


def fields(ballot: Ballot, petition: Petition) -> dict[str, Any]:
    """Return what `--json` says of a petition."""
    record = ballot.record(petition)
    return {
        "petition": petition.id,
        "target": str(petition.target),
        "applied": False,
        "reason": petition.reason,
        "by": petition.by,
        "opened_at": petition.opened_at_s,
        "expires_at": petition.expires_at_s,
        "lifts": None if record is None else record.describe(),
        "agreed": [key.name for key in ballot.agreed(petition)],
        "missing": ballot.short(petition),
    }


def describe(ballot: Ballot, petition: Petition) -> str:
    """Return the petition as lines for people: what, why, who asked, who agreed, until when."""
    record, short = ballot.record(petition), ballot.short(petition)
    agreed = ", ".join(f"{key.name} ({key.role}, {key.id})" for key in ballot.agreed(petition))
    stopped = "the record is not in force any more" if record is None else shown(record.describe())
    return "\n".join(
        (
            f"petition {shown(petition.id)}: restore {shown(str(petition.target))}",
            f"  stopped  {stopped}",
            f"  why      {shown(petition.reason)}",
            f"  asked    {shown(petition.by)}, {clock_time(petition.opened_at_s)}",
            f"  until    {clock_time(petition.expires_at_s)}",
            f"  agreed   {agreed or 'nobody yet'}; {f'{short} more needed' if short else 'that is enough'}",
        )
    )


def of_id(ballot: Ballot, petition_id: str) -> OpenPetition:
    """Return the open petition with that id; raises InvalidRequest if there is none."""
    found = ballot.petitions.find(petition_id, time.time())
    if found is None:
        raise InvalidRequest(
            "ID", f"there is no open petition {petition_id}; killcord approve --list shows them"
        )
    return found
