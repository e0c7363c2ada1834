"""All routes of a daemon: started after the feed, stopped before it, each on its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from monitor import metrics
from monitor.delivery.backoff import Backoff
from monitor.delivery.events import Event, event
from monitor.delivery.route import Route
from monitor.delivery.routes import Delivery
from monitor.delivery.sink import Sink
from monitor.live.feed import Feed, now_text
from monitor.metrics import Labelled, Metric

log = logging.getLogger("killcord.delivery")

STOP_TIMEOUT_S: Final = 5.0


class Deliveries:
    """The routes; as an asynchronous context manager, they run. Everything belongs to one event loop."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self.routes = {route.config.name: route for route in routes}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Deliveries:
        self._tasks = [
            asyncio.create_task(self._guarded(route), name=f"deliver {name}")
            for name, route in self.routes.items()
        ]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_TIMEOUT_S)

    def status(self) -> list[dict[str, Any]]:
        """Return how each route stands, as ``GET /v1/deliveries`` says it."""
        return [route.status() for route in self.routes.values()]

    def metrics(self) -> dict[Metric, Labelled]:
        """Return what is counted of each route, by its name: the operator's, so there are no more than configured."""
        routes = self.status()
        return {
            metrics.DELIVERED: {(route["name"],): route["sent"] for route in routes},
            metrics.DELIVERY_FAILURES: {(route["name"],): route["failed"] for route in routes},
            metrics.DELIVERY_LOST: {
                (route["name"], why): route[why] for route in routes for why in ("set_aside", "missed")
            },
            metrics.DELIVERY_BEHIND: {(route["name"],): route["behind"] for route in routes},
        }

    async def test(self, name: str) -> None:
        """Send a message through a route that says it is a test. Raises `KeyError` or `DeliveryError`."""
        for message in _test_events():
            await self.routes[name].test(message)

    async def _guarded(self, route: Route) -> None:
        """Run a route; whatever it dies of is told, and ends nothing else."""
        try:
            await route.run()
        except Exception as error:
            log.exception("route %s has ended", route.config.name)
            route.state, route.last_error = "broken", repr(error)


def open_routes(
    config: Delivery,
    sinks: Mapping[str, Sink],
    feed: Feed,
    log_directory: Path,
    folder: Path,
    backoff: Backoff | None = None,
) -> list[Route]:
    """Return the configured routes.

    Parameters
    ----------
    sinks
        The way out of each route, by name.
    log_directory
        Where the feed's log lies.
    folder
        Where each route has a directory for its place and for what is set aside.
    """
    reading = asyncio.Lock()
    return [
        Route(
            route,
            sinks[route.name],
            feed,
            log_directory,
            folder / route.name,
            backoff=backoff or Backoff(),
            reading=reading,
        )
        for route in config.routes
    ]


def _test_events() -> list[Event]:
    """Return a test alert and its closing, so that nothing stays open that somebody would have to close."""
    own_id, ts = f"test-{now_text()}", now_text()
    about = {
        "agent_id": "killcord-test",
        "tool": "killcord",
        "severity": "low",
        "verdict": "test",
        "session_id": None,
    }
    title = "TEST of this delivery route: nothing has happened"
    response = {"mode": "observe", "wanted": "none", "taken": "none", "why": "a test", "change_id": None}
    alert: dict[str, Any] = {
        "id": own_id, "ts": ts, **about, "action_id": own_id, "action_seq": 0, "p": None, "threshold_p": None,
        "title": title, "reasons": [], "response": response, "on_behalf_of": [], "credential": None, "policy": None,
    }  # fmt: skip
    group = {"id": own_id, "count": 1, "state": "open", "muted_by": None}
    closing: dict[str, Any] = {
        "id": own_id, "change": "close", "state": "closed", "by": "killcord", "at": ts, "assignee": None,
        "reason": "benign", "comment": "the test is over", **about, "title": title, "on_behalf_of": [],
    }  # fmt: skip
    messages = [
        {"type": "alert", "ts": ts, "test": True, "alert": alert, "group": group},
        {"type": "alert_change", "ts": ts, "test": True, "alert_change": closing},
    ]
    return [event(0, message, msgspec.json.encode({"seq": 0, **message}).decode()) for message in messages]
