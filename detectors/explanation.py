"""Why an action is strange, in sentences that an analyst can check."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detectors.features import Features
from detectors.layout import EXTERNAL, NOVELTY, RATE, RHYTHM, SIGNALS, SIZE, SOURCE, TRANSITION
from detectors.scores import Scores

_MATTERS_P = 0.1  # signals above this p-value say nothing worth an analyst's time
_MOST = 4
_VALUE_CHARS = 60


@dataclass(frozen=True, slots=True)
class Subject:
    """The names behind the numbers of one action.

    Parameters
    ----------
    tool
        What was called.
    arg_names
        In the order of `Features.args`; further ones are ignored.
    arg_values
        As text, in the same order; None where raw values are not kept.
    arg_sources
        Where each value was first visible; None if unknown.
    tool_name
        Turns the hash of a tool (`Features.tool`) into its name or None, for example `Hasher.name`.
    externals
        Names of the external detectors, in the order of their columns.

    """

    tool: str
    arg_names: Sequence[str] = ()
    arg_values: Sequence[str] | None = None
    arg_sources: Sequence[str | None] | None = None
    tool_name: Callable[[int], str | None] = lambda _key: None
    externals: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for which an action is strange."""

    signal: str
    """A name of `layout.SIGNALS`, or the external detector's."""
    observed: str
    expected: str
    p: float
    """p-value of this signal alone, in (0, 1]."""
    sentence: str


def explain(scores: Scores, i: int, features: Features, subject: Subject) -> list[Reason]:
    """Return why action `i` is strange: the strongest reason first, at most four, at least one.

    Parameters
    ----------
    scores, i
        What `Bank.step` returned, and which action of it.
    features
        The action's own.
    subject
        Its names. Values are quoted shortened and with control characters escaped.

    Notes
    -----
    About 20 µs; meant for alerts, not for every action.

    """
    p = scores.signal_p[i]
    order = sorted((k for k in range(p.shape[0]) if not math.isnan(p[k])), key=lambda k: (float(p[k]), k))
    telling = [k for k in order if p[k] <= _MATTERS_P][:_MOST] or order[:1]
    return [_reason(scores, i, k, features, subject) for k in telling]


def one_in(p: float) -> str:
    """Return a probability as people say it.

    Examples
    --------
    >>> one_in(2.4e-05)
    '1 in 42,000'
    >>> one_in(0.4)
    '2 in 5'

    """
    if p >= 0.2:
        return f"{round(p * 5)} in 5"
    odds = 1.0 / max(p, 1e-15)
    step = 10 ** max(0, math.floor(math.log10(odds)) - 1)
    return f"1 in {round(odds / step) * step:,}"


def _reason(scores: Scores, i: int, k: int, features: Features, subject: Subject) -> Reason:
    p = float(scores.signal_p[i, k])
    if k >= EXTERNAL:
        observed, expected, sentence = _external(scores, i, k, subject)
        signal = _external_name(subject, k)
    else:
        observed, expected, sentence = _SAY[k](scores, i, subject)
        signal = SIGNALS[k]
    return Reason(signal, observed, expected, p, f"{sentence} ({one_in(p)}).")


_Words = tuple[str, str, str]


def _counts(scores: Scores, i: int, k: int) -> str:
    own = _share(float(scores.seen[i, k]), float(scores.of[i, k]))
    fleet = _share(float(scores.peer_seen[i, k]), float(scores.peer_of[i, k]))
    return f"{own} for this agent, {fleet} for the fleet"


def _share(seen: float, of: float) -> str:
    """Return "3 of 412 times"; a part may outlive its total in a bounded table, so the larger counts."""
    times = math.ceil(max(seen, of))
    if times == 0:
        return "never yet"
    return f"{math.ceil(seen):,} of {times:,} times"


def _transition(scores: Scores, i: int, subject: Subject) -> _Words:
    key = int(scores.previous[i])
    name = subject.tool_name(key) if key else None
    before = (
        "at the start of a session" if key == 0 else f"after `{name}`" if name else "after the tool before it"
    )
    counts = _counts(scores, i, TRANSITION)
    return f"`{subject.tool}` {before}", counts, f"`{subject.tool}` {before}: {counts}"


def _argument(scores: Scores, i: int, k: int, subject: Subject) -> tuple[int, str, str]:
    at = int(scores.arg[i, k])
    name = f"`{subject.arg_names[at]}`" if 0 <= at < len(subject.arg_names) else f"argument {at + 1}"
    value = (
        f" {_quote(subject.arg_values[at])}"
        if subject.arg_values and 0 <= at < len(subject.arg_values)
        else ""
    )
    return at, name, value


def _novelty(scores: Scores, i: int, subject: Subject) -> _Words:
    _, name, value = _argument(scores, i, NOVELTY, subject)
    outcome = int(scores.observed[i, NOVELTY])
    observed = (
        "known to this agent",
        "known to peers, new to this agent",
        "new to this agent and all its peers",
    )[outcome]
    counts = _counts(scores, i, NOVELTY)
    return (
        observed,
        counts,
        f"Value{value} of {name} in `{subject.tool}` is {observed}; so far that was the case {counts}",
    )


def _source(scores: Scores, i: int, subject: Subject) -> _Words:
    at, name, value = _argument(scores, i, SOURCE, subject)
    known = subject.arg_sources[at] if subject.arg_sources and 0 <= at < len(subject.arg_sources) else None
    observed = f"from `{known}`" if known else "from an unusual source"
    counts = _counts(scores, i, SOURCE)
    return (
        observed,
        counts,
        f"Value{value} of {name} in `{subject.tool}` came {observed}; so far it did {counts}",
    )


def _size(scores: Scores, i: int, subject: Subject) -> _Words:
    observed = f"{int(scores.observed[i, SIZE]):,} characters"
    counts = _counts(scores, i, SIZE)
    return observed, counts, f"Arguments of {observed} for `{subject.tool}`; about that size so far {counts}"


def _rhythm(scores: Scores, i: int, subject: Subject) -> _Words:
    observed = f"{_duration(float(scores.observed[i, RHYTHM]))} after the agent's previous action"
    usual = float(scores.expected[i, RHYTHM])
    counts = _counts(scores, i, RHYTHM)
    expected = counts if math.isnan(usual) else f"usually about {_duration(usual)}; so soon so far {counts}"
    return observed, expected, f"Called {observed}, {expected}"


def _rate(scores: Scores, i: int, subject: Subject) -> _Words:
    observed = f"{float(scores.observed[i, RATE]):,.0f} actions in about a minute"
    usual = float(scores.expected[i, RATE])
    counts = _counts(scores, i, RATE)
    expected = counts if math.isnan(usual) else f"usually about {usual:,.0f}; so many so far {counts}"
    return observed, expected, f"The agent took {observed}, {expected}"


def _external_name(subject: Subject, k: int) -> str:
    column = k - EXTERNAL
    return subject.externals[column] if column < len(subject.externals) else f"external {column + 1}"


def _external(scores: Scores, i: int, k: int, subject: Subject) -> _Words:
    observed = f"score {float(scores.observed[i, k]):.3g}"
    expected = f"usually {float(scores.expected[i, k]):.3g}"
    return (
        observed,
        expected,
        f"Detector `{_external_name(subject, k)}` gave {observed}, {expected} for this agent",
    )


def _quote(value: str) -> str:
    """Return a value fit for one line: shortened and escaped, because an attacker may have written it."""
    text = value if len(value) <= _VALUE_CHARS else value[: _VALUE_CHARS - 1] + "…"
    return "`" + "".join(c if c.isprintable() and c != "`" else f"\\u{ord(c):04x}" for c in text) + "`"


def _duration(seconds: float) -> str:
    for unit, name in ((86_400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{max(seconds, 0.0) * 1000:.3g} ms"


_SAY: dict[int, Callable[[Scores, int, Subject], _Words]] = {
    TRANSITION: _transition,
    NOVELTY: _novelty,
    SOURCE: _source,
    SIZE: _size,
    RHYTHM: _rhythm,
    RATE: _rate,
}
