"""What the demo measured: the JSON object that it prints, and whether the story held."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Findings:
    """Filled in as the story goes; None is what was not reached."""

    actions: int = 0
    """Acknowledged by the daemon in all."""
    agents: int = 0
    hijacked_agent: str | None = None
    detected_after_actions: int | None = None
    """Which bad action, counted from 1, made the daemon kill; 0: the document that began it."""
    damage_actions: int | None = None
    """Bad actions that the agent began before it was refused."""
    auto_kill_ms: float | None = None
    """From the acknowledgement of the action that gave it away to the refusal in the agent's process."""
    manual_kill_ms: float | None = None
    """From the write of the kill command to the refusal in the agent's process."""
    points_confirmed: int | None = None
    """Enforcement points that confirmed each of the kills; the fewest."""
    points_total: int | None = None
    false_kills: int | None = None
    """Revocations and suspensions beyond the two that the story is about."""
    lost_actions: int | None = None
    """Actions that were sent and not acknowledged, or acknowledged and not counted by the daemon."""
    failed: str | None = None
    """Why the story did not hold; absent if it did."""

    def problem(self) -> str | None:
        """Return the first promise that was not kept, in a sentence."""
        if self.failed:
            return self.failed
        if self.false_kills:
            return f"{self.false_kills} agent(s) were killed that had done nothing"
        if self.lost_actions:
            return f"{self.lost_actions} action(s) were lost"
        if self.points_confirmed != self.points_total:
            return f"only {self.points_confirmed} of {self.points_total} enforcement points confirmed a kill"
        return None

    def as_json(self) -> dict[str, Any]:
        """Return the fields; `failed` only if there is something to say."""
        fields = asdict(self)
        fields["failed"] = self.problem()
        return (
            fields if fields["failed"] else {key: value for key, value in fields.items() if key != "failed"}
        )
