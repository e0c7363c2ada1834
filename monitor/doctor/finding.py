"""What a check says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from monitor.doctor.installation import Installation

MAX_SHOWN_CHARS: Final = 120

Status = Literal["ok", "warn", "fail", "skipped"]


class Finding(NamedTuple):
    """What was found, in one sentence, and what to do about it, in another; empty where nothing is to be done.

    ``fail``: something does not work, or a kill may not. ``warn``: it works, and somebody should look at it.
    ``skipped``: nobody can know from here.
    """

    status: Status
    found: str
    advice: str = ""


class Check(NamedTuple):
    """One question to an installation. `run` may raise anything: that is a finding too."""

    name: str
    question: str
    run: Callable[[Installation], Finding]


def ok(found: str) -> Finding:
    """Return that all is well."""
    return Finding("ok", found)


def warn(found: str, advice: str) -> Finding:
    """Return that somebody should look at it."""
    return Finding("warn", found, advice)


def fail(found: str, advice: str) -> Finding:
    """Return that something does not work."""
    return Finding("fail", found, advice)


def skipped(why: str) -> Finding:
    """Return that nobody can know."""
    return Finding("skipped", why)


def printable(text: str) -> str:
    """Return a text that strangers chose, cut, and with nothing in it that a terminal would obey."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[:MAX_SHOWN_CHARS])
