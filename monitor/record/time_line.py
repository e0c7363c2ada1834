"""Entries as lines for people. Agents chose many of the words: nothing in a line can act on a terminal. Pure.

A line has parts with two blanks between them. No part has two in a row, so that none can pass for several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from monitor.delivery.texts import cut, plain

MAX_CHARS: Final = 400
MAX_PART_CHARS: Final = 120
_KIND_CHARS: Final = 8

Leaf = Mapping[str, Any]


def line(leaf: Leaf, *, with_date: bool = False) -> str:
    """Return an entry in one line of at most 400 characters: when (UTC), of what kind, who, what, for whom."""
    when = str(leaf.get("timestamp", ""))
    when = when.replace("T", " ").removesuffix("Z") if with_date else when[11:].removesuffix("Z")
    kind, parts = _PARTS.get(str(leaf.get("type")), (str(leaf.get("type")), _unknown))
    shown = [_part(when), f"{_part(kind):<{_KIND_CHARS}}", *(_part(part) for part in parts(leaf) if part)]
    return cut("  ".join(shown), MAX_CHARS)


def text(leaf: Leaf) -> str:
    """Return what an entry says in a sentence or two, without when it was."""
    _, parts = _PARTS.get(str(leaf.get("type")), ("", _unknown))
    return cut("  ".join(_part(part) for part in parts(leaf) if part), MAX_CHARS)


def _part(value: object) -> str:
    return " ".join(plain(value, MAX_PART_CHARS).split())


def _action(leaf: Leaf) -> Iterable[Any]:
    action, said = _in(leaf, "action"), _in(leaf, "authorization")
    decision, is_ok = said.get("decision"), _in(action, "result").get("ok")
    yield _in(leaf, "agent").get("id")
    yield action.get("tool")
    yield _with("on", action.get("resource"))
    yield from _for(leaf)
    yield _with("p", _p(_in(leaf, "risk").get("p")))
    yield decision if decision != "allowed" else None
    yield "failed" if is_ok is False else None


def _alert(leaf: Leaf) -> Iterable[Any]:
    alert = _in(leaf, "alert")
    group, taken = _in(alert, "group"), _in(alert, "response").get("taken")
    yield _in(leaf, "agent").get("id")
    yield str(alert.get("severity", "")).upper()
    yield alert.get("title")
    yield f"({group['count']} times)" if group.get("count", 1) != 1 else None
    yield _with("response:", taken)
    yield "muted" if group.get("muted_by") else None


def _transition(leaf: Leaf) -> Iterable[Any]:
    trigger = _in(leaf, "trigger")
    yield leaf.get("target")
    yield f"{leaf.get('previous_state')} → {leaf.get('new_state')}"
    yield _with("until", leaf.get("expires_at"))
    yield "drill" if trigger.get("type") == "drill" else None
    yield from _by(leaf)
    yield trigger.get("reason")


def _acknowledgement(leaf: Leaf) -> Iterable[Any]:
    ack = _in(leaf, "acknowledgement")
    yield ack.get("point")
    yield f"enforces change {ack.get('epoch')}"
    yield f"{ack.get('confirmed')} of {ack.get('live')} points"
    yield f"{ack['latency_ms']} ms" if ack.get("latency_ms") is not None else None
    if ack.get("refuses") is not None:
        yield "refuses" if ack["refuses"] else "allows"
    yield "drill" if ack.get("drill") else None


def _triage(leaf: Leaf) -> Iterable[Any]:
    triage = _in(leaf, "triage")
    yield _in(leaf, "agent").get("id")
    yield triage.get("change")
    yield _in(leaf, "alert").get("id")
    yield triage.get("reason")
    yield _with("to", triage.get("assignee"))
    yield from _by(leaf)
    yield triage.get("comment")


def _mute(leaf: Leaf) -> Iterable[Any]:
    mute = _in(leaf, "mute")
    yield _in(leaf, "agent").get("id")
    yield f"{mute.get('change')} for {mute.get('signal')}"
    yield _with("until", mute.get("until"))
    yield from _by(leaf)
    yield mute.get("reason")


def _judgement(leaf: Leaf) -> Iterable[Any]:
    judgement = _in(leaf, "judgement")
    yield _in(leaf, "alert").get("id")
    yield judgement.get("verdict")
    yield from _by(leaf)
    yield judgement.get("reason")


def _withdrawal(leaf: Leaf) -> Iterable[Any]:
    yield leaf.get("target")
    yield "could not be killed"
    yield _in(leaf, "withdrawal").get("reason")


def _drill(leaf: Leaf) -> Iterable[Any]:
    drill = _in(leaf, "drill")
    yield drill.get("verdict")
    yield drill.get("summary")
    yield from _by(leaf)


def _act(leaf: Leaf) -> Iterable[Any]:
    act = _in(leaf, "act")
    yield _in(leaf, "actor").get("id") or "somebody unknown"
    yield act.get("name")
    yield act.get("object")
    yield act.get("outcome")
    yield _with("from", act.get("address"))


def _record(leaf: Leaf) -> Iterable[Any]:
    record = _in(leaf, "record")
    yield record.get("kind")
    yield from (f"{name} {value}" for name, value in record.items() if name != "kind")
    yield from _by(leaf)


def _unknown(leaf: Leaf) -> Iterable[Any]:
    yield leaf.get("event_id")


_PARTS: Final[dict[str, tuple[str, Callable[[Leaf], Iterable[Any]]]]] = {
    "action": ("action", _action),
    "alert": ("alert", _alert),
    "authorization_transition": ("change", _transition),
    "acknowledgement": ("confirm", _acknowledgement),
    "triage": ("triage", _triage),
    "mute": ("mute", _mute),
    "judgement": ("verdict", _judgement),
    "withdrawal": ("no kill", _withdrawal),
    "drill": ("drill", _drill),
    "operator_act": ("act", _act),
    "record": ("record", _record),
}


def _in(fields: Leaf, name: str) -> Mapping[str, Any]:
    found = fields.get(name)
    return found if isinstance(found, Mapping) else {}


def _with(word: str, value: object) -> str | None:
    return f"{word} {value}" if value else None


def _by(leaf: Leaf) -> Iterable[str | None]:
    yield _with("by", _in(leaf, "actor").get("id"))


def _for(leaf: Leaf) -> Iterable[str | None]:
    yield _with("for", _in(leaf, "on_behalf_of").get("id"))
    yield _with("via", ", ".join(map(str, leaf.get("delegations") or ())))


def _p(p: float | None) -> str | None:
    """Return a p-value without an exponent as far as people read one."""
    if p is None:
        return None
    return f"{p:.6f}".rstrip("0").rstrip(".") if p >= 1e-5 or p == 0 else f"{p:.1g}"
