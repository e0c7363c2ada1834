"""`killcord approve`: agree to somebody's petition to restore a target."""

from __future__ import annotations

import argparse
import json
import time

from killswitch import InvalidRequest, Signer
from monitor.cli.asking import ask, has_terminal
from monitor.cli.ballot import Ballot, describe, fields, of_id, open_ballot, tell, vote_and_carry_out
from monitor.cli.main import DONE, REFUSED


def run(options: argparse.Namespace) -> int:
    """List the open petitions, show one, or agree to it; carries it out when that makes enough."""
    if options.list == (options.id is not None):
        raise InvalidRequest("ID", "name one petition, or ask for all with --list")
    with open_ballot(options) as ballot:
        return _list(options, ballot) if options.list else _approve(options, ballot)


def _list(options: argparse.Namespace, ballot: Ballot) -> int:
    petitions = [found.petition for found in ballot.petitions.all(time.time())]
    if options.json:
        print(json.dumps([fields(ballot, petition) for petition in petitions]))
    else:
        print("\n".join(describe(ballot, petition) for petition in petitions) or "no petition is open")
    return DONE


def _approve(options: argparse.Namespace, ballot: Ballot) -> int:
    found = of_id(ballot, options.id)
    if ballot.record(found.petition) is None:
        tell(options, ballot, found.petition)
        ballot.petitions.remove(found)
        return REFUSED
    if options.key is None:
        tell(options, ballot, found.petition)
        return DONE
    signer = Signer.load(options.key)
    # Whoever may write to the store may have put another petition under this id: people see what they sign.
    if has_terminal() and not options.yes:
        print(describe(ballot, found.petition))
        if ask(f"Agree to restore {found.petition.target} as {signer.name}? Type yes:") != "yes":
            return REFUSED
    return vote_and_carry_out(options, ballot, found.petition, signer)
