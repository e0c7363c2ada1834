"""`killcord doctor`: what is wrong with an installation, and what to do about it. Reads, and changes nothing."""

from __future__ import annotations

import argparse
import json

from monitor.cli.main import DONE, REFUSED
from monitor.doctor.checks import CHECKS
from monitor.doctor.examination import Examined, examine
from monitor.doctor.installation import Installation
from monitor.state_dir import StateDir

MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL", "skipped": "-   "}


def run(options: argparse.Namespace) -> int:
    """Examine the installation; exit status 1 if something failed, 3 if there is none."""
    state = StateDir.existing(options.state).path
    installation = Installation(state.resolve(), options.config, options.redis)
    found: list[Examined] = []
    for examined in examine(CHECKS, installation):
        found.append(examined)
        if not options.json and (options.all or examined.finding.status in ("warn", "fail")):
            print(_lines(examined), flush=True)
    print(json.dumps(_fields(found)) if options.json else _summary(found))
    return REFUSED if any(each.finding.status == "fail" for each in found) else DONE


def _lines(examined: Examined) -> str:
    check, (status, found, advice) = examined
    line = f"{MARKS[status]} {check.name}: {found}"
    return f"{line}\n       → {advice}" if advice else line


def _summary(found: list[Examined]) -> str:
    statuses = [each.finding.status for each in found]
    counts = [
        f"{statuses.count('fail')} failed",
        f"{statuses.count('warn')} to look at",
        f"{statuses.count('ok')} ok",
        f"{statuses.count('skipped')} not known",
    ]
    return f"{len(found)} checks: {', '.join(counts)}"


def _fields(found: list[Examined]) -> dict[str, object]:
    return {
        "failed": sum(each.finding.status == "fail" for each in found),
        "warned": sum(each.finding.status == "warn" for each in found),
        "checks": [
            {"name": check.name, "question": check.question, **finding._asdict()} for check, finding in found
        ],
    }
