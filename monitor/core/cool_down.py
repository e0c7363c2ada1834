"""What was told of whom lately, so that nobody is told the same again and again. Pure and bounded."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

PERIOD_S: Final = 86_400.0
"""Of one agent each cause is told once in so long; ours."""
MAX_CAUSES: Final = 10
"""Security limit: so many causes of one kind are told of an agent in a period. Names can be invented without end."""
MAX_TOLD: Final = 20_000
"""Security limit: pairs of kind and agent that are remembered; what was told longest ago gives way."""


class CoolDown:
    """Remembers which causes were told of an agent, kind by kind. A period begins with the first of them."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str], tuple[float, list[str]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._told)

    def is_due(self, kind: str, agent_id: str, cause: str, now_s: float) -> bool:
        """Return whether this is to be told now, and take it for told if so."""
        began_s, causes = self._told.get((kind, agent_id), (now_s, None))
        if causes is not None and now_s - began_s < PERIOD_S:
            if cause in causes or len(causes) >= MAX_CAUSES:
                return False
            causes.append(cause)
            return True
        self._told.pop((kind, agent_id), None)
        self._told[kind, agent_id] = (now_s, [cause])
        if len(self._told) > MAX_TOLD:
            self._told.popitem(last=False)
        return True

    def dump(self) -> list[Any]:
        """Return plain values for a checkpoint."""
        return [[*key, began_s, *causes] for key, (began_s, causes) in self._told.items()]

    def restore(self, dumped: list[Any]) -> None:
        """Take up what `dump` returned."""
        self._told = OrderedDict(
            ((kind, agent_id), (began_s, causes)) for kind, agent_id, began_s, *causes in dumped
        )
