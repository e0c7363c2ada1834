"""The one filter language of the feed, the alerts' list, deliveries, the terminal and the dashboard. Pure.

    agent:billing-* severity:>=high -tool:read_file,list_files "two words"

Terms are separated by spaces and all must match. A message that does not have what a term asks for does not match it,
and so matches its negation. ``docs/api.md`` describes the language for its users.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from monitor.core.pattern import glob
from monitor.errors import FilterError

MAX_CHARS: Final = 2000
MAX_TERMS: Final = 50
"""Security limits: a filter is read once for each message and reader."""

SEVERITIES: Final = ("low", "medium", "high", "critical")
STATES: Final = ("open", "acknowledged", "closed", "muted")
ALWAYS: Final = frozenset({"status", "snapshot"})
"""Types of messages that every reader gets, whatever it filters for."""

_TERM = re.compile(r'(?P<not>-)?(?:(?P<key>[a-z_]+):)?(?P<value>(?:"[^"]*"|[^\s"])+)')
_VALUE = re.compile(r'(?:"[^"]*"|[^,"])+')
_AT_LEAST = ">="

Fields = Callable[[Mapping[str, Any]], Iterable[str]]


class Term(NamedTuple):
    """One term: what it reads from a message, and whether any of that passes."""

    read: Fields
    passes: Callable[[str], bool]
    is_negated: bool

    def matches(self, message: Mapping[str, Any]) -> bool:
        """Return whether the message has what the term asks for, or has not if it is negated."""
        return any(map(self.passes, self.read(message))) is not self.is_negated


class Filter(NamedTuple):
    """A filter that was read; equal filters have equal texts, so one evaluation can serve many readers."""

    text: str
    terms: tuple[Term, ...]

    def matches(self, message: Mapping[str, Any]) -> bool:
        """Return whether a decoded feed message passes."""
        return message.get("type") in ALWAYS or all(term.matches(message) for term in self.terms)


EVERYTHING: Final = Filter("", ())


def parse_filter(text: str) -> Filter:
    """Return the filter that the text describes.

    Raises
    ------
    FilterError
        If it cannot be read; its `term` says where.
    """
    if len(text) > MAX_CHARS:
        raise FilterError(text[:20], f"a filter has at most {MAX_CHARS} characters")
    if text.count('"') % 2:
        raise FilterError(text[text.rindex('"') :][:40], "a quotation mark is not closed")
    if not text.strip():
        return EVERYTHING
    terms, words, at = [], [], 0
    for match in _TERM.finditer(text):
        _refuse_rest(text[at : match.start()])
        at = match.end()
        terms.append(_term(match))
        words.append(match.group())
    _refuse_rest(text[at:])
    if len(terms) > MAX_TERMS:
        raise FilterError(words[MAX_TERMS], f"a filter has at most {MAX_TERMS} terms")
    return Filter(" ".join(words), tuple(terms))


def _refuse_rest(between: str) -> None:
    if rest := between.strip():
        raise FilterError(rest[:40], "nothing stands after the colon")


def _term(match: re.Match[str]) -> Term:
    key, value, is_negated = match["key"], match["value"], match["not"] is not None
    if key is None:
        word = _unquoted(value).casefold()
        return Term(_texts, lambda text: word in text.casefold(), is_negated)
    if key not in _FIELDS:
        raise FilterError(
            match.group(), f"there is no key '{key}', only {', '.join(_FIELDS)}; quote it to look for text"
        )
    tests = [_test(key, _unquoted(part), match.group()) for part in _VALUE.findall(value)]
    if not tests:
        raise FilterError(match.group(), "nothing stands after the colon")
    return Term(_FIELDS[key], lambda text: any(test(text) for test in tests), is_negated)


def _test(key: str, value: str, term: str) -> Callable[[str], bool]:
    if key == "severity" and value.startswith(_AT_LEAST):
        floor = value.removeprefix(_AT_LEAST)
        _must_be_one_of(floor, SEVERITIES, term)
        return frozenset(SEVERITIES[SEVERITIES.index(floor) :]).__contains__
    if key == "severity":
        _must_be_one_of(value, SEVERITIES, term)
    if key == "state":
        _must_be_one_of(value, STATES, term)
    return glob(value)


def _must_be_one_of(value: str, known: tuple[str, ...], term: str) -> None:
    if value not in known:
        raise FilterError(term, f"it is one of {', '.join(known)}")


def _unquoted(value: str) -> str:
    return value.replace('"', "")


# -- what a message has ---------------------------------------------------------------------------------------------


def _about(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of the message that tells of an agent, an alert or a target; each type carries its own name."""
    content = message.get(str(message.get("type")))
    return content if isinstance(content, Mapping) else {}


def _field(name: str, target_kind: str | None = None) -> Fields:
    """Return the reader of a field; a message about a target has it too if the target is of that kind."""

    def read(message: Mapping[str, Any]) -> Iterable[str]:
        content = _about(message)
        value = content.get(name)
        if value is not None:
            yield str(value)
        elif target_kind:
            kind, _, target = str(content.get("target", "")).partition(":")
            if kind == target_kind:
                yield target

    return read


def _humans(message: Mapping[str, Any]) -> Iterable[str]:
    content = _about(message)
    yield from map(str, content.get("on_behalf_of") or ())
    kind, _, target = str(content.get("target", "")).partition(":")
    if kind == "human":
        yield target


def _states(message: Mapping[str, Any]) -> Iterable[str]:
    group = message.get("group") or {}
    state = group.get("state") or _about(message).get("state")
    if state is not None:
        yield str(state)
    if group.get("muted_by"):
        yield "muted"


def _types(message: Mapping[str, Any]) -> Iterable[str]:
    yield str(message.get("type"))


def _ids(message: Mapping[str, Any]) -> Iterable[str]:
    for found in (_about(message).get("id"), (message.get("group") or {}).get("id")):
        if found is not None:
            yield str(found)


_TEXTS: Final = ("agent_id", "tool", "title", "target", "reason", "comment", "by", "point")


def _texts(message: Mapping[str, Any]) -> Iterable[str]:
    content = _about(message)
    yield from (str(content[name]) for name in _TEXTS if content.get(name) is not None)
    for reason in content.get("reasons") or ():
        yield str(reason.get("sentence", ""))


_FIELDS: Final[Mapping[str, Fields]] = {
    "agent": _field("agent_id", "agent"),
    "human": _humans,
    "tool": _field("tool", "tool"),
    "session": _field("session_id", "session"),
    "severity": _field("severity"),
    "state": _states,
    "verdict": _field("verdict"),
    "type": _types,
    "id": _ids,
}
