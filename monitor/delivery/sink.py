"""What a route sends through: one way out for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from monitor.delivery.events import Event


class Sink(Protocol):
    """Puts events into the receiver's form, and sends them.

    `batch` is how many may be sent at once; `attempts` after how many failures a message is set aside (None: never),
    for ways out that cannot tell trouble from refusal.
    """

    @property
    def batch(self) -> int: ...  # noqa: D102

    @property
    def attempts(self) -> int | None: ...  # noqa: D102

    def is_for(self, event: Event, is_wanted: bool) -> bool:
        """Return whether the event is to be sent, given whether the route's filter wants it."""

    def form(self, event: Event) -> Any:
        """Return what is sent for the event, None for nothing. Pure; whatever it raises sets the event aside."""

    async def send(self, forms: Sequence[Any]) -> None:
        """Return when the receiver has taken all of them; the caller limits the time.

        Raises
        ------
        DeliveryDelayed
            If it should be tried again.
        DeliveryRefused
            If it never will be taken. One of several that is at fault is found by sending each by itself.
        """

    async def close(self) -> None:
        """Let go of connections and files."""
