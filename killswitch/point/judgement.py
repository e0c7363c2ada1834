"""The careful answer to "may this go on?", in full, when the fast path could not say yes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from killswitch.errors import (
    Refused,
    Revoked,
    StepUpRequired,
    UncheckableAction,
    UnknownRevocation,
    UnprovenState,
)
from killswitch.point.view import View
from killswitch.revocations import LEVELS, Level, Revocation
from killswitch.targets import KINDS, Kind, value_problem

Names = str | Sequence[str] | None


def judge(
    view: View, names: Mapping[Kind, object], unknown: Mapping[str, object], now_s: float
) -> Refused | None:
    """Return why an action that touches `names` is refused, or None if nothing in `view` is against it.

    Parameters
    ----------
    view : View
        What the point knows.
    names : mapping
        For each kind of target the name, or the list of names, or None.
    unknown : mapping
        Keywords that are no kind of target: asking for them is refused, they may be a later version's.
    now_s : float
        Seconds since 1970; suspensions run out by it.
    """
    if view.fleet is None:
        # Nearly every refusal is this one, and nothing outranks it. It is what a point does first of all when a kill
        # comes, in caches that hold something else, so it must not take the care of the rest.
        for kind, name in names.items():
            record = view.tables[kind].get(name) if name.__class__ is str else None
            if record is not None and record.level == "revoke":
                return Revoked(record)
    hits, problems = _look_up(view, names, now_s)
    if hits:
        level, worst = max(hits, key=lambda hit: LEVELS.index(hit[0]))
        return StepUpRequired(worst) if level == "step_up" else Revoked(worst)
    if view.unreadable:
        return UnknownRevocation(
            "a revocation in force cannot be read, so everything is refused; upgrade killcord here or remove"
            f" the record: {'; '.join(view.unreadable)[:500]}"
        )
    if not view.proven:
        return UnprovenState(
            "no key that this point trusts vouches for the revocations in the store; it may have been emptied."
            " A running daemon puts that right"
        )
    if unknown:
        return UncheckableAction(f"{', '.join(unknown)}: not one of {', '.join(KINDS[:-1])}")
    if problems:
        return UncheckableAction("; ".join(problems))
    if all(value is None or value in ([], ()) for value in names.values()):
        return UncheckableAction("the check names nothing; nobody could stop this action")
    return None


def named(
    agent: Names,
    agent_version: Names,
    session: Names,
    human: Names,
    delegation: Names,
    credential: Names,
    tool: Names,
    tenant: Names,
) -> dict[Kind, Names]:
    """Return the keywords of a check as a mapping from kind to names."""
    return {
        "agent": agent,
        "agent_version": agent_version,
        "session": session,
        "human": human,
        "delegation": delegation,
        "credential": credential,
        "tool": tool,
        "tenant": tenant,
    }


def touches(names: object, table: Mapping[str, Revocation | None]) -> bool:
    """Return False only if `names` is a list or tuple of plain names of which none is in `table`."""
    if type(names) is not tuple and type(names) is not list:
        return True
    for name in names:  # noqa: SIM110 - any() with a generator costs three times as much
        if type(name) is not str or name in table:
            return True
    return False


def touches_version(agent: object, version: object, view: View) -> bool:
    """Return False only if no version at all is revoked (the table holds one dummy) and this one is named."""
    return type(version) is not str or agent is None or not version or len(view.agent_version) > 1


def _look_up(
    view: View, names: Mapping[Kind, object], now_s: float
) -> tuple[list[tuple[Level, Revocation]], list[str]]:
    """Return the records in force against `names` and how they bind, and what is wrong with the names."""
    found: list[Revocation | None] = [view.fleet]
    problems: list[str] = []
    for kind, value in names.items():
        if value is None:
            continue
        table = view.tables[kind]
        for name in value if isinstance(value, list | tuple) else (value,):
            problem = value_problem(name)
            if problem or not isinstance(name, str):
                problems.append(f"{kind}: {problem}")
            elif kind == "agent_version":
                found += _versions(table, name, names.get("agent"), problems)
            else:
                found.append(
                    table.get(str.__str__(name))
                )  # a subclass of str (an enum) may compare otherwise
    levels = [(record.level_at(now_s), record) for record in found if record is not None]
    return [(level, record) for level, record in levels if level is not None], problems


def _versions(
    table: Mapping[str, Revocation | None], version: str, agent: object, problems: list[str]
) -> list[Revocation | None]:
    """Return what is held against `version`, which goes by itself (``name@version``) or with its agent."""
    exact = str.__str__(version)
    if isinstance(agent, str):
        return [table.get(f"{str.__str__(agent)}@{exact}"), table.get(exact)]
    if "@" not in exact:
        problems.append("agent_version: of which agent? Name it too, or write name@version")
    return [table.get(exact)]
