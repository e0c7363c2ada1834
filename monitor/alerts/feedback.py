"""What closing an alert teaches: people's verdicts, passed on to the models exactly once.

Theory of operation
-------------------
Closing is written to the feed's log first; then each flagged action of the group that still waits in quarantine is
judged, which is an entry of the action log. If the daemon dies between the two, or the action log cannot be written,
the action still waits: a judged one waits no longer, and replaying the action log at start repeats that. So what is
owed can always be told from the two: every action of a group closed with a verdict that still waits. `reconcile` makes
up for it, at start and for as long as something is owed. Nothing is judged twice. Only where somebody reopens a group
while its verdict is owed, nothing is taught: they are of two minds.

An action whose time to wait has run out has been learned weakly, and one beyond `max_unjudged` never will be; a verdict
comes too late for both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import NamedTuple

from monitor.alerts.book import Book
from monitor.alerts.group import Group
from monitor.alerts.life import TEACHES
from monitor.errors import LogError

log = logging.getLogger("killcord.alerts")

RETRY_S = 5.0


class _Judgement(NamedTuple):
    alert_id: str
    verdict: str
    by: str
    reason: str


class Feedback:
    """Passes verdicts on. Use as asynchronous context manager: entering makes up for what is owed from before.

    Parameters
    ----------
    awaits_verdict
        Says whether the action of the alert with that id still waits for a verdict.
    judge
        Records ``(alert_id, verdict, by, reason)`` durably; raises `LogError`.
    """

    def __init__(
        self,
        book: Book,
        awaits_verdict: Callable[[str], bool],
        judge: Callable[[str, str, str, str], Awaitable[None]],
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        self._book = book
        self._awaits_verdict = awaits_verdict
        self._judge = judge
        self._retry_s = retry_s
        self._owes = asyncio.Event()
        self._retrying: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Feedback:
        await self.reconcile()
        self._retrying = asyncio.create_task(self._retry(), name="feedback")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._retrying:
            self._retrying.cancel()
            await asyncio.gather(self._retrying, return_exceptions=True)

    async def reconcile(self) -> None:
        """Judge whatever still waits of groups that were closed with a verdict."""
        self._owes.clear()
        await self.teach(self._book.closed())

    def teach(self, groups: Iterable[Group]) -> Awaitable[None]:
        """Judge what still waits of these groups as they are now; done when that is durable, or known to be owed."""
        return self._record([judged for group in groups for judged in self._judgements(group)])

    async def _record(self, judgements: list[_Judgement]) -> None:
        outcomes = await asyncio.gather(*(self._judge(*each) for each in judgements), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, LogError):
                self._owes.set()
            elif outcome is not None:
                raise outcome
        if self._owes.is_set():
            log.error(
                "verdicts on alerts teach nothing yet: the action log, which must hold them, cannot be written"
            )

    def _judgements(self, group: Group) -> Iterator[_Judgement]:
        closing = group.closing
        if closing is None or closing.reason is None or closing.reason not in TEACHES:
            return
        why = f"{closing.reason}: {closing.comment}" if closing.comment else str(closing.reason)
        for alert_id in self._book.alert_ids(group):
            if self._awaits_verdict(alert_id):
                yield _Judgement(alert_id, TEACHES[closing.reason], closing.by, why)

    async def _retry(self) -> None:
        while True:
            await self._owes.wait()
            await asyncio.sleep(self._retry_s)
            await self.reconcile()
