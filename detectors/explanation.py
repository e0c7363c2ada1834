"""Why an action is strange, in sentences that an analyst can check."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detectors.evidence import shares
from detectors.features import Features
from detectors.layout import (
    EXTERNAL,
    FLOW,
    FLOWING,
    NOVELTY,
    RATE,
    RHYTHM,
    SIGNALS,
    SIZE,
    SOURCE,
    TASK,
    TOOL,
    TRANSITION,
)
from detectors.prior import Weights, shipped_prior
from detectors.scores import CHANGES, RUNAWAY, Scores

_MATTERS_P = 0.1  # signals above this p-value say nothing worth an analyst's time …
_MATTERS = 0.3  # … nor do shares of the evidence below this many nats
_MOST = 4
FLOW_REASON = "flow"
"""Name of the reason that all numbers of the information flow give together."""
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
    """A name of `layout.SIGNALS`, `FLOW_REASON`, or the external detector's."""
    observed: str
    expected: str
    p: float
    """p-value of this signal alone, in (0, 1]; of the flow: that of the whole action."""
    sentence: str


def explain(
    scores: Scores, i: int, features: Features, subject: Subject, weights: Weights | None = None
) -> list[Reason]:
    """Return why action `i` is strange: the strongest reason first, at most four, at least one.

    Parameters
    ----------
    scores, i
        What `Bank.step` returned, and which action of it.
    features
        The action's own.
    subject
        Its names. Values are quoted shortened and with control characters escaped.
    weights
        Those that it was judged by, if not the shipped ones.

    Notes
    -----
    About 20 µs; meant for alerts, not for every action.

    """
    found = _shares(scores, i, features, weights or shipped_prior())
    order = sorted(found, key=lambda name: (-found[name], name))
    telling = [name for name in order if _is_telling(scores, i, name, found[name])][:_MOST] or order[:1]
    return [_reason(scores, i, name, features, subject) for name in telling]


def runaway_reason(scores: Scores, i: int, subject: Subject) -> Reason:
    """Return why action `i` is that of an agent that runs away (`Scores.runaway`)."""
    if RUNAWAY[scores.runaway[i]] == "odd_hour":
        sentence = "The agent woke at an hour of the day (UTC) at which, or near which, it never did"
        return Reason("hour", "awake now", "never near this hour", 1.0, f"{sentence}.")
    observed, expected, sentence = _rate(scores, i, subject)
    return Reason("rate", observed, expected, 1.0, f"{sentence}; several times the pace of any earlier day.")


def change_reason(scores: Scores, i: int) -> Reason:
    """Return why people are told that action `i` shows a change of its agent (`Scores.change`)."""
    if CHANGES[scores.change[i]] == "moved":
        sentence = (
            "Day after day the agent's mix of tools moved on, and is far from what it was. Small steps in one "
            "direction are also how a model is taught that an attack is normal"
        )
        return Reason(
            "drift", "a mix of tools that moves one way", "one that goes back and forth", 1.0, f"{sentence}."
        )
    sentence = (
        "For many sessions most of what the agent did was rare for it: it has changed. Flagged actions of its wait for "
        "a verdict, so its model stays as it is"
    )
    return Reason("change", "rare actions, session after session", "the usual ones", 1.0, f"{sentence}.")


def _shares(scores: Scores, i: int, features: Features, weights: Weights) -> dict[str | int, float]:
    """Return the share of each reason: a signal's name, `FLOW_REASON`, or an external detector's column."""
    surprise = scores.surprise[i]
    newness = float(scores.observed[i, NOVELTY])
    view = int(scores.view[i])
    by_name = shares(surprise, scores.signal_p[i], newness, features.flow, view, weights)
    found: dict[str | int, float] = {
        name: by_name[name]
        for k, name in enumerate(SIGNALS)
        if name in by_name and not math.isnan(surprise[k])
    }
    if view == FLOWING:
        found[FLOW_REASON] = sum(by_name[name] for name in FLOW)
    for k in range(EXTERNAL, surprise.shape[0]):
        if not math.isnan(surprise[k]):
            found[k] = -0.5 * math.log(float(scores.signal_p[i, k]))
    return found


def _is_telling(scores: Scores, i: int, name: str | int, share: float) -> bool:
    if name == FLOW_REASON:
        return share >= _MATTERS
    k = name if isinstance(name, int) else SIGNALS.index(name)
    return share >= _MATTERS and float(scores.signal_p[i, k]) <= _MATTERS_P


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


def _reason(scores: Scores, i: int, name: str | int, features: Features, subject: Subject) -> Reason:
    if name == FLOW_REASON:
        return _flow(scores, i, features, subject)
    if isinstance(name, int):
        p = float(scores.signal_p[i, name])
        observed, expected, sentence = _external(scores, i, name, subject)
        return Reason(_external_name(subject, name), observed, expected, p, f"{sentence} ({one_in(p)}).")
    k = SIGNALS.index(name)
    p = float(scores.signal_p[i, k])
    observed, expected, sentence = _SAY[k](scores, i, subject)
    return Reason(name, observed, expected, p, f"{sentence} ({one_in(p)}).")


def _flow(scores: Scores, i: int, features: Features, subject: Subject) -> Reason:
    """Say who asked for the action: the task, or something that a tool answered."""
    codes = dict(zip(FLOW, features.flow, strict=True))
    said = []
    if codes["told"]:
        ago = codes["age"] + 1
        said.append(
            f"a value of the call stands in a sentence that reads like an order, in {_ago(ago)} before"
            + (", with the tool's own words" if codes["told"] > 1 else "")
        )
    elif codes["echo_told"] >= _ECHO:
        said.append("an earlier output reads like an order to do this")
    elif codes["seen"]:
        said.append("a value of the call was first seen in a tool's output")
    if codes["untied"]:
        said.append(f"{codes['untied']} of its arguments have nothing to do with the task")
    if codes["asked"] < _ECHO and not codes["from_user"]:
        said.append("the task does not ask for it")
    observed = "; ".join(said) or "not what the task asks for"
    p = float(scores.p[i])
    sentence = f"`{subject.tool}`: {observed}."
    return Reason(FLOW_REASON, observed, "actions that the task asks for", p if p == p else 1.0, sentence)


def _ago(outputs: int) -> str:
    return "the tool's output right" if outputs == 1 else f"a tool's output {outputs} outputs"


_ECHO = 4  # one word of the tool's own and little else


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


def _tool(scores: Scores, i: int, subject: Subject) -> _Words:
    counts = _counts(scores, i, TOOL)
    return f"`{subject.tool}`", counts, f"`{subject.tool}` was called {counts}"


def _task(scores: Scores, i: int, subject: Subject) -> _Words:
    seen = _share(float(scores.peer_seen[i, TASK]), float(scores.peer_of[i, TASK]))
    observed = f"`{subject.tool}` for this task"
    expected = f"{seen} where a task has its most telling word"
    return observed, expected, f"{observed} is unusual: it was used {expected}"


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
        "known to peers, not to this agent",
        "known neither to this agent nor to its peers",
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
    TOOL: _tool,
    TASK: _task,
}
