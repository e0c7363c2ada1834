"""Reads the Prometheus text format 0.0.4 as strictly as a scraper does, for tests."""

from __future__ import annotations

import re
from typing import NamedTuple

_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"')
_SAMPLE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{((?:" + _LABEL.pattern + r",?)*)\})? ([+-]?Inf|NaN|[-+0-9.eE]+)"
)
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


class Family(NamedTuple):
    kind: str
    help: str
    samples: list[Sample]


def families(text: str) -> dict[str, Family]:
    """Every metric by its name; fails at the first line that is not of the format."""
    assert text.endswith("\n")
    found: dict[str, Family] = {}
    meaning, family = "", None
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP "):
            meaning = _unescaped(line.split(" ", 3)[3])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in found, f"{name} comes twice"
            family = found[name] = Family(kind, meaning, [])
        else:
            sample = _sample(line)
            assert family is not None, line
            name = (
                re.sub("_(bucket|sum|count)$", "", sample.name) if family.kind == "histogram" else sample.name
            )
            assert found[name] is family, f"{line} stands under another metric"
            assert all((one.name, one.labels) != sample[:2] for one in family.samples), f"{line} comes twice"
            family.samples.append(sample)
    return found


def _sample(line: str) -> Sample:
    match = _SAMPLE.fullmatch(line)
    assert match, line
    labels = {name: _unescaped(value) for name, value in _LABEL.findall(match[3] or "")}
    return Sample(match[1], labels, float(match[6].replace("Inf", "inf")))


def _unescaped(text: str) -> str:
    return re.sub(r'\\[\\"n]', lambda escape: _ESCAPES[escape[0]], text)
