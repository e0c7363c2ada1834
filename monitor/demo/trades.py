"""The trades that simulated agents have, read from `trades.toml`: their tools and duties."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

_STEP = re.compile(r"(\w+)(?: x(\d+))?(?: (\d+)%)?")


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument: `kind` names the vocabulary of its values, `sources` weighs where they come from."""

    name: str
    kind: str
    sources: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: `chars` and `duration_s` are the medians of what a call returns and takes."""

    name: str
    arguments: tuple[Argument, ...]
    side_effect: bool
    chars: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Step:
    """Part of a duty: `tool` is called with probability `p`, then up to `up_to` times in a row."""

    tool: str
    up_to: int = 1
    p: float = 1.0


@dataclass(frozen=True, slots=True)
class Duty:
    """What a session is about, in the human's words; ``{kind}`` stands for the session's value."""

    weight: float
    task: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Trade:
    """A kind of work. `records` reads what is worth stealing, `outlet` is how it would leave the house."""

    name: str
    agents: tuple[str, ...]
    tools: dict[str, Tool]
    duties: tuple[Duty, ...]
    records: str
    outlet: str


@dataclass(frozen=True, slots=True)
class Trades:
    """All trades, and the tools that an agent of any of them is given now and then."""

    trades: tuple[Trade, ...]
    extras: tuple[Tool, ...]


@cache
def load_trades() -> Trades:
    """Return what `trades.toml` says; about 5 ms, once a process."""
    text = resources.files(__package__).joinpath("trades.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    common = [_tool(fields) for fields in document["common"]]
    return Trades(
        trades=tuple(_trade(fields, common) for fields in document["trades"]),
        extras=tuple(_tool(fields) for fields in document["extras"]),
    )


def _trade(fields: dict[str, Any], common: list[Tool]) -> Trade:
    tools = {tool.name: tool for tool in [*common, *map(_tool, fields["tools"])]}
    duties = tuple(_duty(duty) for duty in fields["duties"])
    return Trade(fields["name"], tuple(fields["agents"]), tools, duties, fields["records"], fields["outlet"])


def _tool(fields: dict[str, Any]) -> Tool:
    side_effect = fields.get("side_effect", False)
    return Tool(
        name=fields["name"],
        arguments=tuple(_argument(name, text) for name, text in fields["args"].items()),
        side_effect=side_effect,
        chars=fields.get("chars", 120 if side_effect else 800),
        duration_s=fields.get("duration_s", 0.08 if side_effect else 0.05),
    )


def _argument(name: str, text: str) -> Argument:
    kind, _, sources = text.partition(": ")
    pairs = [source.split(" ") for source in sources.split(", ")]
    names = tuple(source if source in ("user", "model") else f"tool:{source}" for source, _ in pairs)
    return Argument(name, kind, names, tuple(float(weight) for _, weight in pairs))


def _duty(fields: dict[str, Any]) -> Duty:
    return Duty(fields["weight"], fields["task"], tuple(map(_step, fields["steps"].split(", "))))


def _step(text: str) -> Step:
    match = _STEP.fullmatch(text)
    if match is None:
        raise ValueError(f"trades.toml: {text!r} is not a step")
    tool, up_to, percent = match.groups()
    return Step(tool, int(up_to or 1), int(percent or 100) / 100)
