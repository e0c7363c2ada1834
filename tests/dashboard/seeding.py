"""What a daemon finds in its feed's log when it starts: alerts and what became of them, as another daemon left them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monitor.core.alerts import ReasonText
from monitor.live.message_types import GroupRef
from monitor.live.messages import alert_message
from monitor.log.segments import Record, SegmentedLog
from tests.monitor.alerts import alert

SEVERITIES = ("low", "medium", "high", "critical")
SIGNALS = ("tool", "source", "size", "rate")
MARKUP = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
REVERSED = "bot-\u202egpj.exe"


def keep(state: Path, messages: Iterable[dict[str, Any]]) -> None:
    """Write messages to the feed's log of a daemon that is not running."""
    log = SegmentedLog(state / "feed")
    for message in messages:
        log.append(Record(json.dumps(message).encode()))
    log.sync()
    log.close()


def seeded(number: int, agent: str, **fields: Any) -> dict[str, Any]:
    """The message of an alert that is the first of its group."""
    return alert_message(alert(number, agent, SIGNALS[number % 4], **fields))


def repeat(number: int, of: int, count: int, agent: str) -> dict[str, Any]:
    """The message of one more alert of a group."""
    ref = GroupRef(id=f"al-{of}", count=count)
    return alert_message(alert(number, agent, SIGNALS[of % 4]), ref)


def fleet(groups: int, agents: int = 6) -> list[dict[str, Any]]:
    """So many groups of alerts of a few agents, of every severity."""
    return [
        seeded(number, f"agent-{number % agents}", severity=SEVERITIES[number % 4])
        for number in range(groups)
    ]


def hostile(number: int) -> dict[str, Any]:
    """An alert in which everything that an agent may choose is markup."""
    reason = ReasonText(MARKUP, MARKUP, MARKUP, 1e-6, MARKUP)
    return alert_message(
        alert(
            number,
            MARKUP,
            tool=MARKUP,
            title=MARKUP,
            session_id=MARKUP,
            on_behalf_of=(MARKUP, REVERSED),
            credential=MARKUP,
        ),
        None,
    ) | {"alert": _with_reason(number, reason)}


def _with_reason(number: int, reason: ReasonText) -> dict[str, Any]:
    made = alert_message(
        alert(
            number,
            MARKUP,
            tool=MARKUP,
            title=MARKUP,
            session_id=MARKUP,
            on_behalf_of=(MARKUP, REVERSED),
            credential=MARKUP,
        )
    )["alert"]
    return {**made, "reasons": [{name: getattr(reason, name) for name in reason.__struct_fields__}]}
