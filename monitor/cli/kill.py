"""`killcord kill`: stop a target everywhere."""

from __future__ import annotations

import argparse
import json
import time
import uuid
from typing import Any

from killswitch import InvalidRequest, Target
from killswitch.revocations import Request
from killswitch.storage.journal import Drained, Journal
from monitor.cli.asking import ask, has_terminal
from monitor.cli.main import DONE, REFUSED
from monitor.cli.outcome import change_and_tell, open_switch
from monitor.errors import DaemonError
from monitor.kill.journal_drain import flush


def run(options: argparse.Namespace) -> int:
    """Revoke, suspend or hold the target, and wait for the enforcement points; or see to the kills that were kept."""
    if options.flush:
        return _flush(options)
    for field, given in (("target", options.target), ("--reason", options.reason)):
        if not given:
            raise InvalidRequest(field, "missing; write killcord kill TARGET --reason WHY")
    target = Target.parse(options.target)
    if options.level == "suspend" and options.for_s is None:
        raise InvalidRequest("--for", "say how many seconds the suspension lasts")
    _require_confirmation(target, options.confirm)
    expires_at_s = None if options.for_s is None else time.time() + options.for_s
    try:
        return change_and_tell(
            options,
            lambda switch, on_ack: switch.revoke_and_wait(
                target,
                reason=options.reason,
                by=options.by,
                level=options.level,
                expires_at_s=expires_at_s,
                contain_timeout_s=options.timeout,
                on_ack=on_ack,
            ),
        )
    except DaemonError as error:
        if options.redis or not options.state.is_dir():
            raise
        return _keep(options, target, expires_at_s, error)


def _keep(options: argparse.Namespace, target: Target, expires_at_s: float | None, error: DaemonError) -> int:
    """Keep the kill for the next daemon: nobody knows where its store is while none runs."""
    request = Request(options.level, target, options.reason, options.by, uuid.uuid4().hex, expires_at_s)
    journal = Journal(options.state / "journal")
    entry = journal.add(request)
    says = f"{error}. The kill is kept in {journal.directory}; the next daemon carries it out as it starts"
    fields = {
        "target": str(target),
        "pending": True,
        "contained": False,
        "change_id": entry.request.change_id,
    }
    print(json.dumps({**fields, "says": says}) if options.json else f"{target}: pending: {says}")
    return REFUSED


def _flush(options: argparse.Namespace) -> int:
    """Carry out what the journal keeps, once; 1 if something is left."""
    if options.target or options.level != "revoke" or options.for_s is not None:
        raise InvalidRequest("--flush", "goes by itself: what was kept says what to stop")
    journal = Journal(options.state / "journal")
    with open_switch(options, timeout_s=max(2.0, options.timeout)) as switch:
        drained = flush(journal, switch)
    print(json.dumps(_flushed_fields(drained)) if options.json else _flushed_words(drained))
    return REFUSED if drained.waiting or drained.refused else DONE


def _flushed_fields(drained: Drained) -> dict[str, Any]:
    return {
        "applied": [str(entry.request.target) for entry in drained.applied],
        "expired": [str(entry.request.target) for entry in drained.expired],
        "refused": [{"target": str(entry.request.target), "why": why} for entry, why in drained.refused],
        "waiting": [str(entry.request.target) for entry in drained.waiting],
        "problem": drained.problem,
    }


def _flushed_words(drained: Drained) -> str:
    lines = [f"{entry.request.target}: carried out" for entry in drained.applied]
    lines += [f"{entry.request.target}: dropped, the suspension is over by now" for entry in drained.expired]
    lines += [f"{entry.request.target}: set aside, {why}" for entry, why in drained.refused]
    lines += [f"{entry.request.target}: still kept" for entry in drained.waiting]
    return "\n".join([*lines, drained.problem] if drained.problem else lines) or "no kill was kept"


def _require_confirmation(target: Target, confirmed: str | None) -> None:
    """Make sure that the fleet is meant: it stops everything, and `fleet` is a short word."""
    if target.kind != "fleet" or confirmed == "fleet":
        return
    if confirmed is None and has_terminal():
        if ask("This stops every agent of every tenant. Type fleet to go on:") == "fleet":
            return
        raise InvalidRequest("fleet", "not confirmed; nothing was stopped")
    raise InvalidRequest(
        "--confirm", "this stops every agent of every tenant; repeat it with --confirm fleet"
    )
