"""Lengths of time as people write them on a command line: `90s`, `30m`, `24h`, `7d`."""

from __future__ import annotations

import re

from monitor.errors import ConfigError

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_FORM = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])")


def duration_s(option: str, text: str) -> float:
    """Return the length in seconds, above 0; raises `ConfigError` naming the option.

    >>> duration_s("--last", "7d")
    604800.0
    """
    match = _FORM.fullmatch(text.strip())
    length_s = float(match[1]) * _UNITS_S[match[2]] if match else 0.0
    if length_s <= 0:
        raise ConfigError(option, f"{text!r} is no length of time; write for example 90s, 30m, 24h or 7d")
    return length_s
