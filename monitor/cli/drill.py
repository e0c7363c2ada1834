"""`killcord drill`: would a kill be enforced? Revoke and restore a canary, and tell what every point did."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from killswitch import InvalidRequest, Keyring, Switch
from killswitch.drills.drill import run_drill
from killswitch.drills.drill_record import Drill, read_evidence
from killswitch.errors import BadRecord
from monitor.cli.main import DONE, REFUSED
from monitor.cli.outcome import is_the_daemons_store, keys_of, store_url
from monitor.errors import MonitorError
from monitor.kill.drill_log import DrillLog, KeptDrill, read_line
from monitor.kill.drill_report import MAX_TREND, Report, make_report
from monitor.kill.drill_report_html import page
from monitor.kill.drill_report_text import markdown, table
from monitor.kill.keys import KEYRING_FILE

LOG_FILE = "drills.ndjson"
WRITERS = {".html": page, ".htm": page, ".md": markdown}


class DrillError(MonitorError):
    """A drill's file cannot be read or written."""


def run(options: argparse.Namespace) -> int:
    """Drill, or verify the evidence of one; exit status 1 if it did not pass."""
    if options.verify is not None:
        return _verify(options)
    if options.report is not None and options.report.suffix not in WRITERS:
        raise InvalidRequest("--report", f"{options.report} should end in .html or .md")
    keys = keys_of(options)
    signer = None if keys.keyring is None else keys.signer
    # No journal: a canary that could not be revoked must not be revoked later.
    with Switch(store_url(options), timeout_s=2.0, signer=signer, keyring=keys.keyring) as switch:
        drill = run_drill(
            switch, by=options.by, point=options.point, promise_ms=options.promise, timeout_s=options.timeout
        )
    # Of another store than the daemon's it would say something wrong about the daemon's.
    file = options.state / LOG_FILE if is_the_daemons_store(options) else None
    report = _kept(DrillLog(file, signer, keys.keyring), DrillLog(None, signer, keys.keyring), drill)
    if options.evidence is not None:
        _write(options.evidence, report.evidence.encode() + b"\n")
    if options.report is not None:
        _write(options.report, WRITERS[options.report.suffix](report).encode())
    print(json.dumps(_fields(report)) if options.json else _text(report))
    return DONE if drill.verdict == "passed" else REFUSED


def _kept(log: DrillLog, otherwise: DrillLog, drill: Drill) -> Report:
    """Sign the drill, keep it with the daemon's own, and return its report; a full disk must not hide the result."""
    try:
        kept = log.add(drill)
    except OSError as error:
        print(f"killcord: the drill could not be kept on record: {error}", file=sys.stderr)
        kept = otherwise.add(drill)
    return make_report(kept, log.last(MAX_TREND * 2))


def _text(report: Report) -> str:
    drill = report.drill
    parts = [table(drill)] if drill.points else []
    parts.append(f"{drill.verdict.upper().replace('_', ' ')}: {report.sentence}")
    return "\n".join(parts)


def _fields(report: Report) -> dict[str, object]:
    drill = report.drill
    _, _, trailer = report.evidence.partition("\n")
    return {
        **json.loads(report.evidence.partition("\n")[0]),
        "passed": drill.verdict == "passed",
        "says": report.sentence,
        "p50_ms": drill.latency_ms(0.5),
        "p99_ms": drill.latency_ms(0.99),
        "max_ms": drill.latency_ms(1),
        "lease_s": drill.lease_s,
        "signed_by": report.signed_by,
        "seal": trailer,
    }


# -- verifying ------------------------------------------------------------------------------------------------------


def _verify(options: argparse.Namespace) -> int:
    """Say for each drill in the file who signed it; 0 only if a key of the keyring signed every one."""
    file = options.keyring or options.state / KEYRING_FILE
    keyring = Keyring.load(file)
    found = _read(options.verify, keyring)
    if options.json:
        print(json.dumps([_verified_fields(each) for each in found]))
    else:
        print("\n".join(_verified_line(each) for each in found))
    return DONE if all(each.signed_by for each in found) else REFUSED


def _read(path: Path, keyring: Keyring) -> list[KeptDrill]:
    """Return the drills in an evidence file, or in a log of them; raises `DrillError` if anything in it is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DrillError(f"cannot read {path}: {error.strerror}") from error
    if data.startswith(b'{"v": 1, "evidence":'):
        kept = [read_line(line, keyring) for line in data.splitlines()]
        found = [each for each in kept if each is not None]
        if len(found) < len(kept):
            raise DrillError(f"{path}: {len(kept) - len(found)} of {len(kept)} lines hold no drill")
        return found
    try:
        drill, key = read_evidence(data, keyring)
    except BadRecord as error:
        raise DrillError(f"{path} holds no drill's evidence: {error}") from error
    return [KeptDrill(drill, data, f"{key.name} ({key.role})" if key else "")]


def _verified_fields(kept: KeptDrill) -> dict[str, object]:
    drill = kept.drill
    return {
        "id": drill.id,
        "at_s": drill.at_s,
        "verdict": drill.verdict,
        "verified": bool(kept.signed_by),
        "signed_by": kept.signed_by,
        "says": str(drill),
    }


def _verified_line(kept: KeptDrill) -> str:
    drill: Drill = kept.drill
    proof = (
        f"signed by {kept.signed_by}" if kept.signed_by else "NOT VERIFIED: no key of the keyring signed this"
    )
    return f"{proof}; drill {drill.id}: {drill}"


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise DrillError(
            f"cannot write {path}: {error.strerror}; the drill itself was run and kept"
        ) from error
