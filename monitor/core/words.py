"""Names for the numbers: what explanations call a tool, an argument, a value. Bounded."""

from __future__ import annotations

from collections.abc import Sequence

from detectors import Subject
from monitor.intake.observation import Observation

MAX_TOOLS = 20_000
MAX_VALUE_CHARS = 80


class Words:
    """Remembers which tool a hash stands for; models keep only the upper half of a hash."""

    def __init__(self) -> None:
        self._tools: dict[int, str] = {}

    def note(self, action: Observation) -> None:
        """Remember the action's tool."""
        half = action.features.tool >> 32
        if half not in self._tools and len(self._tools) < MAX_TOOLS:
            self._tools[half] = readable(action.tool)

    def tool(self, number: int) -> str | None:
        """Return the name of the tool with this hash, whole or its upper half, if it was ever seen."""
        return self._tools.get(number if number < 1 << 32 else number >> 32)

    def dump(self) -> dict[int, str]:
        """Return plain values for a checkpoint."""
        return dict(self._tools)

    def restore(self, dumped: dict[int, str]) -> None:
        """Take up what `dump` returned."""
        self._tools = dict(dumped)


def subject(action: Observation, words: Words, externals: Sequence[str] = ()) -> Subject:
    """Return the names that an explanation of this action may use; values only where raw arguments are kept."""
    values = None if action.args is None else tuple(_short(value) for value in action.args.values())
    sources = [(action.provenance or {}).get(name) for name in action.arg_names]
    return Subject(
        tool=readable(action.tool),
        arg_names=tuple(readable(name) for name in action.arg_names),
        arg_values=values,
        arg_sources=tuple(None if source is None else readable(source) for source in sources),
        tool_name=words.tool,
        externals=externals,
    )


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"


def readable(text: str) -> str:
    """Return a name of somebody's own making, fit for one line of a terminal; values are escaped when quoted."""
    text = _short(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)
